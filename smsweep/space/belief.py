"""The user's belief where the optimum of a parameter is."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from smsweep.space.choices import CHOICES
from smsweep.space.distribution import Distribution
from smsweep.space.numeric import coordinate_of

WIDTH = 0.1  # standard deviation of a belief about a number, as a share of the range


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """Where the user expects the optimum of one parameter, and how sure the user is."""

    around: Any  # a value of the parameter
    confidence: float  # probability that the optimum is near this value, above 0 and below 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """A normal density with the deviation WIDTH on the edge [0, 1] of the unit cube, around a coordinate."""

    center: float
    _normal: NormalDist = field(init=False, repr=False, compare=False)
    _below: float = field(init=False, repr=False, compare=False)  # probability of coordinates below 0
    _inside: float = field(init=False, repr=False, compare=False)  # probability of [0, 1]

    def __post_init__(self) -> None:
        normal = NormalDist(self.center, WIDTH)
        object.__setattr__(self, "_normal", normal)
        object.__setattr__(self, "_below", normal.cdf(0.0))
        object.__setattr__(self, "_inside", normal.cdf(1.0) - normal.cdf(0.0))

    def pdf(self, u: float) -> float:
        """Return the density at a coordinate of [0, 1]."""
        return self._normal.pdf(u) / self._inside

    def ppf(self, p: float) -> float:
        """Return the coordinate at the cumulative probability p in [0, 1]."""
        at = min(max(self._below + p * self._inside, 1e-300), 1.0 - 1e-16)
        return min(max(self._normal.inv_cdf(at), 0.0), 1.0)


def split(belief: Belief, u: float) -> tuple[bool, float]:
    """Return True if a uniform number selects the belief, and the number scaled to [0, 1] again."""
    if u < belief.confidence:
        return True, u / belief.confidence
    return False, (u - belief.confidence) / (1.0 - belief.confidence)


def believed_value(distribution: Distribution, belief: Belief, u: float) -> Any:
    """Return the value at u in [0, 1) of the mix of a belief and a distribution.

    With the probability `confidence`, the value is near `around`; a listed value is equal to it. Otherwise it is a
    draw from the distribution.
    """
    is_near, part = split(belief, u)
    if not is_near:
        return distribution.ppf(part)
    if isinstance(distribution, CHOICES):
        number = distribution.index_of(belief.around)
        return belief.around if number is None else distribution.value_at(number)
    return distribution.ppf(Peak(center=coordinate_of(distribution, belief.around)).ppf(part))
