"""Equality of parameter values, as W&B defines it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


def identity(value: Any) -> Hashable:
    """Return a key that is equal for two values if and only if W&B treats them as the same value.

    A whole float equals its int (1.0 and 1), but not inside a list: [1.0] differs from [1]. True differs from 1,
    "1" differs from 1, and a list differs from a tuple. The order of a dict's keys does not matter. NaN equals
    NaN.
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
    # repr distinguishes floats to the last bit, and NaN equals itself
    return kind, repr(value)
