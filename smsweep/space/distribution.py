"""What every distribution of a parameter can do, and the checks they share."""

from __future__ import annotations

import math
import random
import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeGuard

from smsweep.errors import SpaceError


class Distribution(ABC):
    """The law of one parameter, under W&B's name for it.

    A distribution with finitely many values numbers them from 0 (`size`, `value_at`, `index_of`). Those that
    W&B allows in a grid number their grid too (`grid_size`, `grid_value`, `grid_index`); the two need not
    agree. Values are recognised as W&B does it, see `identity`.
    """

    __slots__ = ()
    kind: ClassVar[str]  # W&B's name: the value of the key `distribution`

    @abstractmethod
    def ppf(self, u: float) -> Any:
        """Return the value at the cumulative probability u in [0, 1]; finite at both ends.

        Raises ValueError for any other u.
        """

    @abstractmethod
    def cdf(self, value: Any) -> float:
        """Return a number in [0, 1] at which `ppf` gives the value back.

        Where values are numbers it is the probability of a draw at most as large. Raises SpaceError for a
        value of the wrong kind; numbers out of range get 0 or 1.
        """

    def sample(self, rng: random.Random) -> Any:
        """Draw a value; takes exactly one number from rng."""
        return self.ppf(rng.random())

    @property
    def size(self) -> int | None:
        """How many different values it has; None for infinitely many."""
        return None

    @property
    def is_discrete(self) -> bool:
        """Whether a value may well be drawn twice."""
        return self.size is not None

    def value_at(self, index: int) -> Any:
        """Return the value of that number. Raises IndexError outside `range(size)`."""
        raise IndexError(f"{self.kind} has no numbered values")

    def index_of(self, value: Any) -> int | None:
        """Return the value's number; None when it is not one of them."""
        return None

    @property
    def grid_size(self) -> int | None:
        """How many values it gives to a grid; None where W&B allows no grid over it."""
        return None

    def grid_value(self, index: int) -> Any:
        """Return the value of that place in the grid. Raises IndexError outside `range(grid_size)`."""
        raise IndexError(f"{self.kind} has no grid")

    def grid_index(self, value: Any) -> int | None:
        """Return the value's place in the grid; None when it has none."""
        return None


class Listed(Distribution):
    """A finite distribution whose grid is simply all of its values."""

    __slots__ = ()

    @property
    def grid_size(self) -> int | None:
        return self.size

    def grid_value(self, index: int) -> Any:
        return self.value_at(index)

    def grid_index(self, value: Any) -> int | None:
        return self.index_of(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell a number that a float can hold from everything else, bools and the infinities included."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def are_whole(*values: object) -> bool:
    """Tell whether all are ints, as opposed to floats with nothing behind the point."""
    return all(isinstance(value, int) for value in values)


def check_number(kind: str, **values: object) -> None:
    """Raise SpaceError for the first of the named values that is not a finite number."""
    for name, value in values.items():
        if not is_number(value):
            raise SpaceError(f"{kind} needs a finite number as {name}, got {value!r}")


def check_bounds(kind: str, minimum: float, maximum: float) -> None:
    """Raise SpaceError unless both are finite numbers and the first is smaller."""
    check_number(kind, min=minimum, max=maximum)
    if minimum >= maximum:
        cure = "swap them" if minimum > maximum else f"for this one value write value: {minimum}"
        raise SpaceError(f"{kind} needs min < max, got min {minimum} and max {maximum}; {cure}")
    if not is_number(maximum - minimum):
        raise SpaceError(f"{kind} needs bounds less far apart than min {minimum} and max {maximum}")


def check_probability(u: float) -> None:
    if not 0.0 <= u <= 1.0:
        raise ValueError(f"a cumulative probability lies in [0, 1], got {u!r}")


def check_index(index: int, size: int | None) -> None:
    if size is None or not 0 <= index < size:
        raise IndexError(f"index {index} is not in range({size})")


def comparable(kind: str, value: object) -> float:
    """Return the value if numbers can be compared with it, infinities included; raise SpaceError if not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise SpaceError(f"{kind} holds numbers, got {value!r}")
    return value


def share(u: float, n: int) -> int:
    """Return which of n equal shares of [0, 1] holds u, from 0; a border belongs to the share below it."""
    check_probability(u)
    index = max(math.ceil(u * n) - 1, 0)
    # u * n may round up past a border
    return index - 1 if index and index / n >= u else index
