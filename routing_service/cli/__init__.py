"""Every command: parses, calls, prints, nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from routing_service.cli.arguments import parser
from routing_service.config import ObservabilityConfig
from routing_service.errors import DecisionError, RoutingServiceError
from routing_service.observability.logging import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 1 when something is wrong, 2 for wrong usage."""
    options = parser().parse_args(arguments)
    # Until `serve` has read what its configuration says: a command tells what it has to tell itself.
    configure_logging(ObservabilityConfig(log_level="warning", log_format="console"))
    try:
        options.run(options)
    except DecisionError as error:
        return _complain(error.message)
    except RoutingServiceError as error:
        return _complain(str(error))
    except BrokenPipeError:
        return 1  # the reader of a pipe has gone; there is nobody to tell
    except KeyboardInterrupt:
        return _complain("interrupted")
    return 0


def _complain(message: str) -> int:
    print(f"routing-service: error: {message}", file=sys.stderr)
    return 1
