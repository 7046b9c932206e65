"""Store for the ratios of all benchmarks. `benchmarks.brief` prints them as one table."""

from __future__ import annotations

import json
import os
from pathlib import Path

VARIABLE = "SMSWEEP_BENCH_RATIOS"  # path of a file; if unset, nothing is stored


def leave(what: str, peer: str, ours: float, theirs: float) -> None:
    """Store a comparison. ours, theirs: the same quantity; lower is better."""
    file = os.environ.get(VARIABLE)
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            print(json.dumps({"what": what, "peer": peer, "ours": ours, "theirs": theirs}), file=lines)
