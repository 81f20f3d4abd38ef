"""RouteLLM's routers here and in RouteLLM 0.2.0, on the same weights, in one run for each router.

    python -m benchmarks.routers --peer-python PATH [--routers mf sw_ranking bert causal_llm]

PATH is a Python that has `routellm==0.2.0` installed, in an environment of its own. Each router's own benchmark,
`benchmarks.routers_NAME`, has more options.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

ROUTERS = ("mf", "sw_ranking", "bert", "causal_llm")


def main() -> int:
    """Run the benchmarks one after the other, each in its own process. Returns how many failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--peer-python", required=True, metavar="PATH", help="a Python with routellm==0.2.0")
    parser.add_argument("--routers", nargs="+", choices=ROUTERS, default=ROUTERS, metavar="R", help="default: all four")
    options = parser.parse_args()
    failed = 0
    for name in options.routers:
        command = [sys.executable, "-m", f"benchmarks.routers_{name}", "--peer-python", options.peer_python]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
