"""Distributions around a centre: normal, log-normal, beta."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

from smsweep.errors import SpaceError
from smsweep.space.beta import beta_cdf, beta_ppf
from smsweep.space.distribution import check_number, comparable
from smsweep.space.numeric import MAX_EXPONENT, Continuous

STANDARD = NormalDist()
TAIL = 2.0**-53  # the least chance that a random float can stand for; beyond it lie the infinities
MAX_DEVIATIONS = 8.3  # more than any u between TAIL and 1 - TAIL leads to
MAX_SHAPE = 1e8  # of a beta: its logarithms lose their digits in rounding beyond


def _deviations(u: float) -> float:
    return STANDARD.inv_cdf(min(max(u, TAIL), 1.0 - TAIL))


def _probability(deviations: float) -> float:
    return 0.5 * math.erfc(-deviations / math.sqrt(2))  # NormalDist.cdf is coarse far below the mean


def _check_centre(kind: str, mu: float, sigma: float, limit: float) -> None:
    check_number(kind, mu=mu, sigma=sigma)
    if sigma < 0:
        raise SpaceError(f"{kind} needs sigma of at least 0, got {sigma}")
    if abs(mu) + MAX_DEVIATIONS * sigma > limit:
        raise SpaceError(
            f"{kind} leads beyond what floats can hold with mu {mu} and sigma {sigma}; lower them"
            + (", they are those of the logarithm" if kind.endswith("log_normal") else "")
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
    a: float = 1.0  # above 0; the larger, the less weight near 0
    b: float = 1.0  # above 0; the larger, the less weight near 1

    def __post_init__(self) -> None:
        check_number(self.kind, a=self.a, b=self.b)
        if self.a <= 0 or self.b <= 0:
            raise SpaceError(f"{self.kind} needs a > 0 and b > 0, got a {self.a} and b {self.b}")
        if max(self.a, self.b) > MAX_SHAPE:
            raise SpaceError(
                f"{self.kind} leads beyond what floats can hold with a {self.a} and b {self.b}; "
                f"lower them to at most {MAX_SHAPE:.0e}"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def quantile(self, u: float) -> float:
        return beta_ppf(u, self.a, self.b)

    def cdf(self, value: Any) -> float:
        return beta_cdf(comparable(self.kind, value), self.a, self.b)
