"""The run id of a trial, and the summary names that a job with W&B's agent uses."""

from __future__ import annotations

import re

# Names in a trial's summary for what its job reports about W&B.
RUN = "wandb.run"  # the run's id, if W&B's server chose it
PARAMS = "wandb.params."  # prefix of each param that the server chose
IDLE = "wandb.idle"  # true if the server had no run for the agent
STOPPED = "wandb.stopped"  # true if the server ordered the run to stop
URL = "wandb.url"  # page of the run

WANDB_AGENT = "smsweep.runtime.wandb.agent_run"  # in the command of a trial whose params W&B's server chooses
_FOREIGN = re.compile(r"[^a-z0-9-]+")


def run_id(sweep_id: str, number: int) -> str:
    """Return the run id of a trial, the same for every attempt: only [a-z0-9-]; "" outside a sweep."""
    if not sweep_id:
        return ""
    return _FOREIGN.sub("-", f"{sweep_id}-{number}".lower())
