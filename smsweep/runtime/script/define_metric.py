"""Summaries of W&B: `define_metric("loss", summary="min")` puts the least value into it, as `loss.min`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Fold = Callable[["_Series"], float]
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class SummaryMetrics:
    """Which metric is summed up how, and what came of it so far."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, str]] = {}  # metric -> kind -> fold
        self._prefixes: dict[str, dict[str, str]] = {}  # what `name*` begins with -> likewise
        self._series: dict[str, _Series] = {}
        self._told: dict[str, str] = {}  # as texts, for NaN is not itself

    def define(self, name: str, kinds: str, goal: str | None = None) -> None:
        """name: of a metric, or with a star at its end of all that begin so. kinds: "min,max"; more may follow.

        goal: which end is the kind "best", the least where it is not maximize or max.
        """
        folds = {kind: kind for kind in _FOLDS}
        folds["best"] = "max" if goal is not None and goal.lower().startswith("max") else "min"
        asked = (kind.strip().lower() for kind in kinds.split(","))
        known = {kind: folds[kind] for kind in asked if kind in folds}
        if name.endswith("*"):
            self._prefixes.setdefault(name[:-1], {}).update(known)
        else:
            self._exact.setdefault(name, {}).update(known)

    def take_in(self, values: Mapping[str, Any], step: int) -> dict[str, float]:
        """Take in a part of a row, and return what of the summary is another value now."""
        found: dict[str, float] = {}
        if self._exact or self._prefixes:
            for name, value in values.items():
                kinds = self._kinds_of(name)
                if kinds and isinstance(value, (int, float)) and not isinstance(value, bool):
                    series = self._series.setdefault(name, _Series())
                    series.add(value, step)
                    found.update({f"{name}.{kind}": _FOLDS[kinds[kind]](series) for kind in sorted(kinds)})
        changed = {name: value for name, value in found.items() if self._told.get(name) != repr(value)}
        self._told.update({name: repr(value) for name, value in changed.items()})
        return changed

    def _kinds_of(self, name: str) -> dict[str, str]:
        if name in self._exact:
            return self._exact[name]
        return next((kinds for prefix, kinds in self._prefixes.items() if name.startswith(prefix)), {})


class _Series:
    """A metric's values, one a row: a later one of the same row takes the place of the former."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._count, self._total = 0, 0.0
        self._ends: tuple[float, float, float] | None = None  # of the rows before this one
        self.last = 0.0

    def add(self, value: float, step: int) -> None:
        if self._step is not None and step != self._step:
            self._count, self._total, self._ends = self._count + 1, self._total + self.last, self.ends
        self._step, self.last = step, value

    @property
    def ends(self) -> tuple[float, float, float]:
        """The first, the least and the greatest value; NaN is both once it came, as for W&B."""
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
    """Which metric goes by which other one, and the last values of those."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}  # metric -> its step metric
        self._prefixes: dict[str, str] = {}  # what `name*` begins with -> likewise, in the order defined
        self._last: dict[str, Any] = {}  # step metric -> its last value

    def define(self, name: str, step_metric: str) -> None:
        """name: of a metric, or with a star at its end of all that begin so."""
        if name.endswith("*"):
            self._prefixes[name[:-1]] = step_metric
        else:
            self._exact[name] = step_metric

    def lacking(self, names: Iterable[str], *, begin_at_zero: bool) -> dict[str, Any]:
        """Return the step metrics that a row with these names lacks, each at its last value.

        begin_at_zero: one that has none yet is 0; otherwise it stays away.
        """
        if not self._exact and not self._prefixes:
            return {}
        there = set(names)
        steps = {self._step_of(name) for name in there} - there - {""}
        return {step: self._last.get(step, 0) for step in steps if begin_at_zero or step in self._last}

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep the last values of step metrics."""
        for name in {*self._exact.values(), *self._prefixes.values()}.intersection(values):
            self._last[name] = values[name]

    def _step_of(self, name: str) -> str:
        """Return a metric's step metric; "" where it has none."""
        if name in self._exact:
            return self._exact[name]
        return next((step for prefix, step in self._prefixes.items() if name.startswith(prefix)), "")
