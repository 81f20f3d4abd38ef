"""Preference data and benchmarks: RouteLLM's folders, rows, halves, overlap, sources."""
