"""A router and an embedder for routing-service, as a package of its own."""
