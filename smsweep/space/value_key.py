"""When two parameter values are the same value to a grid."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


def identity(value: Any) -> Hashable:
    """Return a key that is equal for two values if and only if W&B takes them for the same.

    A whole float is its int (1.0 and 1), but only at the top: [1.0] is not [1]. True is not 1, "1" is not 1,
    a list is not a tuple, the order of a dict's keys does not matter, and NaN is NaN.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _frozen(value)


def _frozen(value: Any) -> Hashable:
    kind = type(value)
    if kind in (str, int, bool) or value is None:
        return kind, value
    if kind in (list, tuple):
        return kind, tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return dict, frozenset((_frozen(key), _frozen(item)) for key, item in value.items())
    # repr tells floats apart to the last bit, and NaN equals itself
    return kind, repr(value)
