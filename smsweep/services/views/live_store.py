"""A sweep that is watched: read once, then only what changed, from a store that is kept open and never written."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, Trial
from smsweep.errors import NotFound
from smsweep.report.axes import axes_of
from smsweep.report.downsample import thin
from smsweep.report.snapshot import Snapshot
from smsweep.secrets.mask_json import Cleaner
from smsweep.services.job_config import secrets_of
from smsweep.services.labels import parse_sweep_id
from smsweep.services.views.json_views import flat_params, json_safe, show_data, table_row, trial_data
from smsweep.services.views.watcher import metric_name
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

Data = dict[str, Any]
T = TypeVar("T")
WAITING_S = 5.0  # after which it is asked again what running trials wait for
MOST_KEPT = 12  # sweeps with all their trials in memory
LINE_POINTS = 40  # of a small line: how the best came about, a running trial's curve
MOST_RUNNING = 40  # shown


class LiveSweep:
    """A sweep, its trials and their curves as last read. Not for several threads at once."""

    def __init__(self, sweep_id: str, workspace: Workspace) -> None:
        self._id = sweep_id
        self._workspace = workspace
        self._clean = Cleaner(())
        self._seen = 0  # highest revision among the trials read
        self._shown_at = -1  # revision of `shown`
        self._shown_s = 0.0  # when it was made, monotonic
        self._trials: dict[int, Trial] = {}
        self._data: dict[int, Data] = {}  # as `smsweep export --format json` has them, without secrets
        self._gone: dict[int, int] = {}  # removed trial -> its revision
        self.columns: list[str] = []  # of the rows; only ever grows
        self.shown: Data = {}  # as `smsweep show --json`, without secrets
        self.origin: Data = {}
        self.sweep: Sweep | None = None
        self._snapshot: Snapshot | None = None  # of `shown`
        self._summary: Data | None = None  # likewise

    @property
    def revision(self) -> int:
        return self.sweep.revision if self.sweep else 0

    def read(self, store: Store) -> None:
        """Take in what changed since the last time. Raises NotFound for a sweep that is no more."""
        sweep = store.get_sweep(self._id)
        if self.sweep is None:
            self._clean = Cleaner(secrets_of(sweep, self._workspace))
            self.origin = self._clean(notes.ORIGIN.get(store, sweep.id))
        self.sweep = sweep
        metric = self.metric
        if sweep.revision > self._seen:
            for trial in store.list_trials(self._id, since=self._seen, curve_of=metric or None):
                self._take(trial, sweep)
        is_old = time.monotonic() - self._shown_s > WAITING_S and any(
            t.state.is_active for t in self._trials.values()
        )
        if self._shown_at != sweep.revision or is_old:  # what a trial waits for changes without a revision
            self.shown = self._clean(json_safe(show_data(store, sweep, self._trials.values())))
            self._shown_at, self._shown_s = sweep.revision, time.monotonic()
            self._snapshot = self._summary = None

    @property
    def metric(self) -> str:
        """The metric that figures show, by the name that scripts report; "" for a sweep without any."""
        return metric_name(self.sweep) if self.sweep else ""

    def changes(self, since: int) -> Data:
        """Return the rows of trials that changed after a revision, and which were removed. since: 0 for all."""
        is_old = since < self._seen
        numbers = (
            sorted(number for number, trial in self._trials.items() if trial.revision > since) if is_old else []
        )
        rows = [table_row(self._data[number]) for number in numbers]
        for row in rows:
            self.columns += [name for name in row if name not in self.columns]
        return {
            "revision": self.revision,
            "columns": self.columns,
            "rows": [[row.get(name) for name in self.columns] for row in rows],
            "removed": sorted(number for number, revision in self._gone.items() if revision > since),
        }

    def summary(self) -> Data:
        """Return what a list says of the sweep: `shown`, how its best came about, what runs now."""
        if self._summary is None:
            snapshot = self.snapshot()
            best = snapshot.best_so_far(value for _, value in snapshot.scored())
            self._summary = {
                **self.shown,
                "revision": self.revision,
                "best_so_far": [value for _, value in thin(best, LINE_POINTS)],
                "running": self._running(),
            }
        return self._summary

    def trial(self, number: int) -> Data:
        """Raises NotFound."""
        if number not in self._data:
            raise NotFound(f"sweep {self._id} has no trial {number}; it has been removed, or never was")
        return self._data[number]

    def texts(self) -> Data:
        """Return both files of the sweep and where it comes from."""
        assert self.sweep is not None
        return {
            "sweep_yaml": self._clean(self.sweep.sweep_yaml),
            "job_yaml": self._clean(self.sweep.job_yaml),
            "origin": self.origin,
            "prior_runs": list(self.sweep.prior_runs),
        }

    def snapshot(self) -> Snapshot:
        """Return all of it for figures and reports."""
        if self._snapshot is not None:
            return self._snapshot
        assert self.sweep is not None
        numbers = sorted(self._data)
        trials = [self._data[number] for number in numbers]
        config = self.sweep.config
        curves = {
            name: {number: self._trials[number].curve for number in numbers} for name in (self.metric,) if name
        }
        texts = self.texts()
        self._snapshot = Snapshot(
            sweep=self.shown,
            trials=trials,
            axes=axes_of(config.space, [flat_params(trial["params"]) for trial in trials]),
            curves=curves,
            front=frozenset(self.shown["front"]),
            config=texts["sweep_yaml"],
            job=texts["job_yaml"],
            origin=self.origin,
            made_at=utc_now(),
        )
        return self._snapshot

    def _running(self) -> list[Data]:
        """Return the first trials that run, each with its curve so far."""
        active = sorted(number for number, trial in self._trials.items() if trial.state.is_active)
        keys = ("number", "state", "params", "objective", "started_at")
        found = []
        for number in active[:MOST_RUNNING]:
            curve = self._trials[number].curve
            line = [value for _, value in thin(curve, LINE_POINTS)]
            found.append({key: self._data[number][key] for key in keys} | {"curve": line, "n_reports": len(curve)})
        return found

    def _take(self, trial: Trial, sweep: Sweep) -> None:
        self._seen = max(self._seen, trial.revision)
        if trial.is_removed:
            self._gone[trial.number] = trial.revision
            self._trials.pop(trial.number, None)
            self._data.pop(trial.number, None)
            return
        self._trials[trial.number] = trial
        self._data[trial.number] = self._clean(json_safe(trial_data(trial, sweep)))


class LiveStore:
    """The store of a workspace for readers who come again and again, from several threads.

    Opened once, so that reading costs little; the database refuses it every write. A store that is not there yet
    is empty; one that was replaced on the disk is opened anew.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Raises UsageError if another user can change the folder, now and at each read of a new store."""
        workspace.check()
        self._workspace = workspace
        self._opened = ExitStack()
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None  # device and inode of SQLite's file
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[LiveSweep, threading.Lock]] = OrderedDict()
        self._summaries: dict[str, Data] = {}

    def sweeps(self) -> list[Data]:
        """Return the summaries of all sweeps, newest first."""
        store = self._current()
        if store is None:
            return []
        found = []
        for sweep in store.list_sweeps():
            known = self._summaries.get(sweep.id)
            if known is None or known["revision"] != sweep.revision:
                with contextlib.suppress(NotFound):  # removed just now
                    known = self.read(sweep.id, LiveSweep.summary)
                    self._summaries[sweep.id] = known
            if known is not None:
                found.append(known)
        return found

    def read(self, sweep_id: str, ask: Callable[[LiveSweep], T]) -> T:
        """Bring a sweep up to date and return what is asked of it. Raises NotFound, UsageError for no id."""
        sweep_id = parse_sweep_id(sweep_id)
        store = self._current()
        if store is None:
            raise NotFound(f"{self._workspace.dir}: there are no sweeps here yet")
        with self._lock:
            live, lock = self._kept.setdefault(sweep_id, (LiveSweep(sweep_id, self._workspace), threading.Lock()))
            self._kept.move_to_end(sweep_id)
            while len(self._kept) > MOST_KEPT:
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
        store = self._current()
        if store is None:
            raise NotFound(f"{self._workspace.dir}: there are no sweeps here yet")
        return store.read_points(sweep_id, number)

    def close(self) -> None:
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
            found = file.stat() if file else None
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found else None
