"""Scores to thresholds."""
