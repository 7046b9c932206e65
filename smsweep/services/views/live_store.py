"""The sweeps of a workspace for the web page and for reports, with secrets masked."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from smsweep.core.json_documents import (
    RunningTrialDocument,
    SweepChanges,
    SweepDocument,
    SweepSummaryDocument,
    SweepTextsAnswer,
    TrialDocument,
)
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint
from smsweep.errors import NotFound
from smsweep.report.axes import axes_of, thin
from smsweep.report.snapshot import Snapshot
from smsweep.secrets.redact import JsonMasker
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.change import OPEN
from smsweep.services.sweeps.load import secrets_of
from smsweep.services.views.json_views import (
    agents_by_sweep,
    flat_params,
    json_safe,
    table_row,
    trial_data,
    working_agents,
)
from smsweep.services.views.sweep_reader import SweepReader
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

T = TypeVar("T")

WAITING_S = 5.0  # maximum age of the wait reasons of active trials, and of the number of agents
MAX_SWEEPS = 12  # sweeps with all their trials in memory
LINE_POINTS = 40  # points of a sparkline
MAX_RUNNING = 40  # active trials in a summary


class LiveSweep:
    """A sweep, its trials and their curves at the last read, with secrets masked. Not thread-safe."""

    def __init__(self, sweep_id: str, workspace: Workspace) -> None:
        self._id = sweep_id
        self._workspace = workspace
        self._clean = JsonMasker(())
        self._reader = SweepReader(sweep_id, has_curves=True)
        self._data: dict[int, TrialDocument] = {}  # as in `smsweep export --format json`, masked
        self._unmasked: SweepDocument | None = None  # the document that `document` was made from
        self._document: SweepDocument | None = None
        self._snapshot: Snapshot | None = None  # of `document`
        self._summary: SweepSummaryDocument | None = None  # of `document`
        self.columns: list[str] = []  # of the rows; columns are only added
        self.origin: dict[str, Any] = {}

    @property
    def revision(self) -> int:
        """The sweep's revision at the last read; 0 before the first."""
        return self.sweep.revision if self._reader.has_read else 0

    @property
    def sweep(self) -> Sweep:
        """The sweep at the last read, not masked."""
        return self._reader.sweep

    @property
    def document(self) -> SweepDocument:
        """The sweep as in `smsweep show --json`, masked."""
        assert self._document is not None, "nothing was read yet"
        return self._document

    def read(self, store: Store) -> None:
        """Read the changes since the previous call.

        Raises:
            NotFound: If the sweep does not exist.
        """
        is_first = not self._reader.has_read
        changes = self._reader.read(store)
        if is_first:
            self._clean = JsonMasker(secrets_of(self.sweep, self._workspace))
            self.origin = self._clean(notes.ORIGIN.get(store, self.sweep.id))
        for change in changes:
            number = change.now.number
            if change.now.is_removed:
                self._data.pop(number, None)
            else:
                self._data[number] = self._clean(json_safe(trial_data(change.now, self.sweep)))
        is_over = self.sweep.state not in OPEN and not self._reader.has_active_trials
        document = self._reader.document(store, math.inf if is_over else WAITING_S)
        if document is not self._unmasked:
            self._unmasked, self._document = document, self._clean(json_safe(document))
            self._snapshot = self._summary = None

    def changes(self, since: int) -> SweepChanges:
        """Return the rows of the trials that changed after a revision, and the numbers of removed trials.

        Args:
            since: A revision; 0 for all trials.
        """
        trials = self._reader.trials.values() if since < self._reader.revision else ()
        numbers = sorted(trial.number for trial in trials if trial.revision > since)
        rows = [table_row(self._data[number]) for number in numbers]
        self.columns = list(dict.fromkeys((*self.columns, *(name for row in rows for name in row))))
        return {
            "revision": self.revision,
            "columns": self.columns,
            "rows": [[row.get(name) for name in self.columns] for row in rows],
            "removed": sorted(number for number, revision in self._reader.removed.items() if revision > since),
        }

    def summary(self) -> SweepSummaryDocument:
        """Return the summary of a sweep: `document`, the course of the best objective, the active trials."""
        if self._summary is None:
            snapshot = self.snapshot()
            best = snapshot.best_so_far(value for _, value in snapshot.scored())
            self._summary = {
                **self.document,
                "revision": self.revision,
                "best_so_far": [value for _, value in thin(best, LINE_POINTS)],
                "running": self._running(),
            }
        return self._summary

    def trial(self, number: int) -> TrialDocument:
        """Return a trial, masked.

        Raises:
            NotFound: If there is no such trial.
        """
        if number not in self._data:
            raise NotFound(
                f"sweep {self._id}: has no trial {number}; list its trials with: smsweep trials {self._id}"
            )
        return self._data[number]

    def texts(self) -> SweepTextsAnswer:
        """Return sweep.yaml, job.yaml and the origin of the sweep, masked."""
        return {
            "sweep_yaml": self._clean(self.sweep.sweep_yaml),
            "job_yaml": self._clean(self.sweep.job_yaml),
            "origin": self.origin,
            "prior_runs": list(self.sweep.prior_runs),
        }

    def snapshot(self) -> Snapshot:
        """Return the data of figures and reports."""
        if self._snapshot is not None:
            return self._snapshot
        numbers = sorted(self._data)
        trials = [self._data[number] for number in numbers]
        config = self.sweep.config
        metric = self._reader.metric
        curves = {metric: {number: self._reader.trials[number].curve for number in numbers}} if metric else {}
        texts = self.texts()
        self._snapshot = Snapshot(
            sweep=self.document,
            trials=trials,
            axes=axes_of(config.space, [flat_params(trial["params"]) for trial in trials]),
            curves=curves,
            front=frozenset(self.document["front"]),
            config=texts["sweep_yaml"],
            job=texts["job_yaml"],
            origin=self.origin,
            made_at=utc_now(),
        )
        return self._snapshot

    def _running(self) -> list[RunningTrialDocument]:
        """Return the first active trials, each with its curve."""
        active = sorted(trial.number for trial in self._reader.trials.values() if trial.state.is_active)
        running: list[RunningTrialDocument] = []
        for number in active[:MAX_RUNNING]:
            curve, data = self._reader.trials[number].curve, self._data[number]
            running.append(
                {
                    "number": number,
                    "state": data["state"],
                    "params": data["params"],
                    "objective": data["objective"],
                    "started_at": data["started_at"],
                    "curve": [value for _, value in thin(curve, LINE_POINTS)],
                    "n_reports": len(curve),
                }
            )
        return running


