"""Every command: parses, calls, prints, nothing else."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from routing_service.cli.parser import parse
from routing_service.config import ObservabilityConfig
from routing_service.observability.logging import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 1 when something is wrong, 2 for wrong usage."""
    # gRPC's own log quotes what a peer says, line ends included: that could pass for lines of ours. Read at its import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    show_any_text()
    # Until `serve` has read its configuration. Other commands print their own messages.
    configure_logging(ObservabilityConfig(log_level="warning", log_format="console"))
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        options.run(options)
    except BrokenPipeError:
        return 1  # the reader of the pipe has gone; nobody can read a message
    except KeyboardInterrupt:
        return complain("interrupted", 1)
    except Exception as error:
        # Commands come from other packages too, so a failure is recognized by its shape.
        code = getattr(error, "exit_code", None)
        if not isinstance(code, int):
            raise
        return complain(getattr(error, "message", None) or str(error), code)
    return 0


def show_any_text() -> None:
    """A terminal that cannot show a character (with `PYTHONIOENCODING=ascii`, say) shows its escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def complain(message: str, code: int) -> int:
    """Print an error, and return the exit code."""
    print(f"routing-service: error: {message}", file=sys.stderr)
    return code
