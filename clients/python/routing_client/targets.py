"""Addresses of services: the default, and a check."""

from __future__ import annotations

DEFAULT_TARGET = "127.0.0.1:50051"


def check_target(target: str, name: str = "target") -> str:
    """`target`, if it can be a service's address.

    Raises:
        ValueError: it is blank, or a URL. gRPC would look that up as a host name at every call, like an outage.
    """
    if not target.strip():
        raise ValueError(f"{name} is empty; give host:port, for example 127.0.0.1:50051")
    if target.lower().startswith(("http://", "https://")):
        raise ValueError(f"{name} is {target!r}; give host:port, for example 127.0.0.1:50051, without http://")
    return target
