"""Axes of plots: the scale of a param, its labels as safe text, and fewer points where a plot has too many."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from smsweep.space.space import SearchSpace

MAX_LISTED = 1_000  # values of a categorical param; of longer lists only the values in trials are shown
MAGNITUDES = 100  # a param whose largest value is at least this multiple of its smallest gets a logarithmic axis
MAX_LABEL = 20  # characters that fit below a slice and beside parallel coordinates
T = TypeVar("T")
Point = tuple[int, float]  # position in the curve, starting at 1; value
MOST_EXACT = 2**53  # browsers cannot represent all larger integers


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
        layout: dict[str, Any] = {"title": {"text": plain(self.name)}, "type": "log" if self.is_log else "linear"}
        if self.categories:
            ticks = [plain(label) for label in self.labels()]
            layout |= {"tickmode": "array", "tickvals": list(range(len(ticks))), "ticktext": ticks}
        return layout

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


def thin(values: Sequence[float], n: int) -> list[Point]:
    """Return about n points of a curve, in order: the first, the last, and low and high points between them.

    Args:
        values: The curve.
        n: Number of points, at least 4. A shorter curve is returned completely.
    """
    points = list(enumerate(values, 1))
    if len(points) <= n:
        return points
    n_buckets = (n - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for index in range(n_buckets):
        bucket = inner[index * len(inner) // n_buckets : (index + 1) * len(inner) // n_buckets]
        ends = {min(bucket, key=_value), max(bucket, key=_value)}
        kept += sorted(ends)
    return [*kept, points[-1]]


def some(items: Sequence[T], n: int) -> list[T]:
    """Return n items, evenly distributed from first to last; all items if there are at most n."""
    if len(items) <= n:
        return list(items)
    return [items[index * (len(items) - 1) // (n - 1)] for index in range(n)]


def _value(point: Point) -> float:
    return point[1]


def exact(value: Any) -> Any:
    """Return a value that a browser can show; an integer that is too large for it becomes text."""
    return str(value) if isinstance(value, int) and abs(value) > MOST_EXACT else value


def plain(text: str) -> str:
    """Return text that Plotly shows unchanged, without interpreting tags, links, `%{...}` or formulas."""
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")
