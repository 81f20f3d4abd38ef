"""Which half of MMLU and GSM8K a prompt is in: the one that may be trained on, or the one for reporting."""

from __future__ import annotations

import hashlib


def in_dev_half(prompt: str) -> bool:
    """Whether a prompt of MMLU or GSM8K may be trained and tuned on; the other, audit, half is for reporting only."""
    return int(hashlib.sha256(f"audit-v1|{prompt}".encode()).hexdigest(), 16) % 2 == 1
