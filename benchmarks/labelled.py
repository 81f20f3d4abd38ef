"""Labelled prompts for `calibrate`: MMLU's dev half, with both models' scores, as JSON lines.

    python -m benchmarks.labelled --data ../shared/data/routellm_evals >labelled.jsonl

The figures in docs/calibration.md are from these prompts. The shipped router has learnt from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from routing_lab.data.routellm_folders import dev_rows, response_files

from routing_service.errors import UsageError
from routing_service.models import ROUTELLM_PAIR

# An answer is a letter and little else.
OUTPUT_TOKENS = 5


def main() -> None:
    """Print a row for each prompt."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="RouteLLM's folder routellm/evals")
    folder = parser.parse_args().data / "mmlu"
    files = response_files(folder)
    if not files:
        sys.exit(f"benchmarks.labelled: {folder} holds no responses/*.csv")
    try:
        for file in files:
            for row in dev_rows(folder, file, *ROUTELLM_PAIR):
                scores = {ROUTELLM_PAIR.strong: row.strong, ROUTELLM_PAIR.weak: row.weak}
                print(json.dumps({"prompt": row.prompt, "scores": scores, "output_tokens": OUTPUT_TOKENS}))
    except UsageError as error:
        sys.exit(f"benchmarks.labelled: {error}")


if __name__ == "__main__":
    main()
