"""RouteLLM 0.2.0's matrix factorization router, run by a Python that has it: a query's number in, its time out.

    python routellm_mf_worker.py CHECKPOINT EMBEDDINGS.npy

Its OpenAI client is replaced by a look-up of the query's stored embedding, which takes no relevant time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

os.environ.setdefault("OPENAI_API_KEY", "unused")  # its client is made when it is imported


def main() -> None:
    """Answer queries from standard input until it ends."""
    # Its libraries print to standard output, which is for answers here.
    answers, sys.stdout = sys.stdout, sys.stderr
    import torch
    from routellm.routers.matrix_factorization import model as mf_model
    from routellm.routers.routers import MatrixFactorizationRouter

    checkpoint, embeddings = sys.argv[1:]
    torch.set_num_threads(1)
    # OpenAI's client returns a list of numbers.
    stored = np.load(embeddings).tolist()

    def create(**request: Any) -> Any:
        return SimpleNamespace(data=[SimpleNamespace(embedding=stored[int(request["input"][0])])])

    mf_model.OPENAI_CLIENT = SimpleNamespace(embeddings=SimpleNamespace(create=create))
    router = MatrixFactorizationRouter(checkpoint)
    router.calculate_strong_win_rate("0")
    print(json.dumps({"ready": 1}), file=answers, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        rate = router.calculate_strong_win_rate(line.strip())
        print(json.dumps({"us": (time.perf_counter() - start) * 1e6, "win_rate": rate}), file=answers, flush=True)


if __name__ == "__main__":
    main()
