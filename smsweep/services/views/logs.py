"""What a person does to a sweep that exists: pause it, take trials out, have some run again, look at its logs."""

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
from smsweep.core.job import LogPage
from smsweep.core.json_documents import LogPageDocument
from smsweep.core.sweep import Sweep
from smsweep.engine.metric_parser import split_records
from smsweep.errors import Throttled, UsageError
from smsweep.remote.record import all_jobs, read_records
from smsweep.secrets.redact import make_redact
from smsweep.services.backends import backend_name, open_backend
from smsweep.services.labels import parse_label, parse_trial
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store import notes

P = ParamSpec("P")
T = TypeVar("T")

FOLLOW_S = 0.3  # between two looks at a growing log


NO_LOG = "the trial was a Python function's: what that printed went to where its agent ran"


def read_log(label: str, *, follow: bool = False, raw: bool = False, backend: str | None = None) -> Iterator[str]:
    """Yield the lines of a trial's log, secrets masked; with follow, until its job has ended.

    label: "ID/N"; or "ID", for what the agent of a sweep that was detached to SageMaker says.
    raw: also the records by which `smsweep.log` reports metrics.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if number is None and sweep_id in read_records(workspace.dir):
        yield from _read_agent_log(workspace, sweep_id, follow=follow)
        return
    sweep_id, number = parse_trial(label)
    with workspace.store() as store:
        trial = find_trial(store, sweep_id, number)
        while follow and not trial.place and not trial.state.is_terminal:  # nobody has taken it up yet
            time.sleep(FOLLOW_S)
            trial = find_trial(store, sweep_id, number)
        if not trial.job_name:
            return
        redact = make_redact(workspace.environ, store.get_sweep(sweep_id).job)
        kind = trial.place.partition("@")[0]
        if kind and kind not in BACKENDS:
            raise UsageError(f"{label}: {NO_LOG}")
        name = backend_name(backend or kind, workspace)
        with contextlib.closing(open_backend(name, workspace, only_reads=True)) as opened:
            job, page = trial.job_name, LogPage(lines=(), cursor="")
            while True:
                cursor = page.cursor
                for page in _pages(opened, job, cursor):
                    if page.lines:
                        lines = redact("\n".join(page.lines)).split("\n")  # at once: a key may span several
                        yield from lines if raw else without_records(lines)
                if page.is_last or not follow:
                    return
                is_over = trial.state.is_terminal or trial.job_name != job
                # Of a job in the cloud this asks for news, without which there is no more of its log.
                there = _in_turn(opened.describe, [job]) if not backend_spec(name).is_local else {}
                if is_over and job not in there:
                    return
                time.sleep(FOLLOW_S)
                trial = find_trial(store, sweep_id, number)


def _pages(backend: Backend, job: str, cursor: str) -> Iterator[LogPage]:
    """Yield what there is of a job's log behind the cursor; the last page tells whether that was all."""
    while True:
        page = _in_turn(backend.read_logs, job, cursor)
        yield page
        if page.cursor == cursor:
            if not page.is_behind:
                return
            backend.wait(FOLLOW_S)
        cursor = page.cursor


def _in_turn(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and again for as long as an API is too busy."""
    while True:
        try:
            return call(*args, **kwargs)
        except Throttled:
            time.sleep(FOLLOW_S)


def _read_agent_log(workspace: Workspace, sweep_id: str, *, follow: bool) -> Iterator[str]:
    """Yield the lines of a detached agent's own log, of the training job that it is now."""
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
            _in_turn(opened.describe, [names[-1]])


def without_records(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text, records = split_records(line)
        if text or not records:
            yield text


class LogPages:
    """Reads pages from several threads; opens a backend when the first log of it is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._opened = ExitStack()
        self._backends: dict[str, tuple[Backend, threading.Lock]] = {}
        self._lock = threading.Lock()

    def page(self, sweep: Sweep, job_name: str, place: str, cursor: str) -> LogPageDocument:
        """Return the next `lines` of a job's log, secrets masked, and the `cursor` to go on from.

        cursor: "" for the beginning, else that of the page before; of another attempt's job, it begins anew and
        `is_new` tells so. is_last: the job has ended and this is the end of its log. note: where it lies
        instead, or why there is none. Raises JobError, UsageError.
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
        with lock:  # not every backend's client may be used by two at once
            try:
                if not is_local:
                    backend.describe([job_name])
                page = backend.read_logs(job_name, "" if is_new else inner)
            except ValueError as err:
                raise UsageError(f"{cursor!r}: no place in a log; begin without one") from err
        redact = make_redact(self._workspace.environ, sweep.job)
        lines = redact("\n".join(page.lines)).split("\n") if page.lines else []  # at once: a key may span several
        return {
            "lines": list(without_records(lines)),
            "cursor": f"{job_name}|{page.cursor}",
            "is_new": is_new,
            "is_last": page.is_last,
            "note": "" if page.cursor or not is_local or host == socket.gethostname() else f"it lies on {host}",
        }

    def close(self) -> None:
        self._opened.close()

    def _backend(self, name: str) -> tuple[Backend, threading.Lock]:
        with self._lock:
            if name not in self._backends:
                opened = self._opened.enter_context(closing(open_backend(name, self._workspace, only_reads=True)))
                self._backends[name] = opened, threading.Lock()
            return self._backends[name]
