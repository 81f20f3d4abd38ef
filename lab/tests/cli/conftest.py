"""The command line in this process, with a configuration."""

from tests.support.cli import config, run

__all__ = ["config", "run"]
