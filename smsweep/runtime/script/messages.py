"""A word to the person who reads the job's log, on stderr; never an exception."""

from __future__ import annotations

import contextlib
import sys

TALK = "smsweep: "  # how our own words begin
# To who asks for a name that W&B has and smsweep has not.
KEEP_WANDB = (
    "a script that needs more of W&B than config, metrics and summary keeps `import wandb`: "
    "what it logs there reaches the sweep as well"
)


def warn(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
        sys.stderr.write(f"{TALK}{text}\n")
