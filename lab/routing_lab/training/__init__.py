"""Preference data to a router (offline)."""
