"""The base class of all distributions of a parameter, common checks, and W&B's equality of values."""

from __future__ import annotations

import math
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Final, TypeGuard

from smsweep.errors import SpaceError


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()  # the value of a leaf that params do not have


class Distribution(ABC):
    """The distribution of one parameter.

    A finite distribution numbers its values from 0 (`size`, `value_at`, `index_of`). A distribution that W&B
    allows in a grid numbers its grid values as well (`grid_size`, `grid_value`, `grid_index`). The two
    numberings can differ. `identity` defines equal values.
    """

    __slots__ = ()
    kind: ClassVar[str]  # W&B's name: the value of the key `distribution`

    @abstractmethod
    def ppf(self, u: float) -> Any:
        """Return the value at the cumulative probability u, which is finite also at 0 and 1.

        Raises:
            ValueError: u is outside [0, 1].
        """

    @abstractmethod
    def cdf(self, value: Any) -> float:
        """Return a number in [0, 1] for which `ppf` returns the value.

        For numeric values, it is the probability of a draw that is at most as large. Numbers out of range give 0
        or 1.

        Raises:
            SpaceError: The value has the wrong type.
        """

    def sample(self, rng: random.Random) -> Any:
        """Draw a value, with exactly one number of rng."""
        return self.ppf(rng.random())

    @property
    def size(self) -> int | None:
        """The number of different values; None for infinitely many."""
        return None

    @property
    def is_discrete(self) -> bool:
        """True if the same value can be drawn twice."""
        return self.size is not None

    def value_at(self, index: int) -> Any:
        """Return the value with that number. Raises IndexError outside `range(size)`."""
        raise IndexError(f"{self.kind} has no numbered values")

    def index_of(self, value: Any) -> int | None:
        """Return the value's number; None for another value."""
        return None

    @property
    def grid_size(self) -> int | None:
        """The number of values in a grid; None if W&B does not allow the distribution in a grid."""
        return None

    def grid_value(self, index: int) -> Any:
        """Return the grid value with that number. Raises IndexError outside `range(grid_size)`."""
        raise IndexError(f"{self.kind} has no grid")

    def grid_index(self, value: Any) -> int | None:
        """Return the value's number in the grid; None if it is not in the grid."""
        return None


class Listed(Distribution):
    """A finite distribution whose grid has all of its values."""

    __slots__ = ()

    @property
    def grid_size(self) -> int | None:
        return self.size

    def grid_value(self, index: int) -> Any:
        return self.value_at(index)

    def grid_index(self, value: Any) -> int | None:
        return self.index_of(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for a finite number that a float can represent, False for everything else and for bools."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def are_whole(*values: object) -> bool:
    """Return True if all values are ints. 1.0 is not an int."""
    return all(isinstance(value, int) for value in values)


def check_number(kind: str, **values: object) -> None:
    """Raise SpaceError for the first named value that is not a finite number."""
    for name, value in values.items():
        if not is_number(value):
            raise SpaceError(f"{kind} needs a finite number as {name}, got {value!r}")


def check_bounds(kind: str, minimum: float, maximum: float) -> None:
    """Raise SpaceError unless both are finite numbers and the minimum is less than the maximum."""
    check_number(kind, min=minimum, max=maximum)
    if minimum >= maximum:
        fix = "swap them" if minimum > maximum else f"for this one value write value: {minimum}"
        raise SpaceError(f"{kind} needs min < max, got min {minimum} and max {maximum}; {fix}")
    if not is_number(maximum - minimum):
        raise SpaceError(f"{kind} needs bounds less far apart than min {minimum} and max {maximum}")


def check_probability(u: float) -> None:
    if not 0.0 <= u <= 1.0:
        raise ValueError(f"a cumulative probability must be in [0, 1], got {u!r}")


def check_index(index: int, size: int | None) -> None:
    if size is None or not 0 <= index < size:
        raise IndexError(f"index {index} is not in range({size})")


def comparable(kind: str, value: object) -> float:
    """Return the value if it is a number, also an infinite one; raise SpaceError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise SpaceError(f"{kind} holds numbers, got {value!r}")
    return value


def share(u: float, n: int) -> int:
    """Return the number, from 0, of the part of [0, 1] that has u. A border belongs to the part below it."""
    check_probability(u)
    index = max(math.ceil(u * n) - 1, 0)
    # u * n can be rounded up beyond a border
    return index - 1 if index and index / n >= u else index


def can_have(leaf: Distribution, value: Any) -> bool:
    """Return True if a distribution contains the value (if continuous: if the value is within its bounds)."""
    if leaf.size is not None:
        return leaf.index_of(value) is not None
    return is_number(value) and leaf.ppf(0.0) <= value <= leaf.ppf(1.0)


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
