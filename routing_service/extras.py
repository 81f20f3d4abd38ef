"""What is not installed: which `pip install` brings it, from an index and from a checkout alike."""

from __future__ import annotations

from importlib.util import find_spec

from routing_service.errors import UsageError

# Our distributions, and where each lies in a checkout.
FOLDERS = {
    "routing-client": "./clients/python",
    "routing-service": ".",
    "routing-lab": "./lab",
    "routing-gateway": "./gateway",
}


def pip_install(distribution: str, extra: str = "") -> str:
    """The command that installs one of our distributions, with an extra, for an error message."""
    suffix = f"[{extra}]" if extra else ""
    quote = "'" if extra else ""
    return (
        f"pip install {quote}{distribution}{suffix}{quote} "
        f"(in a checkout: pip install {quote}{FOLDERS[distribution]}{suffix}{quote})"
    )


def require(what: str, distribution: str, extra: str, *packages: str) -> None:
    """See that packages are installed, before long work and without importing them.

    Args:
        what: what needs them, for the message.
        distribution: ours that has the extra.
        extra: what brings them.
        packages: as they are imported.

    Raises:
        UsageError: one is not; it says what to install.
    """
    for package in packages:
        if not _is_installed(package):
            raise UsageError(f"{what} needs {package}; run: {pip_install(distribution, extra)}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it is imported already, and does not say from where
        return True
