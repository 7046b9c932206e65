"""Functions that a training script calls: `init`, `log`, `finish`, and the active run's `config` and `summary`.

A script's trial is the one of the thread that runs a sweep's Python function (`activate`); otherwise the one in
the environment that the entrypoint set. Without either there is no trial, and the script uses its own defaults.
"""

from __future__ import annotations

import contextvars
import os
import sys
import time
from _thread import RLock  # as threading.RLock, but does not import threading

from smsweep.runtime.script import records
from smsweep.runtime.script.records import warn
from smsweep.runtime.script.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from smsweep.runtime.script.config import Config, Summary

    config: Config
    summary: Summary

PARAMS_FILE = "SMSWEEP_PARAMS_FILE"  # set in a job
COUNTING_PID = "SMSWEEP_COUNTING_PID"  # the process of a trial whose steps count

_clock = time.time  # noqa: TID251 - inside a job there is no caller that could pass a clock


class _Session:
    """A place where one run at a time can be active: this process, or a function trial."""

    def __init__(self, open_run: Callable[[_Session], Run], bind_wandb: Callable[[], None] | None = None) -> None:
        self._open_run = open_run
        self.bind_wandb = bind_wandb  # makes the next W&B run the trial's; None: not possible
        self.is_bound = False  # `bind_wandb` was called
        self._opening = RLock()  # reentrant, because a signal handler may log while a run is opened
        self.run: Run | None = None
        self.first_step = 0  # of the next run: a trial's rows are those of all its runs, in order

    def active(self) -> Run:
        run = self.run
        if run is None:
            with self._opening:  # two threads that log first must share one run and its steps
                opened = self.run or self._open_run(self)
                run = self.run = self.run or opened
        return run

    def close(self, run: Run) -> None:
        if self.run is run:
            self.run = None
            if run.is_in_sweep:
                ends = (int(str(row["_step"])) + 1 for row in run.history()[-1:])
                self.first_step = run.first_step + max(run.step, *ends, 0)


def init(config: Any = None, **ignored: Any) -> Run:
    """Start the trial's run, or return the active one.

    Outside a sweep, `config` holds only the script's defaults, and `log` prints to the terminal.

    Args:
        config: The script's default params: a dict or an argparse Namespace. The sweep's values take precedence,
            key by key in nested dicts. Any other type is ignored with a warning.
        **ignored: Other arguments of `wandb.init` (project, name, tags, mode, ...). The sweep sets them.

    Returns:
        The run. It has `config`, `summary`, `log` and `finish`, and can be used as a context manager.
    """
    run = active_run()
    if config is not None:
        try:
            run.config.add_defaults(config)
        except (TypeError, ValueError):
            warn(f"init(config=...) accepts a dict, not {type(config).__name__}; ignored")
    return run


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: object = None) -> None:
    """Report metrics of the active run. Starts the run if none is active.

    Errors never stop the training: the function raises nothing and warns once per problem on stderr.

    Args:
        data: Metrics by name: numbers, bools or strings. Nested dicts become "a.b". Other values are skipped with
            a warning.
        step: Step of the metrics, a whole number. None uses the run's own counter, which then increases by one. A
            step below the counter is ignored with a warning.
        commit: False to add more metrics to the same step; True to advance the counter after an explicit step.
        sync: Ignored, as in W&B.
    """
    active_run().log(data, step=step, commit=commit)


def define_metric(
    name: str,
    step_metric: str | None = None,
    step_sync: bool | None = None,
    hidden: bool | None = None,
    summary: str | None = None,
    overwrite: bool | None = None,
    *,
    goal: str | None = None,
) -> str:
    """Define the step metric and the summary of a metric of the active run, like W&B's `define_metric`.

    Args:
        name: Name of the metric; a trailing `*` selects all metrics with this prefix.
        step_metric: Name of another metric that counts the steps of this one. Each row with the metric gets the
            last value of `step_metric`.
        step_sync: False to not add the last value of `step_metric`.
        hidden: Ignored.
        summary: One or more of "min", "max", "mean", "first", "last" and "best", separated by commas. The summary
            then has `name.min` and so on.
        overwrite: Ignored.
        goal: "maximize" or "minimize" (default): the direction of "best".

    Returns:
        The name of the metric.
    """
    return active_run().define_metric(name, step_metric, step_sync, hidden, summary, overwrite, goal=goal)


def finish(exit_code: int | None = None, quiet: object = None) -> None:
    """End the active run. Does nothing if none is active.

    Args:
        exit_code: Ignored; the trial's state depends on the exit code of the process.
        quiet: Ignored.
    """
    run = _session().run
    if run is not None:
        run.finish(exit_code)


def log_code(root: str = ".", name: str | None = None, **ignored: object) -> None:
    """Do nothing, because the sweep has saved the whole source. For scripts written for W&B."""


def login(*ignored: object, **more_ignored: object) -> bool:
    """Do nothing and return True, because smsweep has no accounts. For scripts written for W&B."""
    return True


