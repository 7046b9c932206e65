"""Write the trials of a sweep to MLflow while the sweep runs (`tracking: {mlflow: URI}` in job.yaml).

Each agent starts a process for this, so that the agent and its functions never wait for the server, and never
import MLflow. The process of one agent writes at a time. Notes record what is written. After a kill, the next
process continues without duplicate runs.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import NotFound, SmsweepError, UsageError
from smsweep.remote.record import own_job, read_records
from smsweep.secrets.redact import make_redact
from smsweep.services.agent_ids import is_gone, new_agent_id
from smsweep.services.views.json_views import sweep_data, table_row, trial_data
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.exports.mlflow_live import LiveRuns

log = logging.getLogger(__name__)

POLL_S, LONGEST_PAUSE_S = 5.0, 60.0  # between two polls of the store; while the server cannot be used
REQUEST_S = 20  # timeout of one request
LEASE_S = 120.0  # after which another process writes, if the writing process does not renew
PATIENCE_S = 90.0  # for what is not written when the agent exits
UNAVAILABLE_S = 5.0  # the same while the server cannot be used
WATCH_S = 0.2  # between two checks of this time
RETRY_S = 1.0  # between attempts in this time
RESTART_S = 30.0  # after the process was killed
BATCH = 1_000  # points between two notes
NOT_REMOTE = (
    "tracking.mlflow: agents on SageMaker, and agents whose store is in S3, do not write to MLflow; "
    "after the sweep, use: smsweep export %s --format mlflow --to URI"
)
MISSING = "tracking.mlflow: the server does not have all results; write them with: smsweep agent %s"
STATUSES = {SweepState.FINISHED: "FINISHED", SweepState.STOPPED: "KILLED", SweepState.CANCELLED: "KILLED"}
# Without the working directory in sys.path, where a script can have the name of a module.
START = "import sys; sys.path[0] = sys.argv[1]; from smsweep.services.agents.mlflow_tracker import main; main()"
SERVER = "MLFLOW_TRACKING_URI"
LOGINS = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4"),
)


@contextmanager
def tracking(workspace: Workspace, sweep: Sweep, template: JobTemplate) -> Iterator[None]:
    """Write the sweep to the MLflow server of its job.yaml during the block. Without a server, do nothing."""
    uri = template.tracking.get("mlflow")
    if uri and (own_job(workspace.environ) or sweep.id in read_records(workspace.dir)):
        log.warning(NOT_REMOTE, sweep.id)
        uri = None
    if not uri:
        yield
        return
    process = _TrackingProcess(workspace, sweep.id, uri, template)
    try:
        yield
    finally:
        process.close()


class _TrackingProcess:
    """A process that writes a sweep to MLflow until it is closed. A thread logs its messages, and restarts it."""

    def __init__(self, workspace: Workspace, sweep_id: str, uri: str, template: JobTemplate) -> None:
        root = str(Path(__file__).parents[3])
        self._environ = _environment(workspace, uri)
        has_login = workspace.environ.get(SERVER, "").rstrip("/") == uri.rstrip("/")
        self._argv = [sys.executable, "-c", START, root, sweep_id, uri, str(os.getpid()), str(int(has_login))]
        self._sweep_id = sweep_id
        self._redact = make_redact(workspace.environ, template)
        self._is_closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._work, name="smsweep-mlflow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the process write the rest, and wait for it until Ctrl-C. The process ends in limited time."""
        with self._lock:
            self._is_closing.set()
            self._announce_end()
        with suppress(KeyboardInterrupt):
            self._thread.join(PATIENCE_S + 2 * REQUEST_S)
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _announce_end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write("\n")
                self._process.stdin.flush()

    def _work(self) -> None:
        while True:
            try:
                code = self._run()
            except OSError as err:
                log.warning("tracking.mlflow: cannot start Python: %s", err)
                return
            if code == 0:
                return
            if self._is_closing.is_set():
                log.warning(MISSING, self._sweep_id)
                return
            log.warning(
                "tracking.mlflow: the process that writes to MLflow ended with code %d; starting it again", code
            )
            self._is_closing.wait(RESTART_S)

    def _run(self) -> int:
        with self._lock:
            pipe = subprocess.PIPE
            self._process = process = subprocess.Popen(
                self._argv,
                env=self._environ,
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.STDOUT,  # a daemon is running while a process has its log as stderr
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches only the agent
            )
            if self._is_closing.is_set():
                self._announce_end()
        assert process.stdout is not None
        for line in process.stdout:
            log.warning("%s", self._redact(line.rstrip("\n")))
        code = process.wait()
        with self._lock, suppress(OSError):
            self._process = None
            process.stdout.close()
            if process.stdin is not None:
                process.stdin.close()
        return code


def _environment(workspace: Workspace, uri: str) -> dict[str, str]:
    """Return the environment of the process.

    MLflow's own retries take minutes, and repeat requests that create runs. The plug-in of SageMaker reads the
    server from the environment.
    """
    return {
        **workspace.environ,
        "SMSWEEP_DIR": str(workspace.dir),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_S),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        SERVER: uri,
    }


