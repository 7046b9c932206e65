"""One training job as the service knows it, and the walk through its statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

TERMINAL = frozenset({"Completed", "Failed", "Stopped"})

# Secondary status -> (status, what the service says of it). Source: the API's model and its answers.
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
    """Times are seconds since the epoch, as the API sends them."""

    name: str
    arn: str
    region: str
    request: dict[str, Any]  # as it was accepted, without Tags
    tags: dict[str, str]
    created_at: float
    modified_at: float
    status: str = "InProgress"
    secondary_status: str = ""
    transitions: list[dict[str, Any]] = field(default_factory=list)  # as Describe shows them, oldest first
    failure_reason: str = ""
    started_at: float | None = None  # instances were there
    ended_at: float | None = None
    training_s: int = 0  # at the end: from started_at to ended_at
    billable_s: int = 0
    final_metrics: dict[str, tuple[float, float]] = field(default_factory=dict)  # name -> (value, time)
    warm_pool: dict[str, Any] = field(default_factory=dict)  # WarmPoolStatus; empty without a warm pool
    pool_expires_at: float = 0.0  # while Available
    is_submitted: bool = False  # a backend has it
    restarts: int = 0  # times it was begun again, after an interruption or an internal error
    restart_status: str = ""  # Interrupted | Restarting, while it is being ended to be begun again
    stop_reason: str = ""  # secondary status to end with, where it was not a person who stopped it
    log_stream: str = ""  # of the present run
    log_cursor: str = ""  # where to read on in the backend's log

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_stopping(self) -> bool:
        return self.status == "Stopping"

    @property
    def is_spot(self) -> bool:
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def resources(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.request.get("ResourceConfig", {})
        return found

    def limit(self, name: str) -> float:
        """Return a StoppingCondition in seconds; infinite where the request has none."""
        return float(self.request.get("StoppingCondition", {}).get(name, "inf"))

    def since(self, secondary_status: str) -> float:
        """Return when it last entered a status it has been in."""
        times: list[float] = [it["StartTime"] for it in self.transitions if it["Status"] == secondary_status]
        return times[-1]

    def enter(self, secondary_status: str, now: float) -> bool:
        """Go to the next status and tell whether that was possible.

        A job that has ended goes nowhere, one that is being stopped nowhere but to an end.
        """
        status, message = STEPS[secondary_status]
        if self.is_terminal or (self.is_stopping and status not in TERMINAL):
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
        return {item.name: getattr(self, item.name) for item in fields(self)}
