"""The name a trial has for W&B and for the script."""

from __future__ import annotations

import re

# Names in a trial's summary for what its job tells of W&B.
RUN = "wandb.run"  # the run's id, where W&B's server chose it
PARAMS = "wandb.params."  # before the name of each param that it chose
IDLE = "wandb.idle"  # true where it had no run to give
STOPPED = "wandb.stopped"  # true where it told the run to end
URL = "wandb.url"  # where it shows the run

WANDB_AGENT = "smsweep.runtime.wandb.agent_run"  # in the command of a trial whose params W&B's server chooses
_FOREIGN = re.compile(r"[^a-z0-9-]+")


def run_id(sweep_id: str, number: int) -> str:
    """Return the run id of a trial, the same on every attempt: [a-z0-9-] only; "" outside a sweep."""
    if not sweep_id:
        return ""
    return _FOREIGN.sub("-", f"{sweep_id}-{number}".lower())