def active_run() -> Run:
    """Return the trial's run. The first call starts it."""
    return _session().active()


def __getattr__(name: str) -> Any:
    if name in ("config", "summary"):
        return getattr(active_run(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def follows_wandb() -> bool:
    """Return True if W&B logging in this context belongs to a trial.

    In a job that is always so. In a function trial it is so after `bind_wandb`.
    """
    session = _session()
    return PARAMS_FILE in os.environ if session is _process else session.is_bound


def bind_wandb() -> None:
    """Make the next W&B run the trial's own. Does nothing if it is already, or if there is no trial.

    A function that has already logged with smsweep keeps its W&B runs separate.
    """
    session = _session()
    if session.bind_wandb and session.run is None and not session.is_bound:
        session.bind_wandb()
        session.is_bound = True


def activate(
    trial: Mapping[str, Any], write: Callable[[str], None], bind_wandb: Callable[[], None] | None = None
) -> _Activation:
    """Make `init`, `log` and `config` use this trial, in this thread and its context, until the block ends.

    For a sweep over a Python function in the agent's own process. Several trials may be active in several threads.
    If only one is active, all other threads use it, too, because a thread that a function starts has a new
    context.

    Args:
        trial: sweep_id, number, attempt, params, and if known name, project, entity.
        write: Called with each record, one line without its end.
        bind_wandb: Called before the first `wandb.init`, see `bind_wandb`. None leaves W&B unchanged.
    """
    return _Activation(_Session(lambda session: _of_trial(session, trial, write), bind_wandb))


class _Activation:
    """The return value of `activate`. A class, because contextlib is slow to import."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._token = _inline.set(self._session)
        _all_inline.append(self._session)

    def __exit__(self, *_: object) -> None:
        _all_inline.remove(self._session)
        _inline.reset(self._token)


def _session() -> _Session:
    known = _inline.get()
    if known is None and _all_inline:  # a thread that a trial's function started without its context
        if len(_all_inline) == 1:
            return _all_inline[0]
        _warn_of_thread()
    return known or _process


def _warn_of_thread() -> None:
    global _has_warned_of_thread
    if not _has_warned_of_thread:
        _has_warned_of_thread = True
        warn(
            "logged in a thread that may belong to several trials, so the metrics are not recorded; "
            "start the thread with contextvars.copy_context().run, or run one trial at a time"
        )


def _open_process_run(session: _Session) -> Run:
    trial = _trial_of(os.environ)
    if trial is None:
        return Run(None, _print_plainly, clock=_clock, on_finish=session.close)
    first = os.environ.setdefault(COUNTING_PID, str(os.getpid()))  # child processes inherit it
    return _of_trial(session, trial, _job_output().write, int(first))


def _of_trial(
    session: _Session, trial: Mapping[str, Any], write: Callable[[str], None], counting_pid: int | None = None
) -> Run:
    return Run(
        trial,
        write,
        clock=_clock,
        on_finish=session.close,
        counting_pid=counting_pid,
        first_step=session.first_step,
    )


def _job_output() -> records.JobOutput:
    global _output
    if _output is None:
        _output = records.JobOutput()
    return _output


def _trial_of(environ: Mapping[str, str]) -> dict[str, Any] | None:
    if not environ.get(PARAMS_FILE):
        return None
    try:
        return {
            "params": lambda: _params_of(environ),
            "sweep_id": environ.get("SMSWEEP_SWEEP_ID", ""),
            "number": int(environ.get("SMSWEEP_TRIAL", "0")),
            "attempt": int(environ.get("SMSWEEP_ATTEMPT", "0")),
            "name": environ.get("SMSWEEP_NAME", ""),
            "project": environ.get("WANDB_PROJECT", ""),
            "entity": environ.get("WANDB_ENTITY", ""),
        }
    except ValueError as err:
        warn(f"SMSWEEP_TRIAL and SMSWEEP_ATTEMPT must be numbers: {err}; metrics are not recorded")
        return None


def _params_of(environ: Mapping[str, str]) -> dict[str, Any]:
    import json  # slow, and not needed by a script that only logs

    path = environ.get(PARAMS_FILE, "")
    try:
        with open(path, encoding="utf-8") as file:
            params: dict[str, Any] = json.load(file)
            return params
    except (OSError, ValueError) as err:
        warn(f"the trial's params cannot be read: {path}: {err}")
        return {}


def _print_plainly(record: str) -> None:
    """Print a record for a user, outside a sweep: `step 3: loss=0.5`."""
    import json  # slow, and only needed outside a job

    document = json.loads(record[len(records.MARK) :])
    head = "summary" if records.SUMMARY in document else f"step {document['step']}"
    values = document.get(records.METRICS) or document[records.SUMMARY]
    text = ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
    sys.stdout.write(f"{head}: {text}\n")


_process = _Session(_open_process_run)
_output: records.JobOutput | None = None  # of this process
_has_warned_of_thread = False
_all_inline: list[_Session] = []
_inline: contextvars.ContextVar[_Session | None] = contextvars.ContextVar("smsweep-trial", default=None)