class LiveStore:
    """The store of a workspace for repeated reads from several threads.

    The store is opened once, read-only. A missing store counts as empty. A store that was replaced on the disk is
    opened again.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Check the folder of the workspace.

        Raises:
            UsageError: If another user can change the folder. Each read of a new store checks again.
        """
        workspace.check()
        self._workspace = workspace
        self._opened = ExitStack()
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None  # device and inode of SQLite's file
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[LiveSweep, threading.Lock]] = OrderedDict()
        self._summaries: dict[str, SweepSummaryDocument] = {}

    def sweeps(self) -> list[SweepSummaryDocument]:
        """Return the summaries of all sweeps, newest first."""
        store = self._current()
        if store is None:
            return []
        summaries = []
        agents = agents_by_sweep(store)
        for sweep in store.list_sweeps():
            known = self._summaries.get(sweep.id)
            if known is None or known["revision"] != sweep.revision:
                with contextlib.suppress(NotFound):  # removed just now
                    known = self.read(sweep.id, LiveSweep.summary)
                    self._summaries[sweep.id] = known
            if known is not None and sweep.state in OPEN:  # agents come and go without a new revision
                n_agents = len(working_agents(sweep, agents.get(sweep.id, ()), store.holders(sweep.id)))
                known = {**known, "n_agents": n_agents, "has_agent": bool(n_agents or known["agent"])}
            if known is not None:
                summaries.append(known)
        return summaries

    def read(self, sweep_id: str, ask: Callable[[LiveSweep], T]) -> T:
        """Read the changes of a sweep and return a part of it.

        Args:
            sweep_id: Id of the sweep.
            ask: Returns the part.

        Raises:
            NotFound: If there is no such sweep.
            UsageError: If `sweep_id` is not a sweep id.
        """
        sweep_id = parse_sweep_id(sweep_id)
        store = self._current()
        if store is None:
            raise NotFound(f"{self._workspace.dir}: has no sweeps; create one with: smsweep sweep sweep.yaml")
        with self._lock:
            live, lock = self._kept.setdefault(sweep_id, (LiveSweep(sweep_id, self._workspace), threading.Lock()))
            self._kept.move_to_end(sweep_id)
            while len(self._kept) > MAX_SWEEPS:
                self._kept.popitem(last=False)
        with lock:
            try:
                live.read(store)
            except NotFound:
                self._kept.pop(sweep_id, None)
                self._summaries.pop(sweep_id, None)
                raise
            return ask(live)

    def points(self, sweep_id: str, number: int) -> list[MetricPoint]:
        """Return the metric points of a trial, oldest first."""
        store = self._current()
        if store is None:
            raise NotFound(f"{self._workspace.dir}: has no sweeps; create one with: smsweep sweep sweep.yaml")
        return store.read_points(sweep_id, number)

    def forget(self, sweep_id: str) -> None:
        """Read a sweep again completely at the next read, because its notes changed without a new revision."""
        with self._lock:
            self._kept.pop(sweep_id, None)
            self._summaries.pop(sweep_id, None)

    def close(self) -> None:
        """Close the store."""
        self._opened.close()

    def _current(self) -> Store | None:
        with self._lock:
            file = self._identity()
            if self._store is not None and file == self._file:
                return self._store
            self._opened.close()
            self._store, self._file = None, file
            self._kept.clear()
            self._summaries.clear()
            if self._workspace.has_store:
                self._store = self._opened.enter_context(self._workspace.store(read_only=True))
            return self._store

    def _identity(self) -> tuple[int, int] | None:
        file = self._workspace.store_file
        try:
            status = file.stat() if file else None
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status else None
