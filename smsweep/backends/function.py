"""The backend for function trials: calls of a Python function in threads of this process, and their W&B runs."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from smsweep.backends.local.devices import device_variables
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.ledger import FUNCTION, Claim, DeviceLedger
from smsweep.core.job import MAX_FAILURE_REASON, STOP_GRACE_S, JobStatus, LogPage, TrainingJobRequest
from smsweep.core.resources import Resources, resources_of
from smsweep.runtime.job.script_environment import run_variables, write_param_files
from smsweep.runtime.job.trial_document import Assignment, read_assignment
from smsweep.runtime.opt_ml_layout import Layout
from smsweep.runtime.script import api
from smsweep.runtime.wandb import init_hook

LEAKED = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # an outer W&B agent may have set them
_installed: list[bool] = []  # not empty after the W&B hook was installed
_bound: list[str] = []  # the job of the active W&B run


class StopTrial(BaseException):
    """Raised inside the function to stop its trial."""


@dataclass(slots=True)
class _Call:
    thread: threading.Thread
    lines: list[str] = field(default_factory=list)  # metric records, in order
    status: JobStatus | None = None  # the final status
    kill_at_s: float | None = None  # end of the grace period, by the monotonic clock; None if not stopped
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def is_stopping(self) -> bool:
        return self.kill_at_s is not None


class FunctionBackend:
    """Calls a function without arguments, once per job. `smsweep.init()` in the function returns the trial.

    Args:
        function: The function.
        jobs_dir: The folder for the jobs' folders, which are created only if needed.
        parallel: The maximum number of concurrent calls.
        environ: The user's environment variables, which limit the devices.
        on_call: Called with the number of a trial before the function is called for it.
    """

    place = "inline"  # no job outlives the process, so no other agent can take it over

    def __init__(
        self,
        function: Callable[[], Any],
        jobs_dir: Path,
        *,
        parallel: int = 1,
        environ: Mapping[str, str] | None = None,
        on_call: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._function = function
        self._on_call = on_call
        self._jobs_dir = jobs_dir
        self._is_alone = parallel == 1
        # All calls share the devices of this process: CUDA reads its variables once. So one claim serves them all.
        self._ledger = DeviceLedger(os.environ if environ is None else environ, FUNCTION)
        self._folder = JobFolder(jobs_dir.absolute() / f"function-{os.getpid()}")
        self._own: Claim | None = None  # the devices of this process
        self._before: dict[str, str | None] = {}  # variables of this process before the claim
        self._calls: dict[str, _Call] = {}
        self._one_ended = threading.Event()

    def submit(self, request: TrainingJobRequest) -> None:
        name = request["TrainingJobName"]
        if name in self._calls:
            return
        self._claim(resources_of(request))
        self._on_call(read_assignment(request["HyperParameters"]).number)
        thread = threading.Thread(target=self._run, args=(name, request), name=name, daemon=True)
        self._calls[name] = _Call(thread)
        thread.start()

    def describe(self, names: Collection[str]) -> dict[str, JobStatus]:
        calls = {name: self._calls[name] for name in names if name in self._calls}
        for call in calls.values():
            if call.status is None and call.kill_at_s is not None and time.monotonic() >= call.kill_at_s:
                _raise_stop(call)
        return {name: _status(name, call) for name, call in calls.items()}

    def stop(self, name: str, *, grace_s: float | None = None) -> None:
        """Raise StopTrial in the function's thread, at its next Python instruction.

        The function can catch the exception to save its state. After the grace period, each poll raises StopTrial
        again, because a thread cannot be killed.
        """
        call = self._calls.get(name)
        if call is None or call.status is not None:
            return
        kill_at_s = time.monotonic() + (STOP_GRACE_S if grace_s is None else grace_s)
        is_first = call.kill_at_s is None
        call.kill_at_s = kill_at_s if call.kill_at_s is None else min(call.kill_at_s, kill_at_s)
        if is_first or time.monotonic() >= call.kill_at_s:
            _raise_stop(call)

    def read_logs(self, name: str, cursor: str = "") -> LogPage:
        call = self._calls.get(name)
        if call is None:
            return LogPage(lines=(), cursor=cursor)
        is_complete = call.status is not None  # before reading: later lines are on the next page
        start = int(cursor or 0)
        lines = tuple(call.lines[start:])
        return LogPage(lines=lines, cursor=str(start + len(lines)) if lines else cursor, is_last=is_complete)

    def forget(self, name: str) -> None:
        self._calls.pop(name, None)

    def wait(self, timeout_s: float) -> None:
        if self._one_ended.wait(timeout_s):
            self._one_ended.clear()

    def close(self) -> None:
        self._calls.clear()
        self._ledger.close()
        _set(self._before)
        self._own, self._before = None, {}

    def _claim(self, needs: Resources) -> None:
        """Claim the devices of this process before its first call, and show only them to the function."""
        if needs.is_empty or self._own is not None:
            return
        self._own, _ = self._ledger.claim(self._folder, needs)
        variables = device_variables(self._own.host_gpus())
        self._before = {name: os.environ.get(name) for name in variables}
        _set(variables)

    def _run(self, name: str, request: TrainingJobRequest) -> None:
        call = self._calls[name]
        status, reason, exit_code = "Completed", "", 0
        try:
            if self._own is not None and self._own.cpus and sys.platform == "linux":
                os.sched_setaffinity(0, self._own.cpus)  # of this thread, and of those that it starts
            assignment = read_assignment(request["HyperParameters"])
            folder = self._jobs_dir / name / "ml"
            with (
                wandb_run(assignment, name, folder, is_alone=self._is_alone) as bind,
                api.activate(_trial(assignment), call.lines.append, bind),
            ):
                self._function()
        except StopTrial:
            status = "Stopped"
        except SystemExit as err:
            if err.code not in (None, 0):
                status, reason = "Failed", f"SystemExit: {err.code}"
                exit_code = err.code if isinstance(err.code, int) else 1  # the exit code that Python uses
        except BaseException as err:  # noqa: BLE001 - the function may raise anything
            traceback.print_exc()
            status, reason, exit_code = "Failed", _message(err), 1
        if call.is_stopping:
            status = "Stopped"
        call.status = JobStatus(
            name=name,
            status=status,
            secondary_status=status,
            failure_reason=reason[:MAX_FAILURE_REASON],
            exit_code=exit_code,
            started_at=call.started_at,
            ended_at=datetime.now(timezone.utc),
        )
        self._one_ended.set()


def _raise_stop(call: _Call) -> None:
    if call.thread.ident is not None:
        ident = ctypes.c_ulong(call.thread.ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(StopTrial))


def _message(err: BaseException) -> str:
    name, text = type(err).__name__, str(traceback.TracebackException(type(err), err, None))  # str(err) may raise
    return f"{name}: {text}" if text else name


def _trial(assignment: Assignment) -> dict[str, Any]:
    names = ("sweep_id", "number", "attempt", "params", "name", "project", "entity")
    return {name: getattr(assignment, name) for name in names}


def _status(name: str, call: _Call) -> JobStatus:
    if call.status is not None:
        return call.status
    if call.is_stopping and not call.thread.is_alive():  # the function returned before StopTrial was raised
        call.status = JobStatus(
            name=name,
            status="Stopped",
            secondary_status="Stopped",
            started_at=call.started_at,
            ended_at=datetime.now(timezone.utc),
        )
        return call.status
    status, secondary = ("Stopping", "Stopping") if call.is_stopping else ("InProgress", "Training")
    return JobStatus(name=name, status=status, secondary_status=secondary, started_at=call.started_at)


@contextmanager
def wandb_run(assignment: Assignment, job: str, folder: Path, *, is_alone: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that binds W&B's next run to the trial. At the end, finish that run.

    Args:
        assignment: The trial's params and identity.
        job: The name of the trial's job.
        folder: The folder of the job's files. It is created if needed.
        is_alone: No other trial can run at the same time.
    """
    _install()
    before: dict[str, str | None] = {}

    def bind() -> None:
        if _bound or not is_alone:
            raise RuntimeError(
                "wandb.init() in a function works for one trial at a time, because W&B has one run per process; "
                "use parallel=1, smsweep.init(), or a script"
            )
        _bound.append(job)
        variables = _variables(assignment, Layout(str(folder)), os.environ)
        before.update({name: os.environ.get(name) for name in {*variables, *LEAKED}})
        _set({**dict.fromkeys(LEAKED), **variables})
        sys.modules["wandb"].teardown()  # wandb reads the variables again; W&B's agent does the same

    has_failed = True
    try:
        yield bind
        has_failed = False
    except SystemExit as err:
        has_failed = err.code not in (None, 0)
        raise
    finally:
        if job in _bound:
            try:
                _end(has_failed)
            finally:
                _set(before)
                _bound.remove(job)


def _install() -> None:
    if not _installed:
        _installed.append(True)
        init_hook.install()


def _variables(assignment: Assignment, layout: Layout, base: Mapping[str, str]) -> dict[str, str]:
    files = write_param_files(layout, assignment)
    kept = {name: value for name, value in base.items() if name not in LEAKED}
    variables = run_variables(assignment, files, kept)
    if not base.get("WANDB_DIR"):
        Path(layout.output_data).mkdir(parents=True, exist_ok=True)
        variables["WANDB_DIR"] = layout.output_data
    return variables


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end(has_failed: bool) -> None:
    wandb: Any = sys.modules["wandb"]
    if wandb.run is not None:
        wandb.finish(exit_code=int(has_failed))
    wandb.teardown()  # the next run of this process belongs to no trial
