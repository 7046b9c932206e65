"""The search space of a sweep."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.space.belief import Belief
from smsweep.space.distribution import MISSING, Distribution, check_index, identity
from smsweep.space.feasible import FeasibleDraws
from smsweep.space.numbering import Numbering, TooManyCombinations
from smsweep.space.structure import Condition, Structure

Path = tuple[str, ...]


MAX_STEPS = 20_000  # to count the assignments of a space with conditions or constraints
MAX_GRID_STEPS = 300_000  # to count the cells of its grid


@dataclass(frozen=True, slots=True)
class _Kind:
    """A way to number the values of each leaf."""

    name: str
    size: Callable[[Distribution], int | None]
    value: Callable[[Distribution, int], Any]
    number: Callable[[Distribution, Any], int | None]
    max_steps: int  # to count the combinations of the leaves


ASSIGNMENTS = _Kind(
    "assignments",
    size=lambda leaf: leaf.size,
    value=lambda leaf, number: leaf.value_at(number),
    number=lambda leaf, value: leaf.index_of(value),
    max_steps=MAX_STEPS,
)
GRID = _Kind(
    "grid",
    size=lambda leaf: leaf.grid_size,
    value=lambda leaf, number: leaf.grid_value(number),
    number=lambda leaf, value: leaf.grid_index(value),
    max_steps=MAX_GRID_STEPS,
)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Named distributions and nested spaces, sorted by name on each level, as in W&B.

    A leaf is one distribution. All sequences with one item per leaf are in the order of `leaves`. The distinct
    assignments of a finite space are numbered, and so are the cells of its grid; the last leaf changes fastest. No
    method lists them, so that 10^12 cells cost as much as 10.

    Params do not have a leaf whose conditions do not hold. Draws, assignments and cells meet all constraints.

    Attributes:
        parameters: The distributions and nested spaces by name; can be empty.
        conditions: When some of the parameters exist; the others always exist.
        constraints: Expressions that all params meet.
        leaves: The path and the distribution of each leaf.
        structure: The conditions and constraints, compiled; None if there are none.

    Raises:
        SpaceError: A condition or a constraint does not fit the parameters.
    """

    parameters: Mapping[str, Distribution | SearchSpace]
    conditions: tuple[Condition, ...] = ()
    constraints: tuple[str, ...] = ()
    leaves: tuple[tuple[Path, Distribution], ...] = field(init=False, repr=False, compare=False)
    structure: Structure | None = field(init=False, repr=False, compare=False)
    draws: FeasibleDraws | None = field(init=False, repr=False, compare=False)
    _numberings: dict[str, Numbering | None] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        leaves: list[tuple[Path, Distribution]] = []
        for name, item in sorted(self.parameters.items()):
            if isinstance(item, SearchSpace):
                leaves.extend(((name, *path), leaf) for path, leaf in item.leaves)
            else:
                leaves.append(((name,), item))
        object.__setattr__(self, "leaves", tuple(leaves))
        structure = self._compiled() if self.conditions or self.constraints else None
        object.__setattr__(self, "structure", structure)
        object.__setattr__(self, "draws", FeasibleDraws(structure) if structure is not None else None)

    def nest(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return params from one value per leaf, without MISSING values. Lists and dicts are copied."""
        params: dict[str, Any] = {}
        for (path, _), value in zip(self.leaves, values, strict=True):
            if value is MISSING:
                continue
            level = params
            for name in path[:-1]:
                level = level.setdefault(name, {})
            level[path[-1]] = copy.deepcopy(value)
        return params

    def flatten(self, params: Mapping[str, Any]) -> list[Any]:
        """Return one value per leaf, MISSING if params have none or it does not exist. Ignores other keys."""
        return self._active([_lookup(params, path) for path, _ in self.leaves])

    def missing(self, params: Mapping[str, Any]) -> list[Path]:
        """Return the paths of the leaves that exist, but whose values params do not have."""
        values = self.flatten(params)
        exists = self.structure.existing(values) if self.structure is not None else [True] * len(values)
        items = zip(self.leaves, values, exists, strict=True)
        return [path for (path, _), value, has_value in items if has_value and value is MISSING]

    def ppf(self, us: Sequence[float]) -> dict[str, Any]:
        """Return the params at a point of the unit cube with one coordinate per leaf, constants included.

        Constraints do not apply.
        """
        return self.nest(self._active([leaf.ppf(u) for (_, leaf), u in zip(self.leaves, us, strict=True)]))

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Draw params. Without constraints, with exactly one number of rng per leaf."""
        if self.draws is not None:
            return self.nest(self.draws.draw(rng))
        return self.nest([leaf.sample(rng) for _, leaf in self.leaves])

    def draws_of(
        self, beliefs: Mapping[str, Belief] | None = None, given: Sequence[Any] | None = None
    ) -> FeasibleDraws:
        """Return the draws of values, one per leaf, under beliefs and with given values.

        Args:
            beliefs: The beliefs by dotted names.
            given: One value per leaf, MISSING for any value. A leaf with a given value must exist.
        """
        structure = self.structure or self._compiled()
        names = [".".join(path) for path, _ in self.leaves]
        return FeasibleDraws(
            structure if given is None else structure.with_values(given),
            [(beliefs or {}).get(name) for name in names],
        )

    def _compiled(self) -> Structure:
        named = {".".join(path): leaf for path, leaf in self.leaves}
        return Structure(named, self.conditions, self.constraints)

    def _active(self, values: list[Any]) -> list[Any]:
        return values if self.structure is None else self.structure.active(values)

    def is_feasible(self, params: Mapping[str, Any]) -> bool:
        """Return True if params meet all constraints. Reads params as `index` does."""
        return self.structure is None or self.structure.is_feasible(self.flatten(params))

    def check_feasible(self) -> None:
        """Raise SpaceError if no params meet the constraints, or none are found in a limited search."""
        if self.draws is not None and self.constraints:
            self.draws.check()

    @property
    def size(self) -> int | None:
        """The number of different assignments; None for infinitely many, or too many to count."""
        return self._size(ASSIGNMENTS)

    def assignment(self, index: int) -> dict[str, Any]:
        """Return the assignment with that number. Raises IndexError outside `range(size)`."""
        return self._params_at(index, ASSIGNMENTS)

    def index(self, params: Mapping[str, Any]) -> int | None:
        """Return the number of the assignment in params; None if a value is missing or not in the space.

        Constants, and keys without a leaf, are ignored. So are values of leaves that do not exist.
        """
        return self._number_of(params, ASSIGNMENTS)

    @property
    def is_discrete(self) -> bool:
        """True if the same assignment can be drawn twice, also in an infinite space."""
        return all(leaf.is_discrete for _, leaf in self.leaves)

    def key(self, params: Mapping[str, Any]) -> Hashable:
        """Return a key that is equal for params with the same assignment. Reads params as `index` does."""
        values = zip(self.leaves, self.flatten(params), strict=True)
        return tuple(identity(value) for (_, leaf), value in values if leaf.size != 1)

    @property
    def grid_size(self) -> int | None:
        """The number of grid cells; None if a leaf cannot be in a grid, or there are too many to count."""
        return self._size(GRID)

    def grid_cell(self, index: int) -> dict[str, Any]:
        """Return the params of a cell, in W&B's order. Raises IndexError outside `range(grid_size)`."""
        return self._params_at(index, GRID)

    def grid_index(self, params: Mapping[str, Any]) -> int | None:
        """Return the cell that params cover; None if there is none. Reads params as `index` does."""
        return self._number_of(params, GRID)

    def _size(self, kind: _Kind) -> int | None:
        if self.structure is None:
            return _product([kind.size(leaf) for _, leaf in self.leaves])
        numbering = self._numbering(kind)
        return numbering.size if numbering is not None else None

    def _params_at(self, index: int, kind: _Kind) -> dict[str, Any]:
        numbering = self._numbering(kind)
        check_index(index, self._size(kind))
        digits = (
            numbering.digits(index)
            if numbering is not None
            else _digits(index, [kind.size(leaf) for _, leaf in self.leaves])
        )
        items = zip(self.leaves, digits, strict=True)
        return self.nest([MISSING if digit is None else kind.value(leaf, digit) for (_, leaf), digit in items])

    def _number_of(self, params: Mapping[str, Any], kind: _Kind) -> int | None:
        values = [_lookup(params, path) for path, _ in self.leaves]
        if self.structure is None:
            items = zip(self.leaves, values, strict=True)
            return _number([(kind.number(leaf, value), kind.size(leaf)) for (_, leaf), value in items])
        numbering = self._numbering(kind)
        if numbering is None:
            return None
        digits: list[int | None] = []
        for leaf, value, exists in zip(
            self.structure.leaves, values, self.structure.existing(values), strict=True
        ):
            digit = kind.number(leaf, value) if exists else None
            if exists and digit is None:
                return None
            digits.append(digit)
        return numbering.number(digits)

    def _numbering(self, kind: _Kind) -> Numbering | None:
        """Return the numbering of the combinations; None without conditions and constraints, or if impossible."""
        if self.structure is None:
            return None
        if kind.name not in self._numberings:
            self._numberings[kind.name] = self._make_numbering(self.structure, kind)
        return self._numberings[kind.name]

    def _make_numbering(self, structure: Structure, kind: _Kind) -> Numbering | None:
        sizes = [size for _, leaf in self.leaves if (size := kind.size(leaf)) is not None]
        if len(sizes) < len(self.leaves):
            return None

        def value_at(i: int, digit: int) -> Any:
            return kind.value(structure.leaves[i], digit)

        try:
            return Numbering(structure, sizes, value_at, kind.max_steps)
        except TooManyCombinations:
            return None


def _lookup(params: Mapping[str, Any], path: Path) -> Any:
    value: Any = params
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def _product(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _digits(number: int, bases: Sequence[int | None]) -> list[int]:
    """Return the digits of a number, one per base. The last digit changes fastest."""
    digits = []
    for base in reversed(bases):
        number, digit = divmod(number, base or 1)
        digits.append(digit)
    return digits[::-1]


def _number(digits_and_bases: Sequence[tuple[int | None, int | None]]) -> int | None:
    """Return the number with these digits; None if a digit is None. The inverse of `_digits`."""
    number = 0
    for digit, base in digits_and_bases:
        if digit is None or base is None:
            return None
        number = number * base + digit
    return number
