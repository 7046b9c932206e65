"""Step metrics of W&B: `define_metric("val/*", step_metric="epoch")` puts the epoch into rows with such values."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


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
