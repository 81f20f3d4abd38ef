"""For missing packages: the `pip install` that brings them, from an index and from a checkout."""

from __future__ import annotations

from importlib.util import find_spec

from routing_service.errors import UsageError

# Our distributions, and their folders in a checkout.
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
    """Check that packages are installed, before long work and without importing them.

    Args:
        what: what needs them, for the message.
        distribution: our distribution that has the extra.
        extra: the extra that installs them.
        packages: their import names.

    Raises:
        UsageError: one is missing; it says what to install.
    """
    for package in packages:
        if not _is_installed(package):
            raise UsageError(f"{what} needs {package}; run: {pip_install(distribution, extra)}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it is already imported, without a spec
        return True
