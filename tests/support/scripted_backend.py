"""A backend whose jobs follow a test's script, on the test's clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from smsweep.core.job import JobResults, JobStatus, LogPage, TrainingJobRequest
from smsweep.errors import BackendUnavailable, JobError
from smsweep.runtime.job.trial_document import Assignment, read_assignment

Script = Callable[[Assignment], "Plot"]


@dataclass
class Plot:
    """Script of one job: pages of log lines, one for each poll, and then the end of the job."""

    pages: list[list[str]] = field(default_factory=list)
    status: str = "Completed"
    failure_reason: str = ""
    exit_code: int | None = 0
    is_lost: bool = False
    secondary_status: str = ""
    ends: bool = True  # False: runs until it is stopped
    final_metrics: Mapping[str, float] = field(
        default_factory=dict
    )  # last metric values that the platform has parsed


@dataclass
class _Job:
    plot: Plot
    lines: list[str] = field(default_factory=list)
    n_polls: int = 0
    stopped: bool = False


class ScriptedBackend:
    """Backend with scripted jobs. With each `describe`, a job prints its next page, or ends."""

    def __init__(self, script: Script, place: str = "scripted@here") -> None:
        self._script = script
        self._place = place
        self.jobs: dict[str, _Job] = {}
        self.submitted: list[str] = []  # names of started jobs, in order
        self.refusals: list[JobError] = []  # errors of the next calls of submit
        self.loses_answers = 0  # number of next calls of submit that start the job and raise an error
        self.forgotten: list[str] = []
        self.stops: list[tuple[str, float | None]] = []
        self.most_alive = 0

    @property
    def place(self) -> str:
        return self._place

    def submit(self, request: TrainingJobRequest) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        name = request["TrainingJobName"]
        if name not in self.jobs:
            self.jobs[name] = _Job(self._script(read_assignment(request["HyperParameters"])))
            self.submitted.append(name)
        alive = [job for job in self.jobs.values() if not self._has_ended(job)]
        self.most_alive = max(self.most_alive, len(alive))
        if self.loses_answers:
            self.loses_answers -= 1
            raise BackendUnavailable("no response")

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        return {name: self._step(name, self.jobs[name]) for name in names if name in self.jobs}

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        self.stops.append((name, grace_s))
        if name in self.jobs:
            self.jobs[name].stopped = True

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        if name not in self.jobs:
            return LogPage(lines=(), cursor=cursor)
        job = self.jobs[name]
        start = int(cursor or 0)
        return LogPage(lines=tuple(job.lines[start:]), cursor=str(len(job.lines)), is_last=self._has_ended(job))

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def wait(self, timeout_s: float) -> None:
        raise AssertionError("the kit waits with its own clock")

    def close(self) -> None:
        self.jobs.clear()

    def _has_ended(self, job: _Job) -> bool:
        return job.stopped or (job.plot.ends and job.n_polls > len(job.plot.pages))

    def _step(self, name: str, job: _Job) -> JobStatus:
        if job.n_polls < len(job.plot.pages) and not job.stopped:
            job.lines += job.plot.pages[job.n_polls]
        job.n_polls += 1
        if job.stopped:
            return JobStatus(name=name, status="Stopped", secondary_status="Stopped", exit_code=143)
        if not self._has_ended(job):
            return JobStatus(name=name, status="InProgress", secondary_status="Training")
        plot = job.plot
        return JobStatus(
            name=name,
            status=plot.status,
            secondary_status=plot.secondary_status or plot.status,
            failure_reason=plot.failure_reason,
            exit_code=plot.exit_code,
            is_lost=plot.is_lost,
            results=JobResults(final_metrics=plot.final_metrics),
        )
