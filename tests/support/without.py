"""Commands as they run where some packages are not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

# Runs each of the command lines in a JSON list, in one process: to start one costs more than most commands.
_SCRIPT = """
import contextlib, importlib, io, json, sys
program, missing, commands = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(missing))
main = importlib.import_module(program).main
ran = []
for arguments in commands:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
    ran.append([code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(ran))
"""


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run_without(missing: Sequence[str], program: str, *commands: Sequence[object]) -> list[Ran]:
    """Run commands, one after the other, as if some modules were not installed.

    Args:
        missing: the modules' names.
        program: the module whose `main` takes a command's arguments.
        commands: the arguments of each.
    """
    task = [program, list(missing), [[str(argument) for argument in command] for command in commands]]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(task)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    )
    return [Ran(*each) for each in json.loads(done.stdout)]
