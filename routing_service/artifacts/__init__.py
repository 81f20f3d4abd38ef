"""Artifacts: a router's folder, its manifest, its integrity. `default/` is the shipped router."""
