"""A training job, the transitions between its statuses, and the table of all jobs with one file per job."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from smsweep.util.atomic_file import write_text

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})

# Secondary status -> (status, status message). Source: the API model and responses of SageMaker.
STEPS: Mapping[str, tuple[str, str]] = {
    "Starting": ("InProgress", "Preparing the instances for training"),
    "Pending": ("InProgress", "Insufficient capacity error from EC2 while launching instances, retrying!"),
    "Downloading": ("InProgress", "Downloading input data"),
    "Training": ("InProgress", "Training image download completed. Training in progress."),
    "Interrupted": ("InProgress", "Training job interrupted"),
    "Restarting": ("InProgress", "Restarting the training job"),
    "Uploading": ("InProgress", "Uploading generated training model"),
    "Stopping": ("Stopping", "Stopping the training job"),
    "Completed": ("Completed", "Training job completed"),
    "Failed": ("Failed", "Training job failed"),
    "Stopped": ("Stopped", "Training job stopped"),
    "MaxRuntimeExceeded": ("Stopped", "Training job runtime exceeded MaxRuntimeInSeconds provided"),
    "MaxWaitTimeExceeded": ("Stopped", "Training job wait time exceeded MaxWaitTimeInSeconds provided"),
}


@dataclass(kw_only=True, slots=True)
class Job:
    """A training job. Times are seconds since the epoch, as in the API."""

    name: str
    arn: str
    region: str
    request: dict[str, Any]  # CreateTrainingJob request without Tags
    tags: dict[str, str]
    created_at: float
    modified_at: float
    status: str = "InProgress"
    secondary_status: str = ""
    transitions: list[dict[str, Any]] = field(default_factory=list)  # SecondaryStatusTransitions, oldest first
    failure_reason: str = ""
    started_at: float | None = None  # time when the instances were available
    ended_at: float | None = None
    training_s: int = 0  # from started_at to ended_at, once the job has ended
    billable_s: int = 0
    final_metrics: dict[str, tuple[float, float]] = field(default_factory=dict)  # name -> (value, time)
    warm_pool: dict[str, Any] = field(default_factory=dict)  # WarmPoolStatus; empty if the job has no warm pool
    pool_expires_at: float = 0.0  # valid while the pool is Available
    is_submitted: bool = False  # True: the backend has the job
    restarts: int = 0  # number of restarts after an interruption or an internal error
    restart_status: str = ""  # Interrupted or Restarting while the job stops for a restart; else ""
    stop_reason: str = ""  # last secondary status, if SageMaker stopped the job; "" if the user did
    tuning_job_arn: str = ""  # tuning job that launched the job; "" if the user did
    curve: list[float] = field(default_factory=list)  # values of the objective of the tuning job, oldest first
    log_stream: str = ""  # of the current run
    log_cursor: str = ""  # next position in the backend's log

    @property
    def is_terminal(self) -> bool:
        """True if the job has ended."""
        return self.status in TERMINAL

    @property
    def is_stopping(self) -> bool:
        """True from a stop request until the job ends."""
        return self.status == "Stopping"

    @property
    def is_spot(self) -> bool:
        """True if the job uses managed spot training."""
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def resources(self) -> Mapping[str, Any]:
        """ResourceConfig of the request."""
        resources: Mapping[str, Any] = self.request.get("ResourceConfig", {})
        return resources

    def limit(self, name: str) -> float:
        """Return a field of StoppingCondition in seconds; infinity if the request does not have it."""
        return float(self.request.get("StoppingCondition", {}).get(name, "inf"))

    def seconds_in(self, secondary_status: str) -> float:
        """Return the time that the job spent in a secondary status that it has left, in all runs together."""
        return float(
            sum(it["EndTime"] - it["StartTime"] for it in self.transitions if it["Status"] == secondary_status)
        )

    def since(self, secondary_status: str) -> float:
        """Return the time when the job last entered a secondary status that it has been in."""
        times: list[float] = [it["StartTime"] for it in self.transitions if it["Status"] == secondary_status]
        return times[-1]

    def enter(self, secondary_status: str, now: float) -> bool:
        """Enter a secondary status.

        Returns:
            False, without a change, if the job has ended, or if it is stopping and the status is not a final one.
            A stopping job can enter Uploading, and continues to be Stopping.
        """
        status, message = STEPS[secondary_status]
        if self.is_stopping and secondary_status == "Uploading":
            status = "Stopping"
        elif self.is_terminal or (self.is_stopping and status not in TERMINAL):
            return False
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", now)
        step = {"Status": secondary_status, "StartTime": now, "StatusMessage": message}
        if status in TERMINAL:
            step["EndTime"] = now
        self.transitions.append(step)
        self.status, self.secondary_status, self.modified_at = status, secondary_status, now
        return True

    def to_json(self) -> dict[str, Any]:
        """Return all fields as a JSON document."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class JobTable:
    """All jobs. Hold `lock` while you change a job, then `save` it.

    The next start of the emulator reads the files.

    Args:
        folder: Folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.lock = threading.RLock()
        self._jobs = {job.name: job for job in map(_read, folder.glob("*.json"))}

    def get(self, name: str) -> Job | None:
        """Return a job, or None."""
        return self._jobs.get(name)

    def all(self) -> list[Job]:
        """Return all jobs."""
        with self.lock:
            return list(self._jobs.values())

    def live(self) -> list[Job]:
        """Return the jobs that have not ended."""
        return [job for job in self.all() if not job.is_terminal]

    def add(self, job: Job) -> None:
        """Add a job, and write its file."""
        self._jobs[job.name] = job
        self.save(job)

    def save(self, job: Job) -> None:
        """Write a job's file."""
        write_text(self._path(job.name), json.dumps(job.to_json()))

    def remove(self, name: str) -> None:
        """Remove a job and its file."""
        del self._jobs[name]
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> Job:
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    job.log_cursor = ""  # the log in CloudWatch was in memory: write it again
    if not job.is_terminal:
        job.curve = []  # read from the log again
    return job
