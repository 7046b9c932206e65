"""Where the benchmarks leave their ratios for `benchmarks.brief`, which makes one table of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "SMSWEEP_BENCH_RATIOS"  # a file; not set, nothing is left


def leave(what: str, peer: str, ours: float, theirs: float) -> None:
    """Note a comparison. ours, theirs: the same quantity, less is better."""
    file = os.environ.get(VARIABLE)
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            print(json.dumps({"what": what, "peer": peer, "ours": ours, "theirs": theirs}), file=lines)
