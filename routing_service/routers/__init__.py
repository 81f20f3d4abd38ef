"""Routers: text in, the strong win rate out. One file each."""
