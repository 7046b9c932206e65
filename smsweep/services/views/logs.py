"""Read the logs of trials and of detached agents: line by line for the terminal, in pages for the web page."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from typing import ParamSpec, TypeVar

from smsweep.backends.base import Backend
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.core.job import LogPage, job_name
from smsweep.core.json_documents import LogPageDocument
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.metric_parser import split_records
from smsweep.errors import Throttled, UsageError
from smsweep.remote.record import all_jobs, read_records
from smsweep.secrets.redact import make_redact
from smsweep.services.backends import backend_name, open_backend
from smsweep.services.labels import parse_label, parse_trial
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store import notes
from smsweep.store.base import Store

P = ParamSpec("P")
T = TypeVar("T")

FOLLOW_S = 0.3  # seconds between two reads of a growing log
LOCAL = ("process", "docker", "slurm")  # backends whose jobs are looked up without a request to AWS
NO_LOG = "the trial ran a Python function, whose output is in the output of its agent"


def read_log(
    label: str,
    *,
    follow: bool = False,
    raw: bool = False,
    backend: str | None = None,
    attempt: int | None = None,
) -> Iterator[str]:
    """Yield the lines of a log. Secrets are masked.

    Args:
        label: A trial ("ID/N"), or a sweep ("ID") for the log of its detached agent on SageMaker.
        follow: Continue until the job has ended.
        raw: Include the records with which `smsweep.log` reports metrics.
        backend: Name of the backend. Default: the backend that ran the trial.
        attempt: Attempt of the trial, from 0. Default: the last attempt that has a job.

    Raises:
        NotFound: If there is no such sweep or trial.
        UsageError: If there is no job of the attempt, the trial ran a Python function, or the backend is unknown.
        JobError: If the log cannot be read.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if number is None and sweep_id in read_records(workspace.dir):
        yield from _read_agent_log(workspace, sweep_id, follow=follow)
        return
    sweep_id, number = parse_trial(label)
    with workspace.store() as store:
        trial = find_trial(store, sweep_id, number)
        while (
            follow and attempt is None and not trial.job_name and not trial.state.is_terminal
        ):  # no agent has claimed it yet
            time.sleep(FOLLOW_S)
            trial = find_trial(store, sweep_id, number)
        redact = make_redact(workspace.environ, store.get_sweep(sweep_id).job)
        job, kind = trial.job_name, trial.place.partition("@")[0]
        if kind and kind not in BACKENDS:
            raise UsageError(f"{label}: {NO_LOG}")
        if attempt not in (None, trial.attempt) or not job:
            attempts = _find_attempts(store, trial, workspace, backend)
            if attempt is None and not attempts:
                return
            last = max(attempts, default=0) if attempt is None else attempt
            if last not in attempts:
                listed = f"there are logs of the attempts {', '.join(map(str, sorted(attempts)))}"
                raise UsageError(
                    f"--attempt: {trial.label} has no job of attempt {last}; "
                    f"{listed if attempts else 'no log of the trial was found'}"
                )
            job, kind = job_name(sweep_id, number, last), attempts[last]
        name = backend_name(backend or kind, workspace)
        with contextlib.closing(open_backend(name, workspace, only_reads=True)) as opened:
            page = LogPage(lines=(), cursor="")
            while True:
                cursor = page.cursor
                for page in _pages(opened, job, cursor):
                    if page.lines:
                        lines = redact("\n".join(page.lines)).split(
                            "\n"
                        )  # as one text, because a secret can span several lines
                        yield from lines if raw else without_records(lines)
                if page.is_last or not follow:
                    return
                is_over = trial.state.is_terminal or trial.job_name != job
                # For a remote job, `describe` updates the status, without which the log does not grow.
                known = _retry_throttled(opened.describe, [job]) if not backend_spec(name).is_local else {}
                if is_over and job not in known:
                    return
                time.sleep(FOLLOW_S)
                trial = find_trial(store, sweep_id, number)


def _find_attempts(store: Store, trial: Trial, workspace: Workspace, backend: str | None) -> dict[int, str]:
    """Return attempt -> backend for each attempt of a trial whose job is still known."""
    prefix = job_name(trial.sweep_id, trial.number, 0).removesuffix("0")
    kinds = [backend_name(backend, workspace)] if backend else _possible_backends(store, trial.sweep_id)
    attempts: dict[int, str] = {}
    for kind in kinds:
        find_jobs = backend_spec(kind).find_jobs
        names = [] if find_jobs is None else find_jobs(prefix, workspace.jobs_dir, workspace.environ)
        for request in names:
            suffix = request["TrainingJobName"].removeprefix(prefix)
            if suffix.isdecimal():
                attempts.setdefault(int(suffix), kind)
    return attempts


def _possible_backends(store: Store, sweep_id: str) -> list[str]:
    """Return the backends that may have run trials of a sweep. A pending trial does not name its last backend."""
    trials = store.list_trials(sweep_id)
    used = {trial.place.partition("@")[0] for trial in trials}
    if any(trial.usage.get("instance_type") for trial in trials) and "batch" not in used:
        used.add("sagemaker")
    return [kind for kind in BACKENDS if kind in used or kind in LOCAL]


