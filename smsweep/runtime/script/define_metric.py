"""W&B's `define_metric`: summaries such as `loss.min`, and step metrics."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Fold = Callable[["_Series"], float]


class SummaryMetrics:
    """The summaries that a script has defined, and their values so far."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, str]] = {}  # metric -> kind -> fold
        self._prefixes: dict[str, dict[str, str]] = {}  # prefix of `name*` -> the same
        self._series: dict[str, _Series] = {}
        self._reported: dict[str, str] = {}  # as text, because NaN is not equal to NaN

    def define(self, name: str, kinds: str, goal: str | None = None) -> None:
        """Define the summaries of a metric. Repeated calls add kinds.

        Args:
            name: Name of the metric; a trailing `*` selects all metrics with this prefix.
            kinds: Kinds separated by commas, such as "min,max".
            goal: Direction of the kind "best": the largest value for "maximize" or "max", otherwise the smallest.
        """
        folds = {kind: kind for kind in _FOLDS}
        folds["best"] = "max" if goal is not None and goal.lower().startswith("max") else "min"
        requested = (kind.strip().lower() for kind in kinds.split(","))
        known = {kind: folds[kind] for kind in requested if kind in folds}
        if name.endswith("*"):
            self._prefixes.setdefault(name[:-1], {}).update(known)
        else:
            self._exact.setdefault(name, {}).update(known)

    def update(self, values: Mapping[str, Any], step: int) -> dict[str, float]:
        """Add values of a row, and return the summaries that have changed."""
        summaries: dict[str, float] = {}
        if self._exact or self._prefixes:
            for name, value in values.items():
                kinds = self._kinds_of(name)
                if kinds and isinstance(value, (int, float)) and not isinstance(value, bool):
                    series = self._series.setdefault(name, _Series())
                    series.add(value, step)
                    summaries.update({f"{name}.{kind}": _FOLDS[kinds[kind]](series) for kind in sorted(kinds)})
        changed = {name: value for name, value in summaries.items() if self._reported.get(name) != repr(value)}
        self._reported.update({name: repr(value) for name, value in changed.items()})
        return changed

    def _kinds_of(self, name: str) -> dict[str, str]:
        if name in self._exact:
            return self._exact[name]
        return next((kinds for prefix, kinds in self._prefixes.items() if name.startswith(prefix)), {})


class _Series:
    """The values of a metric, one per row. A later value of the same row replaces the earlier one."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._count, self._total = 0, 0.0
        self._ends: tuple[float, float, float] | None = None  # of the rows before the current one
        self.last = 0.0

    def add(self, value: float, step: int) -> None:
        if self._step is not None and step != self._step:
            self._count, self._total, self._ends = self._count + 1, self._total + self.last, self.ends
        self._step, self.last = step, value

    @property
    def ends(self) -> tuple[float, float, float]:
        """First, smallest and largest value. After a NaN, smallest and largest are NaN, as in W&B."""
        if self._ends is None:
            return self.last, self.last, self.last
        first, least, greatest = self._ends
        return first, _end(min, least, self.last), _end(max, greatest, self.last)

    @property
    def mean(self) -> float:
        return (self._total + self.last) / (self._count + 1)


def _end(choose: Callable[[float, float], float], known: float, value: float) -> float:
    return known if known != known else value if value != value else choose(known, value)


_FOLDS: Mapping[str, Fold] = {
    "first": lambda series: series.ends[0],
    "min": lambda series: series.ends[1],
    "max": lambda series: series.ends[2],
    "mean": lambda series: series.mean,
    "last": lambda series: series.last,
}


class StepMetrics:
    """The step metric of each metric, and the last values of the step metrics."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}  # metric -> its step metric
        self._prefixes: dict[str, str] = {}  # prefix of `name*` -> the same, in the order of definition
        self._last: dict[str, Any] = {}  # step metric -> its last value

    def define(self, name: str, step_metric: str) -> None:
        """Define the step metric of a metric. A trailing `*` in `name` selects all metrics with this prefix."""
        if name.endswith("*"):
            self._prefixes[name[:-1]] = step_metric
        else:
            self._exact[name] = step_metric

    def missing(self, names: Iterable[str], *, begin_at_zero: bool) -> dict[str, Any]:
        """Return the step metrics that a row with these names does not contain, with their last values.

        Args:
            names: Names of the row's metrics.
            begin_at_zero: Return 0 for a step metric without a value, instead of leaving it out.
        """
        if not self._exact and not self._prefixes:
            return {}
        present = set(names)
        steps = {self._step_of(name) for name in present} - present - {""}
        return {step: self._last.get(step, 0) for step in steps if begin_at_zero or step in self._last}

    def note(self, values: Mapping[str, Any]) -> None:
        """Record the last values of step metrics."""
        for name in {*self._exact.values(), *self._prefixes.values()}.intersection(values):
            self._last[name] = values[name]

    def _step_of(self, name: str) -> str:
        """Return a metric's step metric; "" if it has none."""
        if name in self._exact:
            return self._exact[name]
        return next((step for prefix, step in self._prefixes.items() if name.startswith(prefix)), "")