def main() -> None:
    """Run the process: python -c START ROOT SWEEP_ID URI PID_OF_AGENT HAS_LOGIN."""
    sweep_id, uri, agent, has_login = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "1"
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # MLflow prints
    logging.disable(logging.ERROR)  # the plug-in of SageMaker warns at each request to another server

    def report(message: str) -> None:
        with suppress(OSError):  # the agent was killed
            print(" ".join(message.split()), file=messages, flush=True)

    workspace, is_closing = Workspace(), threading.Event()
    if not has_login and uri.startswith(("http://", "https://")):
        _hide_login(uri, report)

    tracker = _Tracker(workspace, sweep_id, uri, report, is_closing, lambda: os.getppid() != agent)

    def wait_for_end() -> None:
        os.read(0, 1)  # a line from the agent, or the end of the file when the agent was killed
        is_closing.set()
        tracker.wait_for_silence()
        os._exit(0)  # the call may wait longer; the next process repeats it

    threading.Thread(target=wait_for_end, daemon=True).start()
    tracker.work()


def _hide_login(uri: str, report: Callable[[str], None]) -> None:
    """Remove MLflow's login from the environment, because a job.yaml can name any server."""
    hidden = [name for name in LOGINS if os.environ.pop(name, "")]
    os.environ["HOME"] = os.devnull  # without ~/.mlflow/credentials
    if hidden:
        report(f"tracking.mlflow: {uri} does not get {' and '.join(hidden)}; to allow it, set {SERVER}={uri}")


class _LostRightError(Exception):
    """Another process writes now."""


