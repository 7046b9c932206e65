"""Distributions between two bounds: whole numbers, floats, and floats whose logarithm is uniform."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from smsweep.errors import SpaceError
from smsweep.space.distribution import (
    Distribution,
    Listed,
    are_whole,
    check_bounds,
    check_index,
    check_probability,
    comparable,
    is_number,
    share,
)

MAX_EXPONENT = math.log(1e308)  # exp of a larger number is not a float


@dataclass(frozen=True, kw_only=True, slots=True)
class IntUniform(Listed):
    kind: ClassVar[str] = "int_uniform"
    min: int  # the smallest value
    max: int  # the largest value, included

    def __post_init__(self) -> None:
        check_bounds(self.kind, self.min, self.max)
        if not are_whole(self.min, self.max):
            raise SpaceError(f"{self.kind} needs whole numbers, got min {self.min} and max {self.max}")

    def ppf(self, u: float) -> int:
        return self.min + share(u, self.size)

    def cdf(self, value: Any) -> float:
        below = math.floor(min(max(comparable(self.kind, value), self.min - 1), self.max)) - self.min + 1
        return below / self.size

    @property
    def size(self) -> int:
        return self.max - self.min + 1

    def value_at(self, index: int) -> int:
        check_index(index, self.size)
        return self.min + index

    def index_of(self, value: Any) -> int | None:
        if is_number(value) and value == int(value) and self.min <= value <= self.max:
            return int(value) - self.min
        return None


class Continuous(Distribution):
    """A distribution over floats. It has infinitely many values, or a single one."""

    __slots__ = ()

    @abstractmethod
    def quantile(self, u: float) -> float:
        """Return the value at u in [0, 1], before any rounding to multiples."""

    def ppf(self, u: float) -> int | float:
        check_probability(u)
        return self.quantile(u)

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value. Each can be infinite."""

    @property
    def size(self) -> int | None:
        low, high = self.bounds
        return 1 if low == high else None

    def value_at(self, index: int) -> Any:
        check_index(index, self.size)
        return self.ppf(0.5)

    def index_of(self, value: Any) -> int | None:
        return 0 if self.size == 1 and is_number(value) and value == self.ppf(0.5) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Uniform(Continuous):
    kind: ClassVar[str] = "uniform"
    min: float
    max: float  # reached only by rounding

    def __post_init__(self) -> None:
        check_bounds(self.kind, self.min, self.max)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.min, self.max

    def quantile(self, u: float) -> float:
        return float(min(self.min + u * (self.max - self.min), self.max))

    def cdf(self, value: Any) -> float:
        place = (comparable(self.kind, value) - self.min) / (self.max - self.min)
        return min(max(place, 0.0), 1.0)


class LogScale(Continuous):
    """A distribution over floats above 0 whose natural logarithm is uniform."""

    __slots__ = ()

    @property
    @abstractmethod
    def exponents(self) -> tuple[float, float]:
        """The natural logarithms of the bounds, ascending."""

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = self.exponents
        return math.exp(low), math.exp(high)

    def quantile(self, u: float) -> float:
        low, high = self.exponents
        smallest, largest = self.bounds
        # exp of a rounded logarithm can exceed a bound by the last bit
        return min(max(math.exp(low + u * (high - low)), smallest), largest)

    def cdf(self, value: Any) -> float:
        number = comparable(self.kind, value)
        if number <= 0:
            return 0.0
        low, high = self.exponents
        return min(max((math.log(number) - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogUniform(LogScale):
    """W&B's old form, which W&B has deprecated: the bounds are exponents of e."""

    kind: ClassVar[str] = "log_uniform"
    min: float  # natural logarithm of the smallest value
    max: float  # natural logarithm of the largest value

    def __post_init__(self) -> None:
        check_bounds(self.kind, self.min, self.max)
        if max(abs(self.min), abs(self.max)) > MAX_EXPONENT:
            raise SpaceError(
                f"{self.kind} takes exponents of e, at most {MAX_EXPONENT:.0f}, got min {self.min} and "
                f"max {self.max}; if these are the values themselves, use {self.kind}_values"
            )

    @property
    def exponents(self) -> tuple[float, float]:
        return self.min, self.max


@dataclass(frozen=True, kw_only=True, slots=True)
class InvLogUniform(LogUniform):
    """log_uniform with negated exponents: values from e^-max to e^-min."""

    kind: ClassVar[str] = "inv_log_uniform"

    @property
    def exponents(self) -> tuple[float, float]:
        return -self.max, -self.min


@dataclass(frozen=True, kw_only=True, slots=True)
class LogUniformValues(LogScale):
    kind: ClassVar[str] = "log_uniform_values"
    min: float  # the smallest value, above 0
    max: float  # the largest value

    def __post_init__(self) -> None:
        check_bounds(self.kind, self.min, self.max)
        if self.min <= 0:
            raise SpaceError(f"{self.kind} needs min > 0, got {self.min}; use uniform, or raise min")
        if math.log(self.min) == math.log(self.max):
            raise SpaceError(f"{self.kind} needs bounds farther apart than min {self.min} and max {self.max}")

    @property
    def exponents(self) -> tuple[float, float]:
        return math.log(self.min), math.log(self.max)

    @property
    def bounds(self) -> tuple[float, float]:
        return float(self.min), float(self.max)


@dataclass(frozen=True, kw_only=True, slots=True)
class InvLogUniformValues(LogUniformValues):
    """The same distribution as log_uniform_values: the inverse of a log-uniform value is log-uniform."""

    kind: ClassVar[str] = "inv_log_uniform_values"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReverseLogUniformValues(Continuous):
    """Values below 1 whose distance to 1 is log-uniform: ReverseLogarithmic of SageMaker. W&B has no such kind."""

    kind: ClassVar[str] = "reverse_log_uniform_values"
    min: float  # the smallest value, at least 0
    max: float  # the largest value, below 1

    def __post_init__(self) -> None:
        check_bounds(self.kind, self.min, self.max)
        if self.min < 0 or self.max >= 1:
            raise SpaceError(f"{self.kind} needs 0 <= min and max < 1, got min {self.min} and max {self.max}")

    @property
    def bounds(self) -> tuple[float, float]:
        return float(self.min), float(self.max)

    def quantile(self, u: float) -> float:
        low, high = math.log1p(-self.min), math.log1p(-self.max)
        return min(max(-math.expm1(low + u * (high - low)), self.min), self.max)

    def cdf(self, value: Any) -> float:
        number = comparable(self.kind, value)
        if number >= 1:
            return 1.0
        low, high = math.log1p(-self.min), math.log1p(-self.max)
        return min(max((math.log1p(-number) - low) / (high - low), 0.0), 1.0)


def coordinate_of(distribution: Distribution, value: float) -> float:
    """Return the coordinate of a number in [0, 1]; of an int, the middle of its part."""
    coordinate = distribution.cdf(value)
    if isinstance(distribution, IntUniform):
        coordinate = max(coordinate - 0.5 / distribution.size, 0.0)
    return coordinate
