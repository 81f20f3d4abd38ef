"""Benchmarks and metrics (offline)."""
