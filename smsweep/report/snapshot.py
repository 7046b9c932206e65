"""The content of a report: one sweep at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smsweep.core.json_documents import SweepDocument, SweepFields, TrialFields
from smsweep.core.sweep import Goal
from smsweep.report.axes import Axis

NO_BEST = ("failed", "crashed")  # states of trials whose model does not exist, so that they cannot be the best


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Plain data without secrets: those of `smsweep show` and `smsweep export`, and the data for figures."""

    sweep: SweepDocument  # as `smsweep show --json`
    trials: Sequence[TrialFields]  # as `smsweep export --format json`, by ascending number
    axes: Sequence[Axis]  # of the params that the search may choose
    curves: Mapping[str, Mapping[int, Sequence[float]]] = field(
        default_factory=dict
    )  # metric -> trial -> values, oldest first
    front: frozenset[int] = frozenset()  # numbers of the trials on the Pareto front; only with several metrics
    config: str = ""  # sweep.yaml as text
    job: str = ""  # job.yaml as text; "" for none
    origin: Mapping[str, Any] = field(default_factory=dict)  # git commit and versions
    made_at: datetime  # aware UTC

    @property
    def metric(self) -> str:
        """The metric that figures show (the first one); "" for a sweep without metrics."""
        names = metric_names(self.sweep)
        return names[0] if names else ""

    @property
    def goal(self) -> Goal:
        """The goal of this metric."""
        metric = self.sweep["metrics"][0] if self.sweep["metrics"] else self.sweep["metric"]
        return Goal(metric["goal"]) if metric else Goal.MINIMIZE

    def objective(self, trial: TrialFields) -> float | None:
        """Return a trial's objective; with several metrics, the last value of the first metric."""
        has_several = bool(self.sweep["metrics"])
        value = trial["metrics"].get(self.metric) if has_several else trial["objective"]
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def scored(self) -> list[tuple[TrialFields, float]]:
        """Return the trials with a finite objective, and the objective.

        Leaves out failed and crashed trials, and trials that violate an outcome constraint.
        """
        pairs = (
            (trial, self.objective(trial))
            for trial in self.trials
            if trial["state"] not in NO_BEST and not trial["infeasible"]
        )
        return [(trial, value) for trial, value in pairs if value is not None and abs(value) < float("inf")]

    def best_so_far(self, values: Iterable[float]) -> list[float]:
        """Return the best value up to each of the values."""
        best: list[float] = []
        sign = self.goal.sign
        for value in values:
            is_better = not best or value * sign < best[-1] * sign
            best.append(value if is_better else best[-1])
        return best


def metric_names(sweep: SweepFields) -> list[str]:
    """Return the names of a sweep's metrics (one or several)."""
    if sweep["metrics"]:
        return [metric["name"] for metric in sweep["metrics"]]
    return [sweep["metric"]["name"]] if sweep["metric"] else []
