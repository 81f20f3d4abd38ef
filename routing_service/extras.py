"""What is not installed: which `pip install` brings it, from an index and from a checkout alike."""

from __future__ import annotations

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
