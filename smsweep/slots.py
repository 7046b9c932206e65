"""What an agent knows of a trial that it has taken."""

from __future__ import annotations

from dataclasses import dataclass

from smsweep.trials import Trial


@dataclass(slots=True)
class Held:
    """A trial in one of an agent's slots."""

    trial: Trial
    is_submitted: bool = False
    may_have_job: bool = False  # an earlier submission's answer is unknown: look before believing there is none
    was_told: bool = False  # its job has been told to end
