"""The trainer of `static` routers."""