class _Tracker:
    """Writes a sweep to MLflow until the agent exits.

    Args:
        workspace: The workspace with the store.
        sweep_id: The sweep.
        uri: The MLflow server.
        report: Sends a message to the agent.
        is_closing: Set when the agent exits.
        is_orphan: Returns True if the agent was killed.
    """

    def __init__(
        self,
        workspace: Workspace,
        sweep_id: str,
        uri: str,
        report: Callable[[str], None],
        is_closing: threading.Event,
        is_orphan: Callable[[], bool],
    ) -> None:
        self._workspace, self._sweep_id, self._uri = workspace, sweep_id, uri
        self._report, self._is_closing, self._is_orphan = report, is_closing, is_orphan
        self._writer = _Writer(sweep_id, new_agent_id())
        self._runs: LiveRuns | None = None
        self._warned = ""
        self._closing_at = 0.0  # time.monotonic() at the exit of the agent; 0 before it
        self._refusals: set[str] = set()

    def work(self) -> None:
        """Write all changes until the agent exits, and then the rest."""
        pause_s = POLL_S
        while True:
            is_last = self._is_last()
            try:
                with self._workspace.store() as store:
                    if self._sync(store) and is_last:
                        self._writer.release(store)
                        return
                pause_s = POLL_S
                if self._warned:
                    self._report("tracking.mlflow: the server works again")
                self._warned = ""
            except NotFound:
                return  # the sweep was removed
            except ImportError as err:
                self._report(f"tracking.mlflow: MLflow is not installed ({err}); pip install 'smsweep[mlflow]'")
                return
            except _LostRightError:
                pass
            except Exception as err:  # noqa: BLE001 - no error may end the process
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                self._warn(err)
            if not self._is_last():
                self._is_closing.wait(pause_s)
            elif time.monotonic() > self._closing_at + (UNAVAILABLE_S if self._warned else PATIENCE_S):
                self._report(MISSING % self._sweep_id)
                return
            else:
                time.sleep(RETRY_S if is_last else 0)

    def wait_for_silence(self) -> None:
        """Return when a call waits too long for the server after the agent has exited. Report that before."""
        while True:
            patience_s = UNAVAILABLE_S if self._warned else PATIENCE_S
            since = self._runs.asking_since if self._runs is not None else None
            is_waiting = self._is_last() and since is not None
            if is_waiting and time.monotonic() > max(since or 0, self._closing_at) + patience_s:
                self._warn(UsageError(f"no answer for {patience_s:.0f} s"))
                self._report(MISSING % self._sweep_id)
                return
            time.sleep(WATCH_S)

    def _is_last(self) -> bool:
        """Return True if the agent has exited, so that no change follows."""
        is_last = self._is_closing.is_set() or self._is_orphan()
        if is_last and not self._closing_at:
            self._closing_at = time.monotonic()
        return is_last

    def _warn(self, err: Exception) -> None:
        reason = str(err) if isinstance(err, SmsweepError) else f"{type(err).__name__}: {err}"
        reason = re.sub(r" at 0x[0-9a-f]+", "", reason)
        if reason != self._warned:
            self._report(f"tracking.mlflow: {self._uri}: {reason}; the sweep continues, the agent tries again")
        self._warned = reason

    def _sync(self, store: Store) -> bool:
        """Write all changes since the last call. Return True if nothing is left for this process to write.

        Raises:
            UsageError: If the server cannot be used.
            _LostRightError: If another process writes now.
        """
        sweep = store.get_sweep(self._sweep_id)
        if not self._writer.hold(store):
            status = self._status(store, sweep)
            return status == "RUNNING" or notes.MLFLOW.get(store, sweep.id).get("status") == status
        if self._runs is None:
            from smsweep.exports.mlflow_live import LiveRuns  # MLflow is an extra, and slow to import

            self._runs = LiveRuns(self._uri, sweep_data(sweep))
        state = notes.MLFLOW.get(store, sweep.id)
        if state.get("uri") != self._uri:
            state = {"uri": self._uri, "revision": 0, "status": "RUNNING", **self._runs.open_parent()}
            notes.MLFLOW.put(store, sweep.id, state)
        for trial in store.list_trials(sweep.id, since=state["revision"]):
            self._accept(trial.label, partial(self._write_trial, store, self._runs, sweep, trial, state))
            state["revision"] = trial.revision
            notes.MLFLOW.put(store, sweep.id, state)
        status = self._status(store, sweep)
        if status != state["status"]:
            self._keep(store)
            self._accept(sweep.id, partial(self._runs.set_parent_status, state["parent"], status))
            notes.MLFLOW.put(store, sweep.id, {**state, "status": status})
        return True

    def _accept(self, label: str, write: Callable[[], None]) -> None:
        """Write a run. If the server refuses it for good, report that, so that other runs are written."""
        from smsweep.exports.mlflow_live import RefusedError  # MLflow is an extra, and slow to import

        try:
            write()
        except RefusedError as err:
            message = f"tracking.mlflow: {label}: {err}; its run is incomplete"
            if message not in self._refusals:
                self._report(message)
            self._refusals.add(message)

    def _keep(self, store: Store) -> None:
        if not self._writer.hold(store):
            raise _LostRightError

    def _write_trial(
        self, store: Store, runs: LiveRuns, sweep: Sweep, trial: Trial, state: dict[str, Any]
    ) -> None:
        self._keep(store)
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
        accept = partial(self._accept, trial.label)
        if not known:
            run_id = runs.open_trial(state["experiment"], state["parent"], trial)
            accept(partial(runs.log_params, run_id, row))
            known = {"parent": state["parent"], "run": run_id, "attempt": trial.attempt, "state": ""}
        if "points" not in known or known["attempt"] != trial.attempt:
            known |= {"attempt": trial.attempt, "points": 0, "counts": {}}
            note.put(store, sweep.id, known)
        points = store.read_points(sweep.id, trial.number, after=known["points"])
        for start in range(0, len(points), BATCH):
            batch = points[start : start + BATCH]
            self._keep(store)
            accept(partial(runs.log_points, known["run"], batch, known["counts"]))
            known["points"] += len(batch)
            note.put(store, sweep.id, known)
        status = f"{trial.state.value}/{trial.attempt}"
        if known["state"] == status:
            return
        self._keep(store)
        if trial.state.is_terminal:
            every, origin = store.read_points(sweep.id, trial.number), notes.ORIGIN.get(store, sweep.id)
            accept(partial(runs.end_trial, known["run"], trial, row, every, origin))
        else:
            accept(partial(runs.set_trial_state, known["run"], trial))
        note.put(store, sweep.id, {**known, "state": status})

    def _status(self, store: Store, sweep: Sweep) -> str:
        has_active = any(state.is_active and count for state, count in store.count_trials(sweep.id).items())
        return "RUNNING" if has_active else STATUSES.get(sweep.state, "RUNNING")


class _Writer:
    """The right to write a sweep to MLflow, which one process has at a time.

    Each turn is a note that one process adds and renews. After it expires, or when its process is gone, another
    process adds the note of the next turn.
    """

    def __init__(self, sweep_id: str, process_id: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._sweep_id, self._process_id, self._clock, self._turn = sweep_id, process_id, clock, 0

    def hold(self, store: Store) -> bool:
        """Acquire or renew the right. Return False if another process has it."""
        now = self._clock()
        mine = {"process": self._process_id, "until": (now + timedelta(seconds=LEASE_S)).isoformat()}
        while True:
            note = notes.mlflow_writer(self._turn)
            holder = note.get(store, self._sweep_id)
            if not holder:
                if note.add(store, self._sweep_id, mine):
                    return True
                continue
            is_over = bool(notes.mlflow_writer(self._turn + 1).get(store, self._sweep_id))
            until = datetime.fromisoformat(holder["until"])
            if holder["process"] == self._process_id and not is_over:
                if until - now < timedelta(seconds=LEASE_S / 2):
                    note.put(store, self._sweep_id, mine)
                return True
            if not is_over and until > now and not is_gone(holder["process"]):
                return False
            self._turn += 1

    def release(self, store: Store) -> None:
        """End the own turn, if it is not over, so that another process does not wait for its end."""
        note = notes.mlflow_writer(self._turn)
        if note.get(store, self._sweep_id).get("process") == self._process_id:
            note.put(store, self._sweep_id, {"process": self._process_id, "until": self._clock().isoformat()})
