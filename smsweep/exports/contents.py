"""What an export has to say of one sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.core.json_documents import Row, SweepFields, TrialDocument
from smsweep.core.objective import objective
from smsweep.core.pareto import last_value
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import MetricPoint, Scalar, Trial

PARAMS = "params."
METRICS = "metrics."
WANDB_COLUMNS = ("Name", "State", "Created", "Runtime", "Sweep", "ID")  # of its table of runs, before all others


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """One sweep as it was at one moment; points are read as they are needed."""

    sweep: SweepFields
    config: SweepConfig
    trials: Sequence[Trial]  # by ascending number
    data: Sequence[TrialDocument]  # as `smsweep trials --json`, in the same order
    columns: Sequence[str]  # of the flat table: trial fields, then params.*, metrics.* and so on
    rows: Sequence[Row]  # one a trial, likewise; what is missing has no key
    wandb_rows: Sequence[Row]  # one a trial, in W&B's own columns
    origin: Mapping[str, Any] = field(default_factory=dict)  # git commit, versions; see sdk/origin.py
    points: Callable[[int], Sequence[MetricPoint]]  # of the trial of a number, in the order reported
    progress: Callable[[int, int], None] = lambda done, total: None  # told of trials written, of how many

    @property
    def title(self) -> str:
        """What the sweep is called elsewhere: its name and its id."""
        name = str(self.sweep["name"]).strip()
        return f"{name}-{self.sweep['id']}" if name else str(self.sweep["id"])

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is to be improved: one metric, several, or none."""
        return self.config.all_metrics

    def values_of(self, trial: Trial) -> list[float] | None:
        """Return a trial's objective, or its last value of each of several metrics; None when one is missing."""
        if self.config.metrics:
            values: list[Any] = [last_value(trial, metric.name) for metric in self.config.metrics]
        else:
            values = [objective(trial, metric) for metric in self.metrics]
        return [float(value) for value in values] if values and all(map(_is_finite, values)) else None

    def pairs(self) -> Iterator[tuple[Trial, Row]]:
        """Yield trials with their rows, telling of the progress."""
        total = len(self.trials)
        for done, (trial, row) in enumerate(zip(self.trials, self.rows, strict=True)):
            self.progress(done, total)
            yield trial, row
        self.progress(total, total)


def params_in(row: Row) -> dict[str, Any]:
    """Return a row's params by their flat names."""
    return {name.removeprefix(PARAMS): value for name, value in row.items() if name.startswith(PARAMS)}


def curve(points: Sequence[MetricPoint], name: str) -> dict[int, Scalar]:
    """Return a metric's values by step; of several at one step the last, points without a step in their order."""
    found: dict[int, Scalar] = {}
    for point in points:
        if point.name == name:
            found[len(found) if point.step is None else point.step] = point.value
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
