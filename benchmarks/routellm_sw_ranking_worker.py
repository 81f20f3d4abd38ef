"""RouteLLM's own `SWRankingRouter` behind standard input and output, for `routers_sw_ranking`.

It runs in RouteLLM's environment. Its data sets and its embedding client are replaced by local files; everything
that is timed is RouteLLM's.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

os.environ.setdefault("OPENAI_API_KEY", "unused")  # RouteLLM makes a client when it is imported


def main(folder: Path) -> None:
    """Answer each line, a query's number, with a line of JSON: `seconds` and `strong_win_rate`."""
    import pandas as pd  # type: ignore[import-untyped,unused-ignore] # not in this project's environment
    from routellm.routers import routers

    warnings.simplefilter("ignore", FutureWarning)  # scikit-learn's, at every query

    vectors = np.load(folder / "embeddings.npy").astype(np.float64)
    queries = np.load(folder / "queries.npy").astype(np.float64)
    asked = SimpleNamespace(embedding=queries[0].tolist())

    def load_dataset(name: str, **_: Any) -> Any:
        return SimpleNamespace(
            to_pandas=lambda: pd.read_parquet(folder / name), to_dict=lambda: {"embeddings": vectors}
        )

    # RouteLLM gets the data that it would have downloaded, and the embedding that OpenAI would have returned.
    routers.load_dataset, routers.concatenate_datasets = load_dataset, lambda sets: sets[0]
    routers.OPENAI_CLIENT = SimpleNamespace(
        embeddings=SimpleNamespace(create=lambda **_: SimpleNamespace(data=[asked]))
    )
    router = routers.SWRankingRouter(["battles.parquet"], ["embeddings"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked.embedding = queries[int(line)].tolist()
        start = time.perf_counter()
        rate = router.calculate_strong_win_rate("a prompt")
        print(json.dumps({"seconds": time.perf_counter() - start, "strong_win_rate": float(rate)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
