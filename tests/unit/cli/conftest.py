"""The command line in this process, with a configuration, prompts and their win rates."""

from tests.support.cli import config, prompts, rates, run

__all__ = ["config", "prompts", "rates", "run"]
