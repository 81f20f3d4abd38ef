"""The trainer of `mf` routers."""
