"""What a training script calls: `init`, `log`, `finish`, and the active run's `config` and `summary`.

A script finds its trial by itself: in the thread that runs a sweep's Python function (`activate`), else in the
environment that the entrypoint set, else there is none and it runs on its own defaults.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import os
import sys
import threading
import time

from smsweep.runtime.script import records
from smsweep.runtime.script.messages import warn
from smsweep.runtime.script.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from smsweep.runtime.script.config import Config
    from smsweep.runtime.script.summary import Summary

    config: Config
    summary: Summary

PARAMS_FILE = "SMSWEEP_PARAMS_FILE"  # a job's
COUNTING_PID = "SMSWEEP_COUNTING_PID"  # of a trial's processes, the one whose steps count

_clock = time.time  # noqa: TID251 - inside a job there is nobody to hand a clock in


class _Place:
    """Somewhere a run can be active: this process, or one inline trial."""

    def __init__(self, open_run: Callable[[_Place], Run], bind_wandb: Callable[[], None] | None = None) -> None:
        self._open_run = open_run
        self.bind_wandb = bind_wandb  # makes the run that W&B is about to start the trial's; None: nothing does
        self.is_bound = False  # that has happened
        self._opening = threading.RLock()  # a signal's handler may log in the midst of it
        self.run: Run | None = None
        self.first_step = 0  # of the next run: a trial's rows are those of all its runs, one after the other

    def active(self) -> Run:
        run = self.run
        if run is None:
            with self._opening:  # two threads that log first shall share one run, and its steps
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
    """Start the run, or return the one that is active, and add the script's default config to it.

    config: a dict or an argparse Namespace; the sweep's values win over it, key by key in nested dicts, too.
    Further keywords of `wandb.init` (project, name, tags, mode, ...) are accepted and ignored: the sweep decides.
    """
    run = active_run()
    if config is not None:
        try:
            run.config.add_defaults(config)
        except (TypeError, ValueError):
            warn(f"init(config=...) takes a dict, not {type(config).__name__}; ignored")
    return run


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: object = None) -> None:
    """Report metrics of the active run, which is started if need be. See Run.log."""
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
    """Say what a metric of the active run goes by and how it is summed up. See Run.define_metric."""
    return active_run().define_metric(name, step_metric, step_sync, hidden, summary, overwrite, goal=goal)


def finish(exit_code: int | None = None, quiet: object = None) -> None:
    """End the active run, if there is one."""
    run = _place().run
    if run is not None:
        run.finish(exit_code)


def log_code(root: str = ".", name: str | None = None, **ignored: object) -> None:
    """Do nothing: the sweep has kept the whole source already."""


def login(*ignored: object, **more_ignored: object) -> bool:
    """Do nothing and return True: there is no account. For scripts in which W&B's name was replaced."""
    return True


def active_run() -> Run:
    """Return this trial's run; it is started on first use."""
    return _place().active()


def __getattr__(name: str) -> Any:
    if name in ("config", "summary"):
        return getattr(active_run(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def follows_wandb() -> bool:
    """Tell whether what is told to W&B here belongs to a trial: in a job always, in a function once bound."""
    place = _place()
    return PARAMS_FILE in os.environ if place is _process else place.is_bound


def bind_wandb() -> None:
    """Make the run that W&B is about to start the trial's; nothing where it is already, or where there is none.

    A function that reports by smsweep itself, and so began before, keeps its W&B runs to itself.
    """
    place = _place()
    if place.bind_wandb and place.run is None and not place.is_bound:
        place.bind_wandb()
        place.is_bound = True


@contextlib.contextmanager
def activate(
    trial: Mapping[str, Any], write: Callable[[str], None], bind_wandb: Callable[[], None] | None = None
) -> Iterator[None]:
    """Let init, log and config mean this trial, in this thread and whatever shares its context, until the end.

    While it is the only one, in all other threads, too: a thread that it starts does not share its context.

    For a sweep over a Python function in the agent's own process; several may be active in several threads.
    trial: sweep_id, number, attempt, params, and if known name, project, entity.
    write: takes each record, one line without its end.
    bind_wandb: called before the first `wandb.init`, see there; None leaves W&B alone.
    """
    place = _Place(lambda place: _of_trial(place, trial, write), bind_wandb)
    token = _inline.set(place)
    _all_inline.append(place)
    try:
        yield
    finally:
        _all_inline.remove(place)
        _inline.reset(token)


def _place() -> _Place:
    known = _inline.get()
    if known is None and _all_inline:  # a thread that a trial's function started, without its context
        if len(_all_inline) == 1:
            return _all_inline[0]
        _warn_of_thread()
    return known or _process


@functools.lru_cache(maxsize=None)
def _warn_of_thread() -> None:
    warn(
        "logged in a thread that may be any of several trials', so it is in none; "
        "start it with contextvars.copy_context().run, or run one trial at a time"
    )


def _open_process_run(place: _Place) -> Run:
    trial = _trial_of(os.environ)
    if trial is None:
        return Run(None, _print_plainly, clock=_clock, on_finish=place.close)
    first = os.environ.setdefault(COUNTING_PID, str(os.getpid()))  # processes that this one starts inherit it
    return _of_trial(place, trial, _job_output().write, int(first))


def _of_trial(
    place: _Place, trial: Mapping[str, Any], write: Callable[[str], None], counting_pid: int | None = None
) -> Run:
    return Run(
        trial,
        write,
        clock=_clock,
        on_finish=place.close,
        counting_pid=counting_pid,
        first_step=place.first_step,
    )


_job_output = functools.lru_cache(maxsize=None)(records.JobOutput)  # one a process


def _trial_of(environ: Mapping[str, str]) -> dict[str, Any] | None:
    path = environ.get(PARAMS_FILE)
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            params = json.load(file)
        return {
            "params": params,
            "sweep_id": environ.get("SMSWEEP_SWEEP_ID", ""),
            "number": int(environ.get("SMSWEEP_TRIAL", "0")),
            "attempt": int(environ.get("SMSWEEP_ATTEMPT", "0")),
            "name": environ.get("SMSWEEP_NAME", ""),
            "project": environ.get("WANDB_PROJECT", ""),
            "entity": environ.get("WANDB_ENTITY", ""),
        }
    except (OSError, ValueError) as err:
        warn(f"no trial: {path}: {err}")
        return None


def _print_plainly(record: str) -> None:
    """Outside a sweep, print for a person: `step 3: loss=0.5`."""
    document = json.loads(record[len(records.MARK) :])
    head = "summary" if records.SUMMARY in document else f"step {document['step']}"
    values = document.get(records.METRICS) or document[records.SUMMARY]
    text = ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
    sys.stdout.write(f"{head}: {text}\n")


_process = _Place(_open_process_run)
_all_inline: list[_Place] = []
_inline: contextvars.ContextVar[_Place | None] = contextvars.ContextVar("smsweep-trial", default=None)
