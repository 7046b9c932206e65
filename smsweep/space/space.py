"""The space that a sweep's parameters span."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from smsweep.space.distribution import Distribution, check_index
from smsweep.space.value_key import identity

Path = tuple[str, ...]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()  # stands where params have no value for a leaf


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Named distributions and spaces within the space, sorted by name on each level, as W&B does.

    A leaf is one distribution; everything that takes or gives one thing per leaf does so in that order. The
    distinct assignments of a finite space are numbered, and so are the cells of its grid: the last leaf
    changes fastest. Nothing is ever listed, so that 10^12 cells cost what 10 do.
    """

    parameters: Mapping[str, Distribution | SearchSpace]  # by name; empty is allowed here
    leaves: tuple[tuple[Path, Distribution], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        leaves: list[tuple[Path, Distribution]] = []
        for name, item in sorted(self.parameters.items()):
            if isinstance(item, SearchSpace):
                leaves.extend(((name, *path), leaf) for path, leaf in item.leaves)
            else:
                leaves.append(((name,), item))
        object.__setattr__(self, "leaves", tuple(leaves))

    def nest(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return params from one value per leaf; MISSING ones are left out. Lists and dicts are copied."""
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
        """Return one value per leaf, MISSING where params have none; other keys are passed over."""
        return [_lookup(params, path) for path, _ in self.leaves]

    def ppf(self, us: Sequence[float]) -> dict[str, Any]:
        """Return the params at a point of the unit cube, one number per leaf, constants included."""
        return self.nest([leaf.ppf(u) for (_, leaf), u in zip(self.leaves, us, strict=True)])

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Draw params; takes exactly one number from rng per leaf."""
        return self.nest([leaf.sample(rng) for _, leaf in self.leaves])

    @property
    def size(self) -> int | None:
        """How many different assignments can be drawn; None for infinitely many."""
        return _product([leaf.size for _, leaf in self.leaves])

    def assignment(self, index: int) -> dict[str, Any]:
        """Return the assignment of that number. Raises IndexError outside `range(size)`."""
        check_index(index, self.size)
        digits = _digits(index, [leaf.size for _, leaf in self.leaves])
        return self.nest([leaf.value_at(digit) for (_, leaf), digit in zip(self.leaves, digits, strict=True)])

    def index(self, params: Mapping[str, Any]) -> int | None:
        """Return the number of the assignment that params hold; None if they hold none.

        Constants and keys that no leaf has are passed over; a missing value is no assignment.
        """
        return _number([(leaf.index_of(_lookup(params, path)), leaf.size) for path, leaf in self.leaves])

    @property
    def is_discrete(self) -> bool:
        """Whether an assignment may well be drawn twice, finitely many or not."""
        return all(leaf.is_discrete for _, leaf in self.leaves)

    def key(self, params: Mapping[str, Any]) -> Hashable:
        """Return what is equal for params that hold the same assignment; read as `index` does, but never None."""
        values = zip(self.leaves, self.flatten(params), strict=True)
        return tuple(identity(value) for (_, leaf), value in values if leaf.size != 1)

    @property
    def grid_size(self) -> int | None:
        """How many cells the grid has; None when a leaf cannot be in a grid."""
        return _product([leaf.grid_size for _, leaf in self.leaves])

    def grid_cell(self, index: int) -> dict[str, Any]:
        """Return the params of that cell, in W&B's order. Raises IndexError outside `range(grid_size)`."""
        check_index(index, self.grid_size)
        digits = _digits(index, [leaf.grid_size for _, leaf in self.leaves])
        return self.nest([leaf.grid_value(digit) for (_, leaf), digit in zip(self.leaves, digits, strict=True)])

    def grid_index(self, params: Mapping[str, Any]) -> int | None:
        """Return the cell that params cover; None if they cover none. Reads them as `index` does."""
        return _number([(leaf.grid_index(_lookup(params, path)), leaf.grid_size) for path, leaf in self.leaves])


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
    """Return the number's digits, one per base, the last changing fastest."""
    digits = []
    for base in reversed(bases):
        number, digit = divmod(number, base or 1)
        digits.append(digit)
    return digits[::-1]


def _number(digits_and_bases: Sequence[tuple[int | None, int | None]]) -> int | None:
    """Undo `_digits`; None when a digit is."""
    number = 0
    for digit, base in digits_and_bases:
        if digit is None or base is None:
            return None
        number = number * base + digit
    return number
