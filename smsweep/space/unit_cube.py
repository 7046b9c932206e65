"""Params as points of the unit cube: one coordinate per variable parameter, on the scale of its distribution.

The coordinate of a parameter that does not exist, because of a condition, is INACTIVE.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smsweep.space.choices import CHOICES
from smsweep.space.distribution import MISSING, Distribution, is_number
from smsweep.space.normal import Quantised
from smsweep.space.numeric import coordinate_of
from smsweep.space.space import SearchSpace

MAX_LEVELS = 1024  # an axis with more values is treated as continuous
TAIL = 1 / 512  # the levels of an infinite distribution end at this probability
MIDDLE = 0.5
N_POOL, N_FRESH = 256, 32  # points of a scan under constraints that are the same, and new, in each call
N_NEARBY = 32  # valid points, of which the nearest replaces a point that breaks a constraint
UNLISTED = -1.0  # on a nominal axis: a value that is not listed
INACTIVE = -2.0  # on any axis: the parameter does not exist
ORDERED, NOMINAL, CONDITIONAL = range(3)  # how an axis measures distances; CONDITIONAL is ordered
Kinds = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Axis:
    """One dimension of the cube."""

    distribution: Distribution
    levels: tuple[Any, ...] = ()  # the values by coordinate; () if the axis is continuous
    coordinates: Array = field(default_factory=lambda: np.empty(0))  # of the levels, ascending
    is_nominal: bool = False  # the levels have no order
    by_number: tuple[float, ...] = ()  # number of a listed value -> coordinate
    by_level: Mapping[Any, float] = field(default_factory=dict)  # numeric level -> coordinate

    def encode(self, value: Any) -> tuple[float, bool]:
        """Return the coordinate of a value, and True if the value belongs to this axis.

        A number out of range gets the nearer end. A missing value, or a value of another type, gets the middle;
        on a nominal axis, it gets a coordinate apart from all levels.
        """
        if isinstance(self.distribution, CHOICES):
            number = self.distribution.index_of(value)
            if number is None:
                return (UNLISTED if self.is_nominal else MIDDLE), False
            return self.by_number[number], True
        if type(value) in (int, float) and (place := self.by_level.get(value)) is not None:
            return place, True
        if not is_number(value):
            return MIDDLE, False
        coordinate = coordinate_of(self.distribution, value)
        if 0.0 < coordinate < 1.0:
            return coordinate, True
        end = float(self.distribution.ppf(coordinate))
        return coordinate, abs(value - end) <= 1e-9 * max(abs(end), 1.0)

    def decode(self, coordinate: float) -> Any:
        if self.levels:
            return self.levels[int(self._nearest(coordinate))]
        return self.distribution.ppf(min(max(coordinate, 0.0), 1.0))

    def decode_all(self, coordinates: Array) -> list[Any]:
        if self.levels:
            return [self.levels[i] for i in self._nearest(coordinates).tolist()]
        return [self.distribution.ppf(u) for u in np.clip(coordinates, 0.0, 1.0).tolist()]

    def snap(self, coordinates: Array) -> Array:
        """Return the nearest valid coordinate of each coordinate."""
        if self.levels:
            return self.coordinates[self._nearest(coordinates)]
        return np.clip(coordinates, 0.0, 1.0)

    def _nearest(self, coordinates: Array | float) -> NDArray[np.intp]:
        borders = (self.coordinates[1:] + self.coordinates[:-1]) / 2
        return np.asarray(np.searchsorted(borders, coordinates))


class Cube:
    """The unit cube over the parameters of a space that have more than one value."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._axes = {i: _axis(leaf) for i, (_, leaf) in enumerate(space.leaves) if leaf.size != 1}
        structure = space.structure
        self._constrained = frozenset(structure.involved() if structure is not None else ())
        self._requirements = structure.requirements if structure is not None else [()] * len(space.leaves)
        self._order = structure.order if structure is not None and structure.has_conditions else []
        self._parents = {parent for requirements in self._requirements for parent, _ in requirements}
        self._pool: Array | None = None
        self.is_nominal = np.array([axis.is_nominal for axis in self._axes.values()], dtype=bool)
        self.is_conditional = np.array([bool(self._requirements[i]) for i in self._axes], dtype=bool)
        self.kinds: Kinds = np.where(
            self.is_nominal, NOMINAL, np.where(self.is_conditional, CONDITIONAL, ORDERED)
        ).astype(np.int8)

    @property
    def d(self) -> int:
        return len(self._axes)

    def encode(self, params: Mapping[str, Any]) -> tuple[Array, int]:
        """Return the point of params, and how many of its coordinates are guesses (see `Axis.encode`)."""
        values = self._space.flatten(params)
        places = self._places(values)
        if self._order:
            places |= self._inactive(values)
        return np.array([places[i][0] for i in self._axes]), sum(not places[i][1] for i in self._axes)

    def coordinates(self, values: Sequence[Any]) -> Array:
        """Return the coordinates of one value per leaf. Conditions do not apply."""
        return np.array([place for place, _ in self._places(values).values()])

    def _places(self, values: Sequence[Any]) -> dict[int, tuple[float, bool]]:
        return {i: axis.encode(values[i]) for i, axis in self._axes.items()}

    def _inactive(self, values: Sequence[Any]) -> dict[int, tuple[float, bool]]:
        """Return the places of the leaves that do not exist. One is a guess if its conditions are not known."""
        exists = self._existing(values)
        is_known: dict[int, bool] = {}
        for i in self._order:
            refuted = (
                is_known[j] if not exists[j] else values[j] is not MISSING and values[j] not in allowed
                for j, allowed in self._requirements[i]
            )
            is_known[i] = exists[i] or any(refuted)
        return {i: (INACTIVE, is_known[i]) for i, has_value in enumerate(exists) if not has_value}

    def _existing(self, values: Sequence[Any]) -> list[bool]:
        structure = self._space.structure
        return structure.existing(values) if structure is not None else [True] * len(values)

    def decode(self, point: Array) -> dict[str, Any]:
        values = self._constants()
        for (i, axis), coordinate in zip(self._axes.items(), point.tolist(), strict=True):
            values[i] = axis.decode(coordinate)
        structure = self._space.structure
        return self._space.nest(values if structure is None else structure.active(values))

    def _constants(self) -> list[Any]:
        """Return one value per leaf: of a constant its value, of others None."""
        return [leaf.ppf(0.5) if leaf.size == 1 else None for _, leaf in self._space.leaves]

    def snap(self, points: Array) -> Array:
        """Return the nearest points that params can have, so that a search scores exactly what it proposes.

        A parameter whose conditions do not hold gets INACTIVE. If they hold, INACTIVE becomes the middle.
        """
        if self._order:
            points = np.where(points == INACTIVE, MIDDLE, points)
        snapped = np.empty_like(points)
        for j, axis in enumerate(self._axes.values()):
            snapped[:, j] = axis.snap(points[:, j])
        if self._order:
            self._deactivate(snapped)
        return snapped

    def _deactivate(self, points: Array) -> None:
        """Set the coordinates of the parameters that do not exist to INACTIVE, in place."""
        columns = {i: j for j, i in enumerate(self._axes)}
        constants = self._constants()
        values = {  # of the leaves that others depend on
            i: self._axes[i].decode_all(points[:, columns[i]]) if i in columns else [constants[i]] * len(points)
            for i in self._parents
        }
        exists = dict.fromkeys(self._order, np.ones(len(points), dtype=bool))
        for i in self._order:
            for j, allowed in self._requirements[i]:
                # the same test as in `Structure.existing`, so that a point and its params agree
                exists[i] = exists[i] & exists[j] & np.array([value in allowed for value in values[j]], dtype=bool)
            if i in columns:
                points[~exists[i], columns[i]] = INACTIVE

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw [n, d] points that meet all constraints, from the law of the space."""
        if not self._constrained:
            return self.snap(rng.random((n, self.d)))
        chance = random.Random(int(rng.integers(2**63)))  # noqa: S311 - reproducible, not a secret
        return np.array([self.encode(self._space.sample(chance))[0] for _ in range(n)]).reshape(n, self.d)

    def scan(self, n: int, rng: np.random.Generator) -> Array:
        """Return points from everywhere in the space that meet all constraints: n, or fewer under constraints.

        Draws under constraints are slow, so most of the points are the same in each call.
        """
        if not self._constrained:
            return self.draw(n, rng)
        if self._pool is None:
            self._pool = self.draw(N_POOL, np.random.default_rng(0))
        return np.vstack([self._pool, self.draw(N_FRESH, rng)])

    def are_feasible(self, points: Array) -> NDArray[np.bool_]:
        """Return for each of [n, d] points whether it meets all constraints."""
        structure = self._space.structure
        if structure is None or not self._constrained:
            return np.ones(len(points), dtype=bool)
        values = self._constants()
        columns = [(i, axis, j) for j, (i, axis) in enumerate(self._axes.items()) if i in self._constrained]
        rows = zip(*(axis.decode_all(points[:, j]) for _, axis, j in columns), strict=True)
        feasible = np.empty(len(points), dtype=bool)
        for k, row in enumerate(rows):
            for (i, _, _), value in zip(columns, row, strict=True):
                values[i] = value
            feasible[k] = structure.is_feasible(structure.active(values))
        return feasible

    def nearest_feasible(self, point: Array, rng: np.random.Generator) -> Array:
        """Return a point if it meets all constraints, else the nearest of some that do."""
        if self.are_feasible(point[None])[0]:
            return point
        drawn = self.draw(N_NEARBY, rng)
        distance = sum(gap[:, 0] ** 2 for gap in gaps(drawn, point[None], self.kinds))
        nearest: Array = drawn[int(np.argmin(distance))]
        return nearest


def _axis(distribution: Distribution) -> Axis:
    if isinstance(distribution, CHOICES):
        values = [distribution.value_at(i) for i in range(distribution.size)]
        # numbers such as 16, 32, 64 are ordered; two values need no order
        is_ranked = len(values) > 2 and all(is_number(value) for value in values)
        order = sorted(range(len(values)), key=values.__getitem__) if is_ranked else list(range(len(values)))
        coordinates = (np.arange(len(values)) + 0.5) / len(values)
        return Axis(
            distribution=distribution,
            levels=tuple(values[number] for number in order),
            coordinates=coordinates,
            is_nominal=not is_ranked,
            by_number=tuple(coordinates[np.argsort(order)].tolist()),
        )
    levels = tuple(_numeric_levels(distribution))
    coordinates = np.array([coordinate_of(distribution, level) for level in levels])
    by_level = dict(zip(levels, coordinates.tolist(), strict=True))
    return Axis(distribution=distribution, levels=levels, coordinates=coordinates, by_level=by_level)


def _numeric_levels(distribution: Distribution) -> list[Any]:
    """Return the values of a numeric distribution in ascending order; [] if there are too many."""
    size = distribution.size
    if size is not None:
        return [distribution.value_at(i) for i in range(size)] if size <= MAX_LEVELS else []
    if isinstance(distribution, Quantised):
        met = {distribution.ppf(u) for u in np.arange(TAIL, 1.0, TAIL).tolist()}
        return sorted(met) if len(met) <= MAX_LEVELS / 4 else []
    return []


Array = NDArray[np.float64]
SQRT5 = 5.0**0.5


def matern(r: Array, square: Array) -> Array:
    """Return the Matérn 5/2 correlation at the distances r >= 0. square: r * r."""
    t = -SQRT5 * r
    decay = np.exp(t)
    # in place, because this function takes most of the time of a suggestion
    polynomial = square * (5.0 / 3.0)
    polynomial -= t
    polynomial += 1.0
    polynomial *= decay
    return polynomial


def gaps(a: Array, b: Array, kinds: Kinds) -> Iterator[Array]:
    """Yield the distances [len(a), len(b)] between the points of a and of b, one array per dimension.

    In a nominal dimension, the distance of two different values is 1. In a conditional one, a coordinate is an
    angle on the unit circle, and INACTIVE is the center: the distance is the chord between two values, and 1
    between a value and INACTIVE. All of these are distances of points in a Euclidean space, so that kernels stay
    positive definite.

    Source: Swersky et al., Raiders of the Lost Architecture: Kernels for Bayesian Optimization in Conditional
    Parameter Spaces, arXiv:1409.4011.
    """
    for column_a, column_b, kind in zip(a.T, b.T, kinds.tolist(), strict=True):
        gap = column_a[:, None] - column_b
        if kind == NOMINAL:
            yield (gap != 0.0).astype(float)
        elif kind == ORDERED:
            yield np.abs(gap)
        else:
            is_one_inactive = (column_a == INACTIVE)[:, None] != (column_b == INACTIVE)
            yield np.where(is_one_inactive, 1.0, 2.0 * np.sin(np.abs(gap) / 2.0))
