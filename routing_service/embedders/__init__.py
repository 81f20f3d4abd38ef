"""Embedders: text in, vectors out, for routers that need them. One file each."""
