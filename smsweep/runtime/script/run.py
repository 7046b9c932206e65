"""The running trial as its script sees it."""

from __future__ import annotations

import os
from _collections_abc import Mapping  # as collections.abc, but does not import collections
from _thread import RLock  # as threading.RLock, but does not import threading

from smsweep.runtime.script import records
from smsweep.runtime.script.config import Config, Summary
from smsweep.runtime.script.define_metric import StepMetrics, SummaryMetrics
from smsweep.runtime.script.records import KEEP_WANDB, flatten, plain, run_id, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from smsweep.runtime.script.records import Value

MAX_HISTORY = 10_000  # rows in history()


class Run:
    """The return value of `init`: params in `config`, metrics through `log`. Similar to W&B's Run.

    The run can be used as a context manager. Its methods raise nothing because of logged values or a missing
    reader; they print a warning to stderr.

    Args:
        trial: sweep_id, number, attempt, params, name, project, entity, as far as known. None outside a sweep.
            `params` can be a function that returns them; the first use of `config` calls it.
        write: Called with each record, without a line end.
        clock: Returns seconds since the epoch.
        on_finish: Called by `finish`.
        counting_pid: The process whose counter gives the trial its steps. None means this process.
        first_step: Step of the trial at which this run's step 0 is.
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
        self._params: Any = known.get("params") or {}
        self._config: Config | None = None
        self.summary = Summary(self._report_summary)
        self._write = write
        self._clock = clock
        self._on_finish = on_finish
        self._lock = RLock()  # reentrant, because a signal handler may log during a `log`
        self._pid = os.getpid()
        self._counting_pid = counting_pid or self._pid
        self.first_step = first_step
        self._step = 0
        self._history: list[tuple[int, dict[str, Value]]] = []
        self._warned: set[str] = set()
        self._set_by_script: set[str] = set()  # names that the script has set in the summary
        self._step_metrics = StepMetrics()
        self._summaries = SummaryMetrics()

    @property
    def config(self) -> Config:
        """The params. They are read at the first use, because many scripts only log."""
        with self.own_lock():
            if self._config is None:
                self._config = Config(self._params() if callable(self._params) else self._params, warn)
            return self._config

    @property
    def step(self) -> int:
        """The step of the next `log` without a step."""
        return self._step

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: object = None
    ) -> None:
        """Report metrics at once. Steps count as in W&B.

        Args:
            data: Metrics by name: numbers, bools or strings. Nested dicts become "a.b". Other values are skipped
                with one warning per name.
            step: None for the run's own counter, which then increases by one. A step below the counter is ignored
                with a warning.
            commit: False to log more for the same step; True to advance the counter after an explicit step.
            sync: Ignored, as in W&B.
        """
        if not hasattr(data, "items"):
            self._warn_once("data", f"log accepts a dict, not {type(data).__name__}; ignored")
            return
        values = self._plain(data, self._warn_once)
        values.update(self._step_metrics.missing(values, begin_at_zero=True))
        at = self._log(values, step, commit)
        if at is not None:
            self._step_metrics.note(values)
            summaries = self._summaries.update(values, at)
            if summaries:
                self.summary.update(summaries)

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
        """Define the step metric and the summary of a metric, like W&B's `define_metric`.

        Args:
            name: Name of the metric; a trailing `*` selects all metrics with this prefix.
            step_metric: Each row with the metric gets the last value of this one, unless step_sync is False.
            step_sync: See step_metric.
            hidden: Ignored.
            summary: One or more of "min", "max", "mean", "first", "last", "best", separated by commas. The summary
                then has `name.min` and so on.
            overwrite: Ignored.
            goal: "maximize" or "minimize" (default): the direction of "best".

        Returns:
            The name of the metric.
        """
        if step_metric is not None and step_sync is not False:
            self._step_metrics.define(str(name), str(step_metric))
        if summary is not None:
            self._summaries.define(str(name), str(summary), None if goal is None else str(goal))
        return str(name)

    def metrics_of(self, data: Any) -> dict[str, Value]:
        """Return the metrics in the data, with flat names. Skips other values without a warning."""
        return self._plain(data) if hasattr(data, "items") else {}

    def follow(self, metrics: Mapping[str, Value], step: Any = None, commit: Any = None) -> int | None:
        """Log metrics that the script gave to another library. Return their step, or None if it was ignored."""
        return self._log(metrics, step, commit)

    def follow_anew(self, starting_step: int) -> None:
        """Follow the next run of the other library, whose steps begin at `starting_step`."""
        with self.own_lock():
            self._step = starting_step

    def follow_at(self, values: Any, step: Any) -> None:
        """Report values of a library in which each metric has its own steps. step: None if unknown."""
        metrics = self.metrics_of(values)
        self.summary.follow(metrics)
        self._emit(records.METRICS, metrics, _whole(step))
        self._emit_summary_again(metrics)

    def follow_summary(self, values: Any) -> None:
        """Report values that the script wrote to the summary of the other library."""
        self._emit_summary(self.metrics_of(values))

    def history(self) -> list[dict[str, Value]]:
        """Return the logged rows, one dict per step with its `_step`; at most the last 10,000."""
        with self.own_lock():
            return [{"_step": step, **values} for step, values in self._history[-MAX_HISTORY:]]

    def own_lock(self) -> RLock:
        """Return the lock that lets one thread log at a time."""
        if self._pid != os.getpid():  # after a fork: a thread of the parent may have held the lock
            self._pid, self._lock = os.getpid(), RLock()
        return self._lock

    def log_code(self, root: str = ".", name: str | None = None, **ignored: object) -> None:
        """Do nothing, because the sweep has saved the whole source. For scripts written for W&B."""

    def finish(self, exit_code: int | None = None, quiet: object = None) -> None:
        """End the run; the next `init` starts another one. The process's exit code decides the trial's state."""
        self._on_finish(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    if not TYPE_CHECKING:  # mypy would accept any name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"smsweep's run has no {name!r}; {KEEP_WANDB}")

    def __repr__(self) -> str:
        return f"<smsweep run {self.id or 'outside a sweep'}>"

    def _log(self, values: Mapping[str, Value], step: int | None, commit: bool | None) -> int | None:
        with self.own_lock():
            at = self._at(step)
            if at is None:
                return None
            self._step = at + 1 if (step is None if commit is None else commit) else at
            self._remember(at, values)
            # Rows of another process, which also counts from 0, would overwrite those of the counting process.
            is_known = step is not None or self._pid == self._counting_pid
            self._emit(records.METRICS, values, self.first_step + at if is_known else None)
            self._emit_summary_again(values)
            return at

    def _at(self, step: int | None) -> int | None:
        if step is None:
            return self._step
        at = _whole(step)
        if at is None:
            self._warn_once("step", f"step must be a whole number, not {step!r}; used {self._step} instead")
            return self._step
        if at < self._step:
            self._warn_once(
                "backwards",
                f"step {at} comes after step {self._step}; ignored, as in W&B: steps must not decrease",
            )
            return None
        return at

    def _plain(
        self, data: Mapping[Any, Any], report: Callable[[str, str], None] = lambda key, text: None
    ) -> dict[str, Value]:
        values: dict[str, Value] = {}
        try:
            pairs = list(flatten(data))
        except Exception as err:  # noqa: BLE001 - a dict that contains itself, a key that cannot be printed
            report("data", f"not logged: {type(err).__name__}: {err}")
            return values
        for name, value in pairs:
            try:
                values[name] = plain(value)
            except Exception as err:  # noqa: BLE001 - other libraries' objects may raise anything; training continues
                report(f"value {name}", f"{name} is not logged: {err}")
        return values

    def _remember(self, at: int, values: Mapping[str, Value]) -> None:
        self.summary.follow(values)
        if self._history and self._history[-1][0] == at:
            self._history[-1][1].update(values)
        else:
            self._history.append((at, dict(values)))
            if len(self._history) >= 2 * MAX_HISTORY:
                del self._history[:-MAX_HISTORY]

    def _report_summary(self, values: Mapping[str, Any]) -> None:
        self._emit_summary(self._plain(values, self._warn_once))

    def _emit_summary(self, values: Mapping[str, Value]) -> None:
        self._set_by_script.update(values)
        self._emit(records.SUMMARY, values, None)

    def _emit_summary_again(self, values: Mapping[str, Value]) -> None:
        """Let logged values replace those that the script has set in the summary before, as in W&B."""
        again = {name: values[name] for name in self._set_by_script.intersection(values)}
        if again:
            self._emit(records.SUMMARY, again, None)

    def _emit(self, kind: str, values: Mapping[str, Value], step: int | None) -> None:
        try:
            for record in records.records(kind, values, step=step, time=self._clock()):
                self._write(record)
        except Exception as err:  # noqa: BLE001 - a closed stdout, a full disk: training continues
            self._warn_once("write", f"metrics cannot be written: {type(err).__name__}: {err}")

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warn(text)


def _whole(step: Any) -> int | None:
    """Return a step as an int; None if it is not a number."""
    try:
        return int(step)
    except (TypeError, ValueError, OverflowError):
        return None