def with_log(label: str) -> str:
    """Return the label whose log `read_log` prints: for a sweep, that of the trial that started last.

    A sweep that was detached to SageMaker keeps its label, because its agent has a log.

    Args:
        label: A trial ("ID/N") or a sweep ("ID").

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If no trial of the sweep has started.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if number is not None or sweep_id in read_records(workspace.dir):
        return label
    with workspace.store() as store:
        store.get_sweep(sweep_id)
        started = [trial for trial in store.list_trials(sweep_id) if trial.started_at is not None]
    if not started:
        raise UsageError(f"{sweep_id}: no trial has started yet; run trials with: smsweep agent {sweep_id}")
    return max(started, key=lambda trial: (trial.started_at, trial.number)).label


def _pages(backend: Backend, job: str, cursor: str) -> Iterator[LogPage]:
    """Yield the available pages of a job's log after the cursor."""
    while True:
        page = _retry_throttled(backend.read_logs, job, cursor)
        yield page
        if page.cursor == cursor:
            if not page.is_behind:
                return
            backend.wait(FOLLOW_S)
        cursor = page.cursor


def _retry_throttled(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, and retry while AWS throttles the call."""
    while True:
        try:
            return call(*args, **kwargs)
        except Throttled:
            time.sleep(FOLLOW_S)


def _read_agent_log(workspace: Workspace, sweep_id: str, *, follow: bool) -> Iterator[str]:
    """Yield the lines of the log of a detached agent's current training job."""
    with workspace.store() as store:
        names = all_jobs(read_records(workspace.dir)[sweep_id], notes.AGENT_JOBS.get(store, sweep_id))
    with contextlib.closing(open_backend("sagemaker", workspace, only_reads=True)) as opened:
        page = LogPage(lines=(), cursor="")
        while names:
            cursor = page.cursor
            for page in _pages(opened, names[-1], cursor):
                yield from without_records(page.lines)
            if page.is_last or not follow:
                return
            opened.wait(FOLLOW_S)
            _retry_throttled(opened.describe, [names[-1]])


def without_records(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines without the records of metrics. Omit lines that contain only records."""
    for line in lines:
        text, records = split_records(line)
        if text or not records:
            yield text


class LogPages:
    """Reads pages of logs from several threads. Opens a backend when its first log is read."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._opened = ExitStack()
        self._backends: dict[str, tuple[Backend, threading.Lock]] = {}
        self._lock = threading.Lock()

    def page(self, sweep: Sweep, job_name: str, place: str, cursor: str) -> LogPageDocument:
        """Return the next page of a job's log. Secrets are masked.

        Args:
            sweep: The sweep of the job.
            job_name: Name of the job; "" before the trial starts.
            place: Where the trial runs (BACKEND@HOST).
            cursor: "" for the first page, else the cursor of the previous page.

        Returns:
            `lines`; `cursor` for the next page; `is_new`, if the cursor was for another job and the page is the
            first of this job; `is_last`, if the job has ended and its log is complete; and `note`, why the log is
            not available.

        Raises:
            JobError: If the log cannot be read.
            UsageError: If the cursor is invalid.
        """
        known, _, inner = cursor.partition("|")
        is_new = known != job_name
        if not job_name:
            return {"lines": [], "cursor": "", "is_new": is_new, "is_last": False, "note": ""}
        kind, _, host = place.partition("@")
        if kind not in BACKENDS:
            return {"lines": [], "cursor": "", "is_new": is_new, "is_last": True, "note": NO_LOG}
        is_local = backend_spec(kind).is_local
        backend, lock = self._backend(backend_name(kind, self._workspace))
        with lock:  # some backends are not thread-safe
            try:
                if not is_local:
                    backend.describe([job_name])
                page = backend.read_logs(job_name, "" if is_new else inner)
            except ValueError as err:
                raise UsageError(f"{cursor!r}: is not a valid cursor; start without a cursor") from err
        redact = make_redact(self._workspace.environ, sweep.job)
        lines = (
            redact("\n".join(page.lines)).split("\n") if page.lines else []
        )  # as one text, because a secret can span several lines
        return {
            "lines": list(without_records(lines)),
            "cursor": f"{job_name}|{page.cursor}",
            "is_new": is_new,
            "is_last": page.is_last,
            "note": "" if page.cursor or not is_local or host == socket.gethostname() else f"the log is on {host}",
        }

    def close(self) -> None:
        """Close the backends."""
        self._opened.close()

    def _backend(self, name: str) -> tuple[Backend, threading.Lock]:
        with self._lock:
            if name not in self._backends:
                opened = self._opened.enter_context(closing(open_backend(name, self._workspace, only_reads=True)))
                self._backends[name] = opened, threading.Lock()
            return self._backends[name]
