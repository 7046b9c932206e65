"""The search space of a sweep."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from smsweep.space.distribution import Distribution, check_index, identity

Path = tuple[str, ...]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()  # the value of a leaf that params do not have


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Named distributions and nested spaces, sorted by name on each level, as in W&B.

    A leaf is one distribution. All sequences with one item per leaf are in the order of `leaves`. The distinct
    assignments of a finite space are numbered, and so are the cells of its grid; the last leaf changes fastest. No
    method lists them, so that 10^12 cells cost as much as 10.

    Attributes:
        parameters: The distributions and nested spaces by name; can be empty.
        leaves: The path and the distribution of each leaf.
    """

    parameters: Mapping[str, Distribution | SearchSpace]
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
        """Return one value per leaf, MISSING if params have none. Other keys are ignored."""
        return [_lookup(params, path) for path, _ in self.leaves]

    def ppf(self, us: Sequence[float]) -> dict[str, Any]:
        """Return the params at a point of the unit cube with one coordinate per leaf, constants included."""
        return self.nest([leaf.ppf(u) for (_, leaf), u in zip(self.leaves, us, strict=True)])

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Draw params, with exactly one number of rng per leaf."""
        return self.nest([leaf.sample(rng) for _, leaf in self.leaves])

    @property
    def size(self) -> int | None:
        """The number of different assignments; None for infinitely many."""
        return _product([leaf.size for _, leaf in self.leaves])

    def assignment(self, index: int) -> dict[str, Any]:
        """Return the assignment with that number. Raises IndexError outside `range(size)`."""
        check_index(index, self.size)
        digits = _digits(index, [leaf.size for _, leaf in self.leaves])
        return self.nest([leaf.value_at(digit) for (_, leaf), digit in zip(self.leaves, digits, strict=True)])

    def index(self, params: Mapping[str, Any]) -> int | None:
        """Return the number of the assignment in params; None if a value is missing or not in the space.

        Constants, and keys without a leaf, are ignored.
        """
        return _number([(leaf.index_of(_lookup(params, path)), leaf.size) for path, leaf in self.leaves])

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
        """The number of grid cells; None if a leaf cannot be in a grid."""
        return _product([leaf.grid_size for _, leaf in self.leaves])

    def grid_cell(self, index: int) -> dict[str, Any]:
        """Return the params of a cell, in W&B's order. Raises IndexError outside `range(grid_size)`."""
        check_index(index, self.grid_size)
        digits = _digits(index, [leaf.grid_size for _, leaf in self.leaves])
        return self.nest([leaf.grid_value(digit) for (_, leaf), digit in zip(self.leaves, digits, strict=True)])

    def grid_index(self, params: Mapping[str, Any]) -> int | None:
        """Return the cell that params cover; None if there is none. Reads params as `index` does."""
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
