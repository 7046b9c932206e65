"""The axis of a param in figures: linear, logarithmic, or categories."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smsweep.report.browser_text import plain
from smsweep.space.space import SearchSpace

MAX_LISTED = 1_000  # values of a categorical param; of longer lists only the values in trials are shown
MAGNITUDES = 100  # a param whose largest value is at least this multiple of its smallest gets a logarithmic axis
MAX_LABEL = 20  # characters that fit below a slice and beside parallel coordinates


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """The axis of one param."""

    name: str  # nested names are joined with dots
    is_log: bool = False
    categories: tuple[str, ...] = ()  # JSON of each value, in the order of the config; () for numbers

    def place(self, params: Mapping[str, Any]) -> float | None:
        """Return the position of flat params on the axis; None if the param or its value is not on it."""
        value: Any = params[self.name] if self.name in params else _joined(params, f"{self.name}.")
        if value is None and self.name not in params:
            return None
        if self.categories:
            category = _json(value)
            return float(self.categories.index(category)) if category in self.categories else None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if is_number and (value > 0 or not self.is_log) else None

    def scaled(self, place: float) -> float:
        """Return the position as a visible distance."""
        return math.log10(place) if self.is_log else place

    def unscaled(self, distance: float) -> float:
        """Return the position at a visible distance."""
        return 10.0**distance if self.is_log else distance

    def layout(self) -> dict[str, Any]:
        """Return the axis in Plotly's format."""
        shown: dict[str, Any] = {"title": {"text": plain(self.name)}, "type": "log" if self.is_log else "linear"}
        if self.categories:
            ticks = [plain(label) for label in self.labels()]
            shown |= {"tickmode": "array", "tickvals": list(range(len(ticks))), "ticktext": ticks}
        return shown

    def labels(self) -> list[str]:
        """Return the label of each category. A string that looks like another value keeps its quotes."""
        labels = [
            text if isinstance(text := json.loads(category), str) and text not in self.categories else category
            for category in self.categories
        ]
        return list(map(_short, labels))


def _short(label: str) -> str:
    """Return both ends of a long label: names of models differ at both ends, paths at the end."""
    return label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL // 2 - 1]}…{label[-MAX_LABEL // 2 :]}"


def axes_of(space: SearchSpace, trials: Iterable[Mapping[str, Any]]) -> list[Axis]:
    """Return the axes of the params that can vary. trials: their flat params, which add further categories."""
    seen = list(trials)
    axes = []
    for path, leaf in space.leaves:
        name = ".".join(path)
        if leaf.size == 1:
            continue
        values = [params[name] for params in seen if name in params]
        if leaf.kind.startswith("categorical"):
            listed = [leaf.value_at(i) for i in range(leaf.size)] if leaf.size and leaf.size <= MAX_LISTED else []
            axes.append(Axis(name=name, categories=tuple(dict.fromkeys(map(_json, [*listed, *values])))))
        else:
            is_log = "log" in leaf.kind and all(_is_positive(value) for value in values)
            axes.append(Axis(name=name, is_log=is_log))
    if not axes:  # a search program defines the space, so only the values are known
        names = dict.fromkeys(name for params in seen for name in params)
        guessed = {name: [params[name] for params in seen if name in params] for name in names}
        axes = [_guess(name, values) for name, values in guessed.items() if len(set(map(_json, values))) > 1]
    return axes


def _guess(name: str, values: Sequence[Any]) -> Axis:
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return Axis(name=name, is_log=min(values) > 0 and max(values) >= MAGNITUDES * min(values))
    return Axis(name=name, categories=tuple(dict.fromkeys(map(_json, values))))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)


def _joined(params: Mapping[str, Any], prefix: str) -> dict[str, Any] | None:
    """Return a mapping that is the value of one param, from its flat names; None if there are none."""
    value: dict[str, Any] = {}
    for name, item in params.items():
        if name.startswith(prefix):
            *parents, last = name.removeprefix(prefix).split(".")
            place = value
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = item
    return value or None


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0
