"""Generated from `protos/` by `scripts/protos.py`. Do not edit."""
