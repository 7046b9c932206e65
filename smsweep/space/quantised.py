"""Distributions rounded to multiples of q."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from smsweep.errors import SpaceError
from smsweep.space.distribution import are_whole, check_index, check_number, check_probability, is_number
from smsweep.space.normal import Beta, LogNormal, Normal
from smsweep.space.numeric import Continuous, LogUniform, LogUniformValues, Uniform

MAX_MULTIPLE = 2**50  # up to this size, division gives the exact multiple of q


class Quantised(Continuous):
    """Mixin for a distribution whose values are rounded to the nearest multiple of q.

    A tie is rounded to the even multiple. As in W&B, rounded values can be outside the bounds: between 5 and 14
    with q 10, they are 0 and 10. The values are ints if q is an int. `cdf` does not round.
    """

    __slots__ = ()
    q: float  # above 0

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]  # each class with this mixin has one
        check_number(self.kind, q=self.q)
        if self.q <= 0:
            raise SpaceError(f"{self.kind} needs q > 0, got {self.q}")
        largest = max(abs(self.quantile(0.0)), abs(self.quantile(1.0)))
        if not is_number(largest / self.q):
            raise SpaceError(f"{self.kind} needs a larger q: {largest} / {self.q} is too large")

    def _multiple(self, value: float) -> int:
        return round(value / self.q)

    def _times_q(self, multiple: int) -> int | float:
        return multiple * self.q

    def ppf(self, u: float) -> int | float:
        check_probability(u)
        return self._times_q(self._multiple(self.quantile(u)))

    @property
    def size(self) -> int | None:
        low, high = self.bounds
        if max(abs(low), abs(high)) / self.q > MAX_MULTIPLE:
            return None
        return self._multiple(high) - self._multiple(low) + 1

    @property
    def is_discrete(self) -> bool:
        return True  # also with infinitely many values

    def value_at(self, index: int) -> int | float:
        check_index(index, self.size)
        return self._times_q(self._multiple(self.bounds[0]) + index)

    def index_of(self, value: Any) -> int | None:
        size = self.size
        if size is None or not is_number(value) or not is_number(value / self.q):
            return None
        multiple = self._multiple(value)
        index = multiple - self._multiple(self.bounds[0])
        return index if 0 <= index < size and self._times_q(multiple) == value else None


@dataclass(frozen=True, kw_only=True, slots=True)
class QUniform(Quantised, Uniform):
    """Multiples of q. The grid is different, as in W&B: from min in steps of q, without max."""

    kind: ClassVar[str] = "q_uniform"
    q: float = 1.0  # if q is a float, the values are floats

    def __post_init__(self) -> None:
        Quantised.__post_init__(self)
        if not self._is_whole and self.q < 4 * math.ulp(max(abs(self.min), abs(self.max))):
            raise SpaceError(f"{self.kind} needs a larger q: {self.q} is below the rounding error at the bounds")

    @property
    def _is_whole(self) -> bool:
        return are_whole(self.min, self.max, self.q)

    @property
    def grid_size(self) -> int:
        if self._is_whole:
            return int(-((self.min - self.max) // self.q))  # rounded up, exact for all ints
        return math.ceil((self.max - self.min) / self.q)

    @property
    def _step(self) -> int | float:
        # numpy's arange repeats its first step, with the rounding error of that step
        return self.q if self._is_whole else float(self.min) + self.q - self.min

    def grid_value(self, index: int) -> int | float:
        check_index(index, self.grid_size)
        return self.min + index * self._step

    def grid_index(self, value: Any) -> int | None:
        if not is_number(value) or not is_number((value - self.min) / self._step):
            return None
        number = int(value) if value == int(value) else value
        guess = int((number - self.min) // self._step)
        for index in (guess, guess + 1):
            if 0 <= index < self.grid_size and self.grid_value(index) == value:
                return index
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class QLogUniform(Quantised, LogUniform):
    """W&B's old form, which W&B has deprecated: the bounds are exponents of e."""

    kind: ClassVar[str] = "q_log_uniform"
    q: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class QLogUniformValues(Quantised, LogUniformValues):
    kind: ClassVar[str] = "q_log_uniform_values"
    q: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class QNormal(Quantised, Normal):
    kind: ClassVar[str] = "q_normal"
    q: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class QLogNormal(Quantised, LogNormal):
    kind: ClassVar[str] = "q_log_normal"
    q: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class QBeta(Quantised, Beta):
    kind: ClassVar[str] = "q_beta"
    q: float = 1.0
