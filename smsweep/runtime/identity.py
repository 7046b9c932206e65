"""The name a trial has for W&B and for the script."""

from __future__ import annotations

import re

WANDB_AGENT = "smsweep.runtime.hosted"  # in the command of a trial whose params W&B's server chooses
_FOREIGN = re.compile(r"[^a-z0-9-]+")


def run_id(sweep_id: str, number: int) -> str:
    """Return the run id of a trial, the same on every attempt: [a-z0-9-] only; "" outside a sweep."""
    if not sweep_id:
        return ""
    return _FOREIGN.sub("-", f"{sweep_id}-{number}".lower())
