"""Messages on stderr for the reader of a job's log. They never raise."""

from __future__ import annotations

import contextlib
import sys

MESSAGE_PREFIX = "smsweep: "
# Added to the error for a name that W&B has and smsweep does not have.
KEEP_WANDB = (
    "a script that needs more of W&B than config, metrics and summary keeps `import wandb`: "
    "metrics that it logs to W&B reach the sweep as well"
)


def warn(text: str) -> None:
    """Write a message to stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed or missing
        sys.stderr.write(f"{MESSAGE_PREFIX}{text}\n")
