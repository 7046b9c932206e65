"""The running trial, as its script sees it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping

from smsweep.runtime.script import records
from smsweep.runtime.script.config import Config
from smsweep.runtime.script.define_metric import StepMetrics, SummaryMetrics
from smsweep.runtime.script.messages import KEEP_WANDB, warn
from smsweep.runtime.script.run_identity import run_id
from smsweep.runtime.script.scalars import flatten, plain
from smsweep.runtime.script.summary import Summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from smsweep.runtime.script.records import Value

MAX_HISTORY = 10_000  # rows that history() keeps


class Run:
    """What `init` returns: config in, metrics out. Shaped like W&B's Run; usable as a context manager.

    Nothing here raises because of what a script logs or because nobody reads: a warning on stderr is all.

    trial: sweep_id, number, attempt, params, name, project, entity, each as far as known; None outside a sweep.
    write: takes one record, without a line end. clock: seconds since the epoch. counting_pid: the process whose
    counter gives the trial its steps, this one if None. first_step: of the trial, where this run's step 0 is.
    """

    def __init__(
        self,
        trial: Mapping[str, Any] | None,
        write: Callable[[str], None],
        *,
        clock: Callable[[], float],
        on_finish: Callable[[Run], None] = lambda run: None,
        counting_pid: int | None = None,
        first_step: int = 0,
    ) -> None:
        known = trial or {}
        self.is_in_sweep = trial is not None
        self.sweep_id: str = known.get("sweep_id") or ""  # "" outside a sweep
        self.number: int = known.get("number") or 0
        self.attempt: int = known.get("attempt") or 0
        self.id = run_id(self.sweep_id, self.number)
        self.name: str = known.get("name") or self.id
        self.project: str = known.get("project") or ""
        self.entity: str = known.get("entity") or ""
        self.config = Config(known.get("params") or {}, warn)
        self.summary = Summary(self._report_summary)
        self._write = write
        self._clock = clock
        self._on_finish = on_finish
        self._lock = threading.RLock()  # a signal's handler may log in the midst of it
        self._pid = os.getpid()
        self._counting_pid = counting_pid or self._pid
        self.first_step = first_step
        self._step = 0
        self._history: deque[tuple[int, dict[str, Value]]] = deque(maxlen=MAX_HISTORY)
        self._warned: set[str] = set()
        self._said: set[str] = set()  # names that the script has put into the summary
        self._step_metrics = StepMetrics()
        self._summaries = SummaryMetrics()

    @property
    def step(self) -> int:
        """The step that the next `log` without one belongs to."""
        return self._step

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: object = None
    ) -> None:
        """Report metrics, at once. Steps count as W&B's do.

        data: numbers, bools, texts; nested dicts become "a.b"; anything else is skipped with a warning per name.
        step: None for the run's own counter, which then goes up by one. A step behind the counter is ignored with
        a warning. commit: False to log more for the same step; True to go on after a given step.
        sync: ignored, as in W&B.
        """
        if not hasattr(data, "items"):
            self._warn_once("data", f"log takes a dict, not {type(data).__name__}; ignored")
            return
        values = self._plain(data, self._warn_once)
        values.update(self._step_metrics.lacking(values, begin_at_zero=True))
        at = self._log(values, step, commit)
        if at is not None:
            self._step_metrics.note(values)
            summed_up = self._summaries.take_in(values, at)
            if summed_up:
                self.summary.update(summed_up)

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
        *,
        goal: str | None = None,
    ) -> str:
        """Say what a metric goes by and how it is summed up, as W&B's `define_metric` does, and return its name.

        name: of a metric, or with a star at its end of all that begin so.
        step_metric: each row with the metric gets the last value of this one, unless step_sync is False.
        summary: "min", "max", "mean", "first", "last", "best" or several with commas; it has `name.min` and so on.
        goal: "maximize" or "minimize": which of them is the best; minimize if None.
        hidden, overwrite: ignored.
        """
        if step_metric is not None and step_sync is not False:
            self._step_metrics.define(str(name), str(step_metric))
        if summary is not None:
            self._summaries.define(str(name), str(summary), None if goal is None else str(goal))
        return str(name)

    def metrics_of(self, data: Any) -> dict[str, Value]:
        """Return what of the data is metrics, flat, without a word about the rest."""
        return self._plain(data) if hasattr(data, "items") else {}

    def follow(self, metrics: Mapping[str, Value], step: Any = None, commit: Any = None) -> int | None:
        """Log what the script told another library, and return its step; None where it is behind the last."""
        return self._log(metrics, step, commit)

    def follow_anew(self, starting_step: int) -> None:
        """Follow another run of that library's from here on, whose steps begin there."""
        with self.own_lock():
            self._step = starting_step

    def follow_at(self, values: Any, step: Any) -> None:
        """Report what a library was told that leaves each metric's steps to the script. step: None for none."""
        found = self.metrics_of(values)
        self.summary.follow(found)
        self._emit(records.METRICS, found, _whole(step))
        self._say_again(found)

    def follow_summary(self, values: Any) -> None:
        """The same for that library's summary."""
        self._say(self.metrics_of(values))

    def history(self) -> list[dict[str, Value]]:
        """Return what was logged here, one dict a step with its `_step`; the last 10,000 of them."""
        with self.own_lock():
            return [{"_step": step, **values} for step, values in self._history]

    def own_lock(self) -> threading.RLock:
        """Return what lets one thread log at a time."""
        if self._pid != os.getpid():  # forked: a thread that is not here may have held the lock at that moment
            self._pid, self._lock = os.getpid(), threading.RLock()
        return self._lock

    def log_code(self, root: str = ".", name: str | None = None, **ignored: object) -> None:
        """Do nothing: the sweep has kept the whole source already. Here so that W&B scripts run."""

    def finish(self, exit_code: int | None = None, quiet: object = None) -> None:
        """End the run; the next `init` starts another. The job's verdict is the process's own exit code."""
        self._on_finish(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    if not TYPE_CHECKING:  # which would take any name for one that is there

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"a run of smsweep has no {name!r}; {KEEP_WANDB}")

    def __repr__(self) -> str:
        return f"<smsweep run {self.id or 'outside a sweep'}>"

    def _log(self, values: Mapping[str, Value], step: int | None, commit: bool | None) -> int | None:
        with self.own_lock():
            at = self._at(step)
            if at is None:
                return None
            self._step = at + 1 if (step is None if commit is None else commit) else at
            self._remember(at, values)
            # What another process counts from 0 as well would fall on rows that are not its own.
            is_known = step is not None or self._pid == self._counting_pid
            self._emit(records.METRICS, values, self.first_step + at if is_known else None)
            self._say_again(values)
            return at

    def _at(self, step: int | None) -> int | None:
        if step is None:
            return self._step
        at = _whole(step)
        if at is None:
            self._warn_once("step", f"step must be a whole number, not {step!r}; using {self._step}")
            return self._step
        if at < self._step:
            self._warn_once(
                "backwards",
                f"step {at} comes after step {self._step}: ignored, as W&B does; steps must not go backwards",
            )
            return None
        return at

    def _plain(
        self, data: Mapping[Any, Any], tell: Callable[[str, str], None] = lambda key, text: None
    ) -> dict[str, Value]:
        values: dict[str, Value] = {}
        try:
            pairs = list(flatten(data))
        except Exception as err:  # noqa: BLE001 - a dict within itself, a key that cannot be printed
            tell("data", f"not logged: {type(err).__name__}: {err}")
            return values
        for name, value in pairs:
            try:
                values[name] = plain(value)
            except Exception as err:  # noqa: BLE001 - foreign objects may raise anything, and training must go on
                tell(f"value {name}", f"{name} is not logged: {err}")
        return values

    def _remember(self, at: int, values: Mapping[str, Value]) -> None:
        self.summary.follow(values)
        if self._history and self._history[-1][0] == at:
            self._history[-1][1].update(values)
        else:
            self._history.append((at, dict(values)))

    def _report_summary(self, values: Mapping[str, Any]) -> None:
        self._say(self._plain(values, self._warn_once))

    def _say(self, values: Mapping[str, Value]) -> None:
        self._said.update(values)
        self._emit(records.SUMMARY, values, None)

    def _say_again(self, values: Mapping[str, Value]) -> None:
        """Let what is logged take the place of what the script put into the summary before, as in W&B."""
        again = {name: values[name] for name in self._said.intersection(values)}
        if again:
            self._emit(records.SUMMARY, again, None)

    def _emit(self, kind: str, values: Mapping[str, Value], step: int | None) -> None:
        try:
            for record in records.records(kind, values, step=step, time=self._clock()):
                self._write(record)
        except Exception as err:  # noqa: BLE001 - a closed stdout, a full disk: training must go on
            self._warn_once("write", f"metrics cannot be written: {type(err).__name__}: {err}")

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warn(text)


def _whole(step: Any) -> int | None:
    """Return a step as an int; None for what is none."""
    try:
        return int(step)
    except (TypeError, ValueError, OverflowError):
        return None
