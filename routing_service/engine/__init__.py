"""Prompt to decision, free of any wire format."""
