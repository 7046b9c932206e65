"""Distributions over values that the user lists."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from smsweep.errors import SpaceError
from smsweep.space.distribution import (
    Distribution,
    Listed,
    check_index,
    check_number,
    check_probability,
    identity,
    share,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant(Listed):
    """One value, which the search does not vary. All assignments match it."""

    kind: ClassVar[str] = "constant"
    value: Any  # any YAML value, null included

    def ppf(self, u: float) -> Any:
        check_probability(u)
        return self.value

    def cdf(self, value: Any) -> float:
        return 1.0

    @property
    def size(self) -> int:
        return 1

    def value_at(self, index: int) -> Any:
        check_index(index, 1)
        return self.value

    def index_of(self, value: Any) -> int:
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Categorical(Listed):
    """One of the listed values. All positions of the list have the same probability.

    A value that is listed twice is drawn twice as often. A grid has it once, at its first position.
    """

    kind: ClassVar[str] = "categorical"
    values: tuple[Any, ...]  # at least one; any YAML values, also of mixed types
    _numbers: dict[Hashable, int] = field(init=False, repr=False, compare=False)  # identity -> number
    _places: tuple[int, ...] = field(init=False, repr=False, compare=False)  # number -> first index in values
    _keys: frozenset[Any] = field(init=False, repr=False, compare=False)  # keys of all dicts among the values

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError(f"{self.kind} needs at least one value in values")
        places: dict[Hashable, int] = {}
        for place, value in enumerate(self.values):
            places.setdefault(identity(value), place)
        object.__setattr__(self, "_numbers", {key: number for number, key in enumerate(places)})
        object.__setattr__(self, "_places", tuple(places.values()))
        keys = (key for value in self.values if isinstance(value, dict) for key in value)
        object.__setattr__(self, "_keys", frozenset(keys))

    def ppf(self, u: float) -> Any:
        return self.values[share(u, len(self.values))]

    def cdf(self, value: Any) -> float:
        """Return the share of the list up to and including the value's first position."""
        number = self.index_of(value)
        if number is None:
            raise SpaceError(f"{self.kind} does not list {value!r}")
        return (self._places[number] + 1) / len(self.values)

    @property
    def size(self) -> int:
        return len(self._places)

    def value_at(self, index: int) -> Any:
        check_index(index, self.size)
        return self.values[self._places[index]]

    def index_of(self, value: Any) -> int | None:
        """Return the value's number. A dict matches also with extra keys, because scripts add keys."""
        if isinstance(value, dict) and self._keys:
            value = {key: item for key, item in value.items() if key in self._keys}
        return self._numbers.get(identity(value))


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoricalWithProbabilities(Distribution):
    """One of the listed values, with the probabilities that the user gives."""

    kind: ClassVar[str] = "categorical_w_probabilities"
    values: tuple[Any, ...]  # at least one
    probabilities: tuple[float, ...]  # one for each value, 0 or more, with a sum of about 1
    _reach: tuple[float, ...] = field(init=False, repr=False, compare=False)  # running sums
    _possible: Categorical = field(init=False, repr=False, compare=False)  # values with a probability above 0

    def __post_init__(self) -> None:
        if len(self.values) != len(self.probabilities):
            raise SpaceError(
                f"{self.kind} needs one probability for each value, "
                f"got {len(self.values)} values and {len(self.probabilities)} probabilities"
            )
        for probability in self.probabilities:
            check_number(self.kind, probability=probability)
            if probability < 0:
                raise SpaceError(f"{self.kind} needs probabilities of at least 0, got {probability}")
        total = sum(self.probabilities)
        if abs(total - 1.0) > 1e-5 + 1e-8:  # W&B's tolerance
            raise SpaceError(f"{self.kind} needs probabilities that sum to 1, got a sum of {total}")
        object.__setattr__(self, "_reach", tuple(itertools.accumulate(self.probabilities)))
        possible = (value for value, p in zip(self.values, self.probabilities, strict=True) if p > 0)
        object.__setattr__(self, "_possible", Categorical(values=tuple(possible)))

    def ppf(self, u: float) -> Any:
        check_probability(u)
        # at u = 1, or if the sum is a little below 1, use the last possible value
        last = bisect.bisect_left(self._reach, self._reach[-1])
        return self.values[min(bisect.bisect_right(self._reach, u), last)]

    def cdf(self, value: Any) -> float:
        """Return the middle of the value's part of [0, 1], because its ends can belong to a neighbour."""
        wanted = identity(value)
        for place, listed in enumerate(self.values):
            if identity(listed) == wanted:
                return min(self._reach[place] - self.probabilities[place] / 2, 1.0)
        raise SpaceError(f"{self.kind} does not list {value!r}")

    @property
    def size(self) -> int:
        return self._possible.size

    def value_at(self, index: int) -> Any:
        return self._possible.value_at(index)

    def index_of(self, value: Any) -> int | None:
        return self._possible.index_of(value)


CHOICES = (Categorical, CategoricalWithProbabilities)  # distributions over several values that the user lists
