"""Numbers the valid combinations of a finite space with conditions and constraints, without a list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from smsweep.errors import SpaceError
from smsweep.space.distribution import MISSING, check_index
from smsweep.space.structure import Structure


class TooManyCombinations(SpaceError):
    """Counting the combinations needs too many steps."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule that is checked as soon as the last of its leaves has a class."""

    leaves: tuple[int, ...]
    holds: Callable[[dict[int, Any]], bool]  # of the class of each leaf


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive digits of a leaf that no rule distinguishes."""

    start: int | None  # None: the leaf does not exist
    length: int
    kind: Any  # their class


class Numbering:
    """Numbers the combinations of digits that meet all conditions and constraints.

    A digit is the number of a value of a leaf, and None if the leaf does not exist. The last leaf changes fastest;
    None is first. The leaves are a tree, one level per leaf. Two nodes of a level have equally many combinations
    below them if the remaining rules do not distinguish them, so few nodes are counted.

    Args:
        structure: The conditions and the constraints.
        sizes: The number of digits of each leaf.
        value_at: Returns the value of a leaf for a digit.
        max_steps: The maximum number of counted edges.

    Raises:
        TooManyCombinations: More edges are necessary.
    """

    def __init__(
        self, structure: Structure, sizes: Sequence[int], value_at: Callable[[int, int], Any], max_steps: int
    ) -> None:
        self._structure = structure
        self._sizes = sizes
        self._value_at = value_at
        self._max_steps = max_steps
        self._n_steps = 0
        self._constrained = {i for constraint in structure.constraints for _, i in constraint.names}
        self._children: list[list[int]] = [[] for _ in sizes]
        for i, requirements in enumerate(structure.requirements):
            for parent, _ in requirements:
                self._children[parent].append(i)
        rules = [*self._conditions(), *self._constraints()]
        self._rules: list[list[_Rule]] = [[] for _ in sizes]
        for rule in rules:
            self._rules[max(rule.leaves)].append(rule)
        # the leaves before each level that a later rule needs
        self._live = [
            sorted({i for rule in rules if max(rule.leaves) >= level for i in rule.leaves if i < level})
            for level in range(len(sizes) + 1)
        ]
        self._counts: dict[tuple[int, tuple[Any, ...]], int] = {}
        self._runs = [list(self._runs_of(i)) for i in range(len(sizes))]
        self.size = self._count(0, ())

    def digits(self, number: int) -> list[int | None]:
        """Return the digits of a combination. Raises IndexError outside `range(size)`."""
        check_index(number, self.size)
        digits: list[int | None] = []
        state: tuple[Any, ...] = ()
        for level in range(len(self._sizes)):
            for run, below, n_each in self._branches(level, state):
                if number < run.length * n_each:
                    offset, number = divmod(number, n_each)
                    digits.append(None if run.start is None else run.start + offset)
                    state = below
                    break
                number -= run.length * n_each
        return digits

    def number(self, digits: Sequence[int | None]) -> int | None:
        """Return the number of a combination; None if it does not meet the rules."""
        number = 0
        state: tuple[Any, ...] = ()
        for level, digit in enumerate(digits):
            for run, below, n_each in self._branches(level, state):
                offset = _offset(run, digit)
                if offset is not None:
                    number += offset * n_each
                    state = below
                    break
                number += run.length * n_each
            else:
                return None
        return number

    def _branches(self, level: int, state: tuple[Any, ...]) -> Iterator[tuple[_Run, tuple[Any, ...], int]]:
        for run in self._runs[level]:
            below = self._below(level, state, run.kind)
            if below is not None:
                yield run, below, self._count(level + 1, below)

    def _count(self, level: int, state: tuple[Any, ...]) -> int:
        """Return the number of combinations of the leaves from a level on."""
        if level == len(self._sizes):
            return 1
        known = self._counts.get((level, state))
        if known is None:
            self._step(len(self._runs[level]))
            known = sum(run.length * n_each for run, _, n_each in self._branches(level, state))
            self._counts[level, state] = known
        return known

    def _below(self, level: int, state: tuple[Any, ...], kind: Any) -> tuple[Any, ...] | None:
        """Return the state below an edge; None if a rule does not hold."""
        kinds = dict(zip(self._live[level], state, strict=True))
        kinds[level] = kind
        if not all(rule.holds(kinds) for rule in self._rules[level]):
            return None
        return tuple(kinds[i] for i in self._live[level + 1])

    def _step(self, n: int) -> None:
        self._n_steps += n
        if self._n_steps > self._max_steps:
            raise TooManyCombinations(f"more than {self._max_steps:,} combinations must be checked")

    def _runs_of(self, leaf: int) -> Iterator[_Run]:
        if self._structure.requirements[leaf]:
            yield _Run(None, 1, None)
        size = self._sizes[leaf]
        if leaf in self._constrained:
            self._step(size)
            yield from (_Run(digit, 1, digit) for digit in range(size))
        elif self._children[leaf]:
            self._step(size)
            yield from _merged(self._choice(leaf, digit) for digit in range(size))
        else:
            yield _Run(0, size, True)

    def _choice(self, leaf: int, digit: int) -> tuple[bool, ...]:
        """Return for each requirement on a leaf whether the value of the digit is allowed."""
        value = self._value_at(leaf, digit)
        return tuple(
            value in allowed
            for child in dict.fromkeys(self._children[leaf])
            for parent, allowed in self._structure.requirements[child]
            if parent == leaf
        )

    def _conditions(self) -> Iterator[_Rule]:
        for leaf, requirements in enumerate(self._structure.requirements):
            if requirements:
                parents = sorted({parent for parent, _ in requirements})
                places = [(parent, self._places(parent, leaf)) for parent in parents]
                yield _Rule((leaf, *parents), self._existence(leaf, places))

    def _places(self, parent: int, leaf: int) -> list[int]:
        """Return the positions of a leaf's requirements in the choices of a parent."""
        owners = [
            child
            for child in dict.fromkeys(self._children[parent])
            for other, _ in self._structure.requirements[child]
            if other == parent
        ]
        return [place for place, owner in enumerate(owners) if owner == leaf]

    def _existence(self, leaf: int, parents: Iterable[tuple[int, list[int]]]) -> Callable[[dict[int, Any]], bool]:
        choices: dict[tuple[int, int], tuple[bool, ...]] = {}

        def choice(parent: int, kind: Any) -> tuple[bool, ...]:
            if parent not in self._constrained:
                result: tuple[bool, ...] = kind
                return result
            if (parent, kind) not in choices:
                choices[parent, kind] = self._choice(parent, kind)
            return choices[parent, kind]

        def holds(kinds: dict[int, Any]) -> bool:
            must_exist = all(
                kinds[parent] is not None and all(choice(parent, kinds[parent])[place] for place in places)
                for parent, places in parents
            )
            return (kinds[leaf] is not None) == must_exist

        return holds

    def _constraints(self) -> Iterator[_Rule]:
        for constraint in self._structure.constraints:

            def holds(kinds: dict[int, Any], constraint: Any = constraint) -> bool:
                if any(kinds[i] is None for _, i in constraint.names):
                    return True
                values = {name: self._value_at(i, kinds[i]) for name, i in constraint.names}
                return bool(constraint.expression.holds(values))

            yield _Rule(tuple(i for _, i in constraint.names), holds)


def _merged(kinds: Iterable[Any]) -> Iterator[_Run]:
    """Yield runs of equal kinds."""
    start, length, last = 0, 0, MISSING
    for digit, kind in enumerate(kinds):
        if kind != last:
            if length:
                yield _Run(start, length, last)
            start, length, last = digit, 0, kind
        length += 1
    yield _Run(start, length, last)


def _offset(run: _Run, digit: int | None) -> int | None:
    """Return the position of a digit in a run; None if the run does not have it."""
    if digit is None or run.start is None:
        return 0 if digit is run.start else None
    return digit - run.start if run.start <= digit < run.start + run.length else None
