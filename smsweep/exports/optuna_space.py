"""Convert a sweep's params to Optuna's distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from smsweep.exports.contents import PARAMS, Contents
from smsweep.exports.text import json_safe
from smsweep.space.distribution import Distribution

MAX_LISTED = 1_000  # values of a distribution that are listed even if no trial has them
EXACT = 2**53  # Optuna stores all params as floats

Encode = Callable[[Any], Any]  # converts smsweep's value of a param to Optuna's
Fitting = tuple[BaseDistribution, Encode]


def fittings(contents: Contents) -> dict[str, Fitting]:
    """Return for each param, by its flat name, the closest distribution that contains the values of all trials."""
    leaves = {".".join(path): leaf for path, leaf in contents.config.space.leaves}
    fits = {}
    for column in contents.columns:
        if column.startswith(PARAMS):
            values = [row[column] for row in contents.rows if column in row]
            name = column.removeprefix(PARAMS)
            fits[name] = _fitting(leaves.get(name), values)
    return fits


def _fitting(leaf: Distribution | None, values: Sequence[Any]) -> Fitting:
    listed = _listed(leaf)
    is_category = leaf is None or leaf.size == 1 or leaf.kind.startswith("categorical")
    if leaf is not None and not is_category and all(map(_is_number, values)):
        return next(_numeric(leaf, values))
    if leaf is None and values and all(map(_is_number, values)):  # for example of a sweep on W&B's server
        return _seen(values)
    return _categorical([*listed, *values])


def _numeric(leaf: Distribution, values: Sequence[Any]) -> Iterator[Fitting]:
    """Yield distributions for numbers, the closest first; the last one contains any values."""
    is_log = "log" in leaf.kind and all(value > 0 for value in values)
    if leaf.size is not None:
        first, last = leaf.value_at(0), leaf.value_at(leaf.size - 1)
        step = getattr(leaf, "q", 1)
        low, high = min([first, *values]), max([last, *values])
        if all(map(_is_whole, (low, high, step))) and max(abs(low), abs(high)) <= EXACT:
            if is_log and low >= 1:
                yield IntDistribution(int(low), int(high), log=True), int
            elif all((value - low) % step == 0 for value in values):
                yield IntDistribution(int(low), int(high), step=int(step)), int
        if not is_log and all(_is_on(value, low, step) for value in [*values, high]):
            yield FloatDistribution(low, high, step=step), float
    bounds = getattr(leaf, "bounds", (-math.inf, math.inf))
    low, high = min([*_finite(bounds), *values]), max([*_finite(bounds), *values])
    yield FloatDistribution(low, high, log=is_log and low > 0), float


def _finite(bounds: Sequence[float]) -> list[float]:
    """Return the bounds if both are finite, otherwise nothing."""
    return list(bounds) if all(map(math.isfinite, bounds)) else []


def _seen(values: Sequence[Any]) -> Fitting:
    low, high = min(values), max(values)
    if all(map(_is_whole, values)) and max(abs(low), abs(high)) <= EXACT:
        return IntDistribution(int(low), int(high)), int
    return FloatDistribution(low, high), float


def _categorical(values: Sequence[Any]) -> Fitting:
    """Return a categorical distribution. Values that Optuna cannot distinguish become JSON text."""
    plain = [_choice(value) for value in values]
    choices = {(type(value), repr(value)): value for value in plain}
    if len({_same(value) for value in choices.values()}) == len(choices):
        return CategoricalDistribution(list(choices.values()) or [None]), _choice
    return CategoricalDistribution(list(dict.fromkeys(map(_label, values)))), _label


def _listed(leaf: Distribution | None) -> list[Any]:
    size = leaf.size if leaf is not None else None
    return [leaf.value_at(index) for index in range(size)] if leaf and size and size <= MAX_LISTED else []


def _choice(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else _label(value)


def _label(value: Any) -> str:
    return json.dumps(json_safe(value), ensure_ascii=False, default=str)


def _same(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int)


def _is_on(value: float, low: float, step: float) -> bool:
    """Return True if Optuna accepts a value as a whole number of steps above low."""
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-8
