"""Distributions around a centre (normal, log-normal, beta), and distributions rounded to multiples of q."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

from smsweep.errors import SpaceError
from smsweep.space.distribution import (
    are_whole,
    check_index,
    check_number,
    check_probability,
    comparable,
    is_number,
)
from smsweep.space.numeric import MAX_EXPONENT, Continuous, LogUniform, LogUniformValues, Uniform

STANDARD = NormalDist()
TAIL = 2.0**-53  # the smallest probability of a random float; quantiles beyond it are infinite
MAX_DEVIATIONS = 8.3  # more than the quantiles of all u between TAIL and 1 - TAIL
MAX_SHAPE = 1e8  # of a beta distribution; beyond, rounding makes its logarithms inaccurate
MAX_MULTIPLE = 2**50  # up to this size, division gives the exact multiple of q


def _deviations(u: float) -> float:
    return STANDARD.inv_cdf(min(max(u, TAIL), 1.0 - TAIL))


def _probability(deviations: float) -> float:
    return 0.5 * math.erfc(-deviations / math.sqrt(2))  # NormalDist.cdf is inaccurate far below the mean


def _check_centre(kind: str, mu: float, sigma: float, limit: float) -> None:
    check_number(kind, mu=mu, sigma=sigma)
    if sigma < 0:
        raise SpaceError(f"{kind} needs sigma of at least 0, got {sigma}")
    if abs(mu) + MAX_DEVIATIONS * sigma > limit:
        raise SpaceError(
            f"{kind} exceeds the range of floats with mu {mu} and sigma {sigma}; lower them"
            + (", they describe the logarithm" if kind.endswith("log_normal") else "")
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Normal(Continuous):
    kind: ClassVar[str] = "normal"
    mu: float = 0.0  # mean
    sigma: float = 1.0  # standard deviation; with 0, all values are mu

    def __post_init__(self) -> None:
        _check_centre(self.kind, self.mu, self.sigma, sys.float_info.max)

    @property
    def bounds(self) -> tuple[float, float]:
        return (-math.inf, math.inf) if self.sigma else (self.mu, self.mu)

    def quantile(self, u: float) -> float:
        return self.mu + self.sigma * _deviations(u)

    def cdf(self, value: Any) -> float:
        distance = comparable(self.kind, value) - self.mu
        if not self.sigma:
            return float(distance >= 0)
        return _probability(distance / self.sigma)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogNormal(Continuous):
    kind: ClassVar[str] = "log_normal"
    mu: float = 0.0  # mean of the natural logarithm
    sigma: float = 1.0  # standard deviation of the natural logarithm; with 0, all values are e^mu

    def __post_init__(self) -> None:
        _check_centre(self.kind, self.mu, self.sigma, MAX_EXPONENT)

    @property
    def bounds(self) -> tuple[float, float]:
        return (0.0, math.inf) if self.sigma else (math.exp(self.mu), math.exp(self.mu))

    def quantile(self, u: float) -> float:
        return math.exp(self.mu + self.sigma * _deviations(u))

    def cdf(self, value: Any) -> float:
        number = comparable(self.kind, value)
        if number <= 0:
            return 0.0
        if not self.sigma:
            return float(number >= math.exp(self.mu))
        return _probability((math.log(number) - self.mu) / self.sigma)


@dataclass(frozen=True, kw_only=True, slots=True)
class Beta(Continuous):
    kind: ClassVar[str] = "beta"
    a: float = 1.0  # above 0; a larger a has less weight near 0
    b: float = 1.0  # above 0; a larger b has less weight near 1

    def __post_init__(self) -> None:
        check_number(self.kind, a=self.a, b=self.b)
        if self.a <= 0 or self.b <= 0:
            raise SpaceError(f"{self.kind} needs a > 0 and b > 0, got a {self.a} and b {self.b}")
        if max(self.a, self.b) > MAX_SHAPE:
            raise SpaceError(
                f"{self.kind} exceeds the precision of floats with a {self.a} and b {self.b}; "
                f"lower them to at most {MAX_SHAPE:.0e}"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def quantile(self, u: float) -> float:
        return beta_ppf(u, self.a, self.b)

    def cdf(self, value: Any) -> float:
        return beta_cdf(comparable(self.kind, value), self.a, self.b)


EPSILON = 2.0**-53
TINY = 1e-300  # replaces 0 in a denominator
MAX_TERMS = 10_000  # of the fraction: tens for small a and b, about sqrt(a + b) for large ones
MAX_STEPS = 100  # of the inversion: usually five to ten
CLOSE = 1e-6  # Newton's method makes smaller moves only next to the solution


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the probability that a Beta(a, b) value is at most x, with a > 0 and b > 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    # the fraction converges fast only below the mean
    if x < (a + 1) / (a + b + 2):
        return min(_power(x, a, b) / a * _fraction(x, a, b), 1.0)
    return max(1.0 - _power(1 - x, b, a) / b * _fraction(1 - x, b, a), 0.0)


def beta_ppf(u: float, a: float, b: float) -> float:
    """Return the quantile of Beta(a, b) at the probability u in [0, 1]."""
    if u <= 0.0:
        return 0.0
    if u >= 1.0:
        return 1.0
    if u <= beta_cdf(0.5, a, b):
        return _lower_half(u, a, b)
    return 1.0 - _lower_half(1.0 - u, b, a)


def _lower_half(u: float, a: float, b: float) -> float:
    """Return the quantile in [0, 0.5] at the probability u.

    Solve log cdf = log u for log x, which is nearly linear also for small x. Use Newton's method, and bisection
    if a step leaves the bracket.
    """
    low, high = math.log(TINY), math.log(0.5)
    if beta_cdf(TINY, a, b) >= u:
        return 0.0
    target = math.log(u)
    t = min(max((target + math.log(a) + _log_beta(a, b)) / a, low), high)  # exact for very small x
    last_move = math.inf
    for _ in range(MAX_STEPS):
        x = math.exp(t)
        probability = beta_cdf(x, a, b)
        slope = _power(x, a, b) / (1 - x)  # of the probability by log x
        error = math.log(probability) - target if probability > 0 else -math.inf
        if error > 0:
            high = t
        else:
            low = t
        step = error * probability / slope if probability > 0 and slope > 0 else math.inf
        goal = t - step if low <= t - step <= high else (low + high) / 2
        move = abs(goal - t)
        t = goal
        # near the solution, moves shrink fast until only rounding errors remain
        if move < CLOSE and (move >= last_move or move == 0.0):
            break
        last_move = move
    return math.exp(t)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _power(x: float, a: float, b: float) -> float:
    """Return x^a (1-x)^b / B(a, b)."""
    return math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function by Lentz's method.

    Source: DLMF 8.17.22.
    """
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) <= EPSILON:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > TINY else TINY


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
