"""The parameters of Ax: those of W&B's scheduler, and others for what it refuses."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from typing import Any

from smsweep.space.choices import CHOICES, Categorical
from smsweep.space.distribution import Distribution, are_whole, is_number
from smsweep.space.distributions import IntUniform, LogUniformValues, QLogUniformValues, QUniform, Uniform

MAX_STEPS = 10_000  # values of a q_uniform; Ax lists them all
CELLS = 2**16  # of equal probability, for distributions with more values


def unit_parameter(ax: Any, name: str, leaf: Distribution) -> Any:
    """Return the Ax parameter of a param that Ax knows by the number of its value."""
    n = _n_numbers(leaf)
    if isinstance(leaf, CHOICES) or n == 1:
        return ax.api.configs.ChoiceParameterConfig(
            name=name, values=list(range(n)), parameter_type="int", is_ordered=False
        )
    return ax.api.configs.RangeParameterConfig(name=name, bounds=(0, n - 1), parameter_type="int")


def encode(leaf: Distribution, value: Any) -> int | None:
    """Return the number of a value; None if the value is from another space.

    `encode(leaf, decode(leaf, number))` is the number, so that Ax knows its own proposals again.
    """
    if _is_numbered(leaf):
        return leaf.index_of(value)
    if not is_number(value):
        return None
    if leaf.is_discrete:
        return min(bisect.bisect_left(_values(leaf), value), _n_numbers(leaf) - 1)
    return min(int(leaf.cdf(value) * CELLS), CELLS - 1)


def decode(leaf: Distribution, number: int) -> Any:
    """Return the value with a number. A continuous distribution has the middles of cells."""
    if _is_numbered(leaf):
        return leaf.value_at(number)
    return _values(leaf)[number] if leaf.is_discrete else leaf.ppf((number + 0.5) / CELLS)


def _is_numbered(leaf: Distribution) -> bool:
    return leaf.size is not None and leaf.size <= CELLS


def _n_numbers(leaf: Distribution) -> int:
    if leaf.size is not None and leaf.size <= CELLS:
        return leaf.size
    return len(_values(leaf)) if leaf.is_discrete else CELLS


@functools.lru_cache(maxsize=100)
def _values(leaf: Distribution) -> list[Any]:
    """Return the values of a discrete distribution with too many values to number, without the rarest."""
    return sorted({leaf.ppf((number + 0.5) / CELLS) for number in range(CELLS)})


def wandb_parameter(ax: Any, name: str, leaf: Distribution) -> Any:
    """Return the Ax parameter that W&B's scheduler makes of a distribution; None if W&B or Ax refuses it."""
    configs = ax.api.configs
    if why_not_in_wandb(leaf):
        return None
    if isinstance(leaf, Categorical):
        values = [leaf.value_at(i) for i in range(leaf.size)]
        return configs.ChoiceParameterConfig(
            name=name, values=values, parameter_type=_type_of(values), is_ordered=False
        )
    if isinstance(leaf, IntUniform):
        return configs.RangeParameterConfig(name=name, bounds=(leaf.min, leaf.max), parameter_type="int")
    if isinstance(leaf, QLogUniformValues):
        bounds = (int(leaf.min), int(leaf.max))
        return configs.RangeParameterConfig(name=name, bounds=bounds, parameter_type="int", scaling="log")
    assert isinstance(leaf, (Uniform, LogUniformValues))
    floats = (float(leaf.min), float(leaf.max))
    if isinstance(leaf, QUniform):
        is_whole = are_whole(leaf.min, leaf.max) and (leaf.q == 1 or are_whole(leaf.q))  # W&B's default of q is 1
        kind = "int" if is_whole else "float"
        return configs.RangeParameterConfig(name=name, bounds=floats, parameter_type=kind, step_size=float(leaf.q))
    scaling = "log" if isinstance(leaf, LogUniformValues) else None
    return configs.RangeParameterConfig(name=name, bounds=floats, parameter_type="float", scaling=scaling)


def why_not_in_wandb(leaf: Distribution) -> str:
    """Return what W&B's scheduler refuses about a distribution with engine ax; "" if it accepts it."""
    if isinstance(leaf, Categorical):
        return "" if _type_of(leaf.values) else "values of several types"
    if isinstance(leaf, QLogUniformValues):
        is_range = leaf.q == 1 and 1 <= int(leaf.min) < int(leaf.max)
        return (
            "" if is_range else "q_log_uniform_values with q other than 1, or without two whole numbers from 1 on"
        )
    if isinstance(leaf, QUniform):
        steps = (leaf.max - leaf.min) / leaf.q
        if abs(steps - round(steps)) * leaf.q > 1e-8:
            return "q_uniform whose range is not a multiple of q"
        return "" if steps <= MAX_STEPS else f"q_uniform with more than {MAX_STEPS:,} values"
    is_known = leaf.size == 1 or type(leaf) in (IntUniform, Uniform, LogUniformValues)
    return "" if is_known else leaf.kind


def _type_of(values: Sequence[Any]) -> str:
    """Return Ax's type of listed values; "" if they have several types, or a type that Ax does not have."""
    types = {type(value) for value in values}
    if types <= {int, float}:
        return "int" if types == {int} else "float"
    return {bool: "bool", str: "str"}.get(types.pop(), "") if len(types) == 1 else ""
