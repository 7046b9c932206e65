"""The content of an export of one sweep, and its text formats CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.core.json_documents import Row, SweepFields, TrialDocument
from smsweep.core.objective import last_value, objective
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import MetricPoint, Scalar, Trial
from smsweep.util.terminal_text import clean

PARAMS = "params."
METRICS = "metrics."
WANDB_COLUMNS = ("Name", "State", "Created", "Runtime", "Sweep", "ID")  # the first columns of W&B's table of runs
# Spreadsheets execute cells with these first characters; some accept the full-width ones.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """A snapshot of one sweep. Its metric points are read on demand."""

    sweep: SweepFields
    config: SweepConfig
    trials: Sequence[Trial]  # by ascending number
    data: Sequence[TrialDocument]  # as `smsweep trials --json`, in the same order
    columns: Sequence[str]  # of the flat table: trial fields, then params.*, metrics.* and so on
    rows: Sequence[Row]  # one per trial, in the same order; a missing value has no key
    wandb_rows: Sequence[Row]  # one per trial, in W&B's columns
    origin: Mapping[str, Any] = field(default_factory=dict)  # git commit and versions
    points: Callable[[int], Sequence[MetricPoint]]  # of the trial with a number, in the order reported
    progress: Callable[[int, int], None] = lambda done, total: None  # called after each written trial

    @property
    def title(self) -> str:
        """The name of the sweep in other programs: its name and its id."""
        return title_of(self.sweep)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that the sweep optimizes: one, several, or none."""
        return self.config.all_metrics

    def values_of(self, trial: Trial) -> list[float] | None:
        """Return the objective of a trial, or its last value of each metric. None if one of them is missing."""
        if self.config.metrics:
            values: list[Any] = [last_value(trial, metric.name) for metric in self.config.metrics]
        else:
            values = [objective(trial, metric) for metric in self.metrics]
        return [float(value) for value in values] if values and all(map(_is_finite, values)) else None

    def pairs(self) -> Iterator[tuple[Trial, Row]]:
        """Yield trials with their rows, and report the progress."""
        total = len(self.trials)
        for done, (trial, row) in enumerate(zip(self.trials, self.rows, strict=True)):
            self.progress(done, total)
            yield trial, row
        self.progress(total, total)


def title_of(sweep: SweepFields) -> str:
    """Return the name of a sweep in other programs: its name and its id."""
    name = str(sweep["name"]).strip()
    return f"{name}-{sweep['id']}" if name else str(sweep["id"])


def params_in(row: Row) -> dict[str, Any]:
    """Return a row's params by their flat names."""
    return {name.removeprefix(PARAMS): value for name, value in row.items() if name.startswith(PARAMS)}


def curve(points: Sequence[MetricPoint], name: str) -> dict[int, Scalar]:
    """Return a metric's values by step. The last value of a step counts; points without a step are numbered."""
    values: dict[int, Scalar] = {}
    for point in points:
        if point.name == name:
            values[len(values) if point.step is None else point.step] = point.value
    return values


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def as_csv(contents: Contents) -> str:
    """Return the trials as CSV."""
    return write_csv(contents.columns, contents.rows)


def as_json(contents: Contents) -> str:
    """Return the trials as JSON."""
    return json.dumps(json_safe(contents.data), indent=2, default=str) + "\n"


def as_wandb_csv(contents: Contents) -> str:
    """Return the trials as CSV in W&B's own columns."""
    rows = contents.wandb_rows
    return write_csv(list(dict.fromkeys((*WANDB_COLUMNS, *(name for row in rows for name in row)))), rows)


def write_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return rows as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def csv_cell(value: object) -> object:
    """Return the content of a cell: no control characters or formulas; lists and mappings as JSON."""
    if isinstance(value, (list, dict)):
        value = json.dumps(json_safe(value), ensure_ascii=False)
    if not isinstance(value, str):
        return value
    text = "\n".join(map(clean, value.split("\n")))
    return f"'{text}" if text.lstrip(" \n").startswith(FORMULA) else text


def json_safe(value: Any) -> Any:
    """Return a value with "NaN", "Infinity" and "-Infinity" as text, because JSON cannot represent them."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
