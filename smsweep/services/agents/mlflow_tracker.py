"""Write the trials of a sweep to MLflow while the sweep runs (`tracking: {mlflow: URI}` in job.yaml).

One agent of the sweep writes at a time, in a thread with its own connection to the store. The sweep never waits
for the server. Notes record what is written. After a kill, the next agent continues without duplicate runs.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import NotFound, SmsweepError, UsageError
from smsweep.remote.record import own_job, read_records
from smsweep.secrets.redact import make_redact
from smsweep.services.agent_ids import is_gone
from smsweep.services.views.json_views import sweep_data, table_row, trial_data
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.exports.mlflow_live import LiveRuns

log = logging.getLogger(__name__)

POLL_S, LONGEST_PAUSE_S = 5.0, 60.0  # between two polls of the store; while the server cannot be used
LEASE_S = 60.0  # after which another agent writes, if the writing agent does not renew
PATIENCE_S = 90.0  # for what is not written when the agent exits
UNAVAILABLE_S = 5.0  # the same while the server cannot be used
RETRY_S = 1.0  # between attempts in this time
CONNECT_S = 5.0
BATCH = 1_000  # points between two notes
STATUSES = {SweepState.FINISHED: "FINISHED", SweepState.STOPPED: "KILLED", SweepState.CANCELLED: "KILLED"}


@contextmanager
def tracking(workspace: Workspace, sweep: Sweep, template: JobTemplate, agent_id: str) -> Iterator[None]:
    """Write the sweep to the MLflow server of its job.yaml during the block. Without a server, do nothing."""
    uri = template.tracking.get("mlflow")
    if uri and (own_job(workspace.environ) or sweep.id in read_records(workspace.dir)):
        log.warning(
            "tracking.mlflow: a detached agent does not write to MLflow; use smsweep export --format mlflow"
        )
        uri = None
    if not uri:
        yield
        return
    tracker = _Tracker(workspace, sweep.id, uri, agent_id, template)
    try:
        yield
    finally:
        tracker.close()


class _Tracker:
    """Writes a sweep to MLflow in a thread until it is closed."""

    def __init__(
        self, workspace: Workspace, sweep_id: str, uri: str, agent_id: str, template: JobTemplate
    ) -> None:
        self._workspace, self._sweep_id, self._uri = workspace, sweep_id, uri
        self._redact = make_redact(workspace.environ, template)
        self._writer = _Writer(sweep_id, agent_id)
        self._runs: LiveRuns | None = None
        self._warned = ""
        self._is_closing, self._is_abandoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="smsweep-mlflow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the rest, and end the thread. Wait at most PATIENCE_S seconds, or until Ctrl-C."""
        self._is_closing.set()
        began = time.monotonic()
        with suppress(KeyboardInterrupt):
            while self._thread.is_alive():
                if time.monotonic() - began > (UNAVAILABLE_S if self._warned else PATIENCE_S):
                    break
                self._thread.join(0.2)
        self._is_abandoned.set()
        if self._thread.is_alive():
            log.warning(
                "tracking.mlflow: the server does not have all results; write them with: smsweep agent %s",
                self._sweep_id,
            )

    def _work(self) -> None:
        pause_s = POLL_S
        while not self._is_abandoned.is_set():
            is_last = self._is_closing.is_set()
            try:
                with self._workspace.store() as store:
                    self._sync(store)
                pause_s = POLL_S
                if self._warned:
                    log.warning("tracking.mlflow: the server works again")
                self._warned = ""
                if is_last:
                    return
            except NotFound:
                return  # the sweep was removed
            except ImportError as err:
                log.warning("tracking.mlflow: MLflow is not installed (%s); pip install 'smsweep[mlflow]'", err)
                return
            except Exception as err:  # noqa: BLE001 - no error may stop the sweep
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                message = str(err) if isinstance(err, SmsweepError) else f"tracking.mlflow: {err!r}"
                if message != self._warned:
                    log.warning("%s", self._redact(message))
                self._warned = message
            if is_last:
                self._is_abandoned.wait(RETRY_S)
            else:
                self._is_closing.wait(pause_s)

    def _sync(self, store: Store) -> None:
        """Write all changes since the last call. Raises UsageError if the server cannot be used."""
        if not self._writer.hold(store):
            return
        sweep = store.get_sweep(self._sweep_id)
        self._check_connection()
        if self._runs is None:
            from smsweep.exports.mlflow_live import LiveRuns  # MLflow is an extra, and slow to import

            self._runs = LiveRuns(self._uri, sweep_data(sweep))
        state = notes.MLFLOW.get(store, sweep.id)
        if state.get("uri") != self._uri:
            state = {"uri": self._uri, "revision": 0, "status": "RUNNING", **self._runs.open_parent()}
            notes.MLFLOW.put(store, sweep.id, state)
        for trial in store.list_trials(sweep.id, since=state["revision"]):
            if self._is_abandoned.is_set() or not self._writer.hold(store):
                return
            self._write_trial(store, self._runs, sweep, trial, state)
            state["revision"] = trial.revision
            notes.MLFLOW.put(store, sweep.id, state)
        status = self._status(store, sweep)
        if status != state["status"]:
            self._runs.set_parent_status(state["parent"], status)
            notes.MLFLOW.put(store, sweep.id, {**state, "status": status})

    def _write_trial(
        self, store: Store, runs: LiveRuns, sweep: Sweep, trial: Trial, state: dict[str, Any]
    ) -> None:
        note = notes.mlflow_run(trial.number)
        known = note.get(store, sweep.id)
        if known.get("parent") != state["parent"]:
            known = {}
        if trial.is_removed:
            if known.get("run") and not known.get("is_deleted"):
                runs.delete_trial(known["run"])
                note.put(store, sweep.id, {**known, "is_deleted": True})
            return
        if trial.state is TrialState.PENDING and not known:
            return  # its run begins with its job
        row = table_row(trial_data(trial, sweep))
        if not known:
            run_id = runs.open_trial(state["experiment"], state["parent"], trial, row)
            known = {"parent": state["parent"], "run": run_id, "attempt": trial.attempt, "state": ""}
        if "points" not in known or known["attempt"] != trial.attempt:
            known |= {"attempt": trial.attempt, "points": 0, "counts": {}}
            note.put(store, sweep.id, known)
        points = store.read_points(sweep.id, trial.number, after=known["points"])
        for start in range(0, len(points), BATCH):
            batch = points[start : start + BATCH]
            runs.log_points(known["run"], batch, known["counts"])
            known["points"] += len(batch)
            note.put(store, sweep.id, known)
        status = f"{trial.state.value}/{trial.attempt}"
        if known["state"] == status:
            return
        if trial.state.is_terminal:
            every = store.read_points(sweep.id, trial.number)
            runs.end_trial(known["run"], trial, row, every, notes.ORIGIN.get(store, sweep.id))
        else:
            runs.set_trial_state(known["run"], trial)
        note.put(store, sweep.id, {**known, "state": status})

    def _status(self, store: Store, sweep: Sweep) -> str:
        has_active = any(state.is_active and count for state, count in store.count_trials(sweep.id).items())
        return "RUNNING" if has_active else STATUSES.get(sweep.state, "RUNNING")

    def _check_connection(self) -> None:
        """Raise UsageError if the server accepts no connection, because MLflow tries for minutes."""
        parts = urlsplit(self._uri)
        if parts.scheme not in ("http", "https"):
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_S).close()
        except OSError as err:
            raise UsageError(
                f"tracking.mlflow: {self._uri}: {err.strerror or err}; the sweep continues, the agent tries again"
            ) from err


class _Writer:
    """The right to write a sweep to MLflow, which one agent has at a time.

    Each turn is a note that one agent adds and renews. After it expires, or when its agent is gone, another agent
    adds the note of the next turn.
    """

    def __init__(self, sweep_id: str, agent_id: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._sweep_id, self._agent_id, self._clock, self._turn = sweep_id, agent_id, clock, 0

    def hold(self, store: Store) -> bool:
        """Acquire or renew the right. Return False if another agent has it."""
        now = self._clock()
        mine = {"agent": self._agent_id, "until": (now + timedelta(seconds=LEASE_S)).isoformat()}
        while True:
            note = notes.mlflow_writer(self._turn)
            holder = note.get(store, self._sweep_id)
            if not holder:
                if note.add(store, self._sweep_id, mine):
                    return True
                continue
            is_over = bool(notes.mlflow_writer(self._turn + 1).get(store, self._sweep_id))
            until = datetime.fromisoformat(holder["until"])
            if holder["agent"] == self._agent_id and not is_over:
                if until - now < timedelta(seconds=LEASE_S / 2):
                    note.put(store, self._sweep_id, mine)
                return True
            if not is_over and until > now and not is_gone(holder["agent"]):
                return False
            self._turn += 1
