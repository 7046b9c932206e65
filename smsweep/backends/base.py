"""What executes job requests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from smsweep.core.job import JobStatus, LogPage, TrainingJobRequest


class Backend(Protocol):
    """Executes CreateTrainingJob requests; a job's name is its identity. Knows nothing of sweeps."""

    @property
    def place(self) -> str:
        """Where its jobs run, such as `process@host`: two backends of one place see the same jobs."""
        ...

    def submit(self, request: TrainingJobRequest) -> None:
        """Start the job, once: a second submit of the same name changes nothing.

        Raises JobRejected (never retry), or BackendUnavailable, CapacityError, QuotaExceeded (try later).
        """
        ...

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        """Return the status of each job it knows; unknown names are absent. One call a tick serves all."""
        ...

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        """Ask the job to end: SIGTERM now, SIGKILL after grace_s (None: 120 s; 0: at once).

        Returns at once. No-op for a job that is unknown or has ended; a shorter grace may follow a longer.
        """
        ...

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        """Return the next whole lines after cursor ("" for the beginning), at most about 1 MiB of them.

        A last line without an end is held back until the job has ended. Unknown job: an empty page.
        """
        ...

    def forget(self, name: str) -> None:
        """Free what an ended and settled job still holds (a container, a folder's bulk). Logs may go with it."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Sleep so long, or shorter when a job of this client ended meanwhile."""
        ...

    def close(self) -> None:
        """Free the client; never stops jobs."""
        ...
