"""The structure of a search space: parameters that exist only under conditions, and constraints between them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smsweep.errors import SpaceError
from smsweep.space.choices import Constant
from smsweep.space.distribution import MISSING, Distribution, can_have, identity, is_number
from smsweep.space.expression import Expression, Span, parse_expression, suggestion

Place = tuple[str | int, ...]  # the keys of a problem below `search` in job.yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """The values of a parameter under which another parameter exists: listed values, or a range of numbers."""

    values: tuple[Any, ...] = ()
    min: float | None = None  # included; None for no bound
    max: float | None = None
    _keys: frozenset[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", frozenset(map(identity, self.values)))

    def __str__(self) -> str:
        if self.values:
            return " or ".join(map(str, self.values))
        if self.min is None or self.max is None:
            return f"at least {self.min}" if self.max is None else f"at most {self.max}"
        return f"{self.min} to {self.max}"

    def __contains__(self, value: Any) -> bool:
        if self.values:
            return identity(value) in self._keys
        is_above = is_number(value) and (self.min is None or self.min <= value)
        return is_above and (self.max is None or value <= self.max)

    def verdict(self, span: Span) -> bool | None:
        """Return True if all values of the span are allowed, False if none is, and None if neither is certain."""
        if span.listed is not None:
            found = {value in self for value in span.listed}
            return None if len(found) > 1 else found.pop()
        if self.values:
            return None if any(self._is_in(value, span) for value in self.values) else False
        low = span.low if self.min is None else max(span.low, self.min)
        high = span.high if self.max is None else min(span.high, self.max)
        if low > high:
            return False
        return True if (low, high, span.has_others) == (span.low, span.high, False) else None

    @staticmethod
    def _is_in(value: Any, span: Span) -> bool:
        return span.low <= value <= span.high if is_number(value) else span.has_others


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A parameter exists only if each of some other parameters exists and has an allowed value."""

    parameter: str  # dotted name of a parameter, or of a group of nested parameters
    when: Mapping[str, Allowed]  # by the dotted name of the other parameter

    def __str__(self) -> str:
        return f"{self.parameter} if {' and '.join(f'{name} is {allowed}' for name, allowed in self.when.items())}"


@dataclass(frozen=True, slots=True)
class _Constraint:
    expression: Expression
    names: tuple[tuple[str, int], ...]  # its parameters and their leaves


class Structure:
    """Conditions and constraints over the leaves of a space.

    Args:
        leaves: The distributions by dotted names, in the order of the space.
        conditions: The conditions.
        constraints: Expressions. A constraint does not apply to params that lack one of its parameters.

    Attributes:
        requirements: For each leaf, the leaves that it depends on, and their allowed values.
        order: All leaves; each leaf is after the leaves that it depends on.
        constraints: The constraints.

    Raises:
        SpaceError: `structure_problems` finds a problem.
    """

    def __init__(
        self, leaves: Mapping[str, Distribution], conditions: Sequence[Condition], constraints: Sequence[str]
    ) -> None:
        problems = structure_problems(leaves, conditions, constraints)
        if problems:
            place, text = problems[0]
            raise SpaceError(f"search.{'.'.join(map(str, place))}: {text}")
        self.leaves = tuple(leaves.values())
        names = list(leaves)
        numbers = {name: i for i, name in enumerate(names)}
        self.requirements: list[tuple[tuple[int, Allowed], ...]] = [() for _ in names]
        for condition in conditions:
            when = tuple((numbers[name], allowed) for name, allowed in condition.when.items())
            for name in _leaves_of(condition.parameter, names):
                self.requirements[numbers[name]] += when
        self.order = _order([[parent for parent, _ in each] for each in self.requirements])
        parsed = [parse_expression(text, leaves) for text in constraints]
        self.constraints = tuple(
            _Constraint(each, tuple((name, numbers[name]) for name in each.names)) for each in parsed
        )
        self.has_conditions = any(self.requirements)
        self._required: list[int] = []  # leaves that must exist

    def with_values(self, given: Sequence[Any]) -> Structure:
        """Return the structure of the params with given values: one per leaf, MISSING for any value."""
        fixed = copy.copy(self)
        fixed._required = [i for i, value in enumerate(given) if value is not MISSING]
        leaves = list(self.leaves)
        for i in fixed._required:
            leaves[i] = Constant(value=given[i])
        fixed.leaves = tuple(leaves)
        return fixed

    def existing(self, values: Sequence[Any]) -> list[bool]:
        """Return for each leaf whether it exists."""
        exists = [True] * len(values)
        for i in self.order if self.has_conditions else ():
            exists[i] = all(exists[j] and values[j] in allowed for j, allowed in self.requirements[i])
        return exists

    def active(self, values: Sequence[Any]) -> list[Any]:
        """Return the values with MISSING for each leaf that does not exist."""
        exists = self.existing(values)
        return [value if has else MISSING for value, has in zip(values, exists, strict=True)]

    def is_feasible(self, values: Sequence[Any]) -> bool:
        """Return True if active values meet all constraints."""
        return all(values[i] is not MISSING for i in self._required) and all(
            constraint.expression.holds({name: values[i] for name, i in constraint.names})
            for constraint in self.constraints
            if not any(values[i] is MISSING for _, i in constraint.names)
        )

    def verdict(self, spans: Mapping[int, Span]) -> bool | None:
        """Return True if all values of the spans meet the constraints, False if none do, None if unknown.

        Args:
            spans: The span of each leaf of `involved`.
        """
        exists: dict[int, bool | None] = {}
        for i in self.order if self.has_conditions else ():
            if i in spans:
                exists[i] = _all(
                    _all((exists.get(parent, True), allowed.verdict(spans[parent])))
                    for parent, allowed in self.requirements[i]
                )
        known = [exists.get(i, True) for i in self._required]
        known += [self._verdict(constraint, spans, exists) for constraint in self.constraints]
        return _all(known)

    @staticmethod
    def _verdict(
        constraint: _Constraint, spans: Mapping[int, Span], exists: Mapping[int, bool | None]
    ) -> bool | None:
        applies = _all(exists.get(i, True) for _, i in constraint.names)
        if applies is False:
            return True
        holds = constraint.expression.verdict({name: spans[i] for name, i in constraint.names})
        return holds if applies or holds else None

    def involved(self) -> list[int]:
        """Return the leaves of the constraints, and the leaves that these depend on, ascending."""
        found: set[int] = set()
        wanted = [*self._required, *(i for constraint in self.constraints for _, i in constraint.names)]
        while wanted:
            i = wanted.pop()
            if i not in found:
                found.add(i)
                wanted.extend(parent for parent, _ in self.requirements[i])
        return sorted(found)


def _all(verdicts: Any) -> bool | None:
    found = list(verdicts)
    return False if False in found else None if None in found else True


def structure_problems(
    leaves: Mapping[str, Distribution], conditions: Sequence[Condition], constraints: Sequence[str]
) -> list[tuple[Place, str]]:
    """Return the problems of conditions and constraints: the place and the message of each."""
    problems: list[tuple[Place, str]] = []
    names = list(leaves)
    parents: dict[str, list[str]] = {name: [] for name in names}
    for condition in conditions:
        place = ("conditions", condition.parameter)
        children = _leaves_of(condition.parameter, names)
        if not children:
            problems.append((place, f"is not a parameter; {suggestion(condition.parameter, names)}"))
        for name, allowed in condition.when.items():
            where = (*place, "when", name)
            if name not in leaves:
                problems.append((where, f"is not a parameter; {suggestion(name, names)}"))
                continue
            problems += [(where, text) for text in _impossible(name, leaves[name], allowed)]
            for child in children:
                parents[child].append(name)
    if not problems and (cycle := _cycle(parents)):
        place = next(
            ("conditions", each.parameter) for each in conditions if cycle[0] in _leaves_of(each.parameter, names)
        )
        problems.append((place, f"depends on itself ({' -> '.join(cycle)}); remove one of the conditions"))
    for index, text in enumerate(constraints):
        try:
            parse_expression(text, leaves)
        except SpaceError as err:
            problems.append((("constraints", index), str(err)))
    return problems


def _leaves_of(parameter: str, names: Sequence[str]) -> list[str]:
    """Return the leaf of that name, or the leaves of the group of that name."""
    return [name for name in names if name == parameter or name.startswith(f"{parameter}.")]


def _impossible(name: str, leaf: Distribution, allowed: Allowed) -> Iterator[str]:
    for value in allowed.values:
        is_possible = leaf.value == value if isinstance(leaf, Constant) else can_have(leaf, value)
        if not is_possible:
            listed = leaf.size is not None and leaf.size <= 20 and leaf.kind.startswith("categorical")
            choices = [str(leaf.value_at(i)) for i in range(leaf.size or 0)] if listed else []
            fix = suggestion(value, choices) if choices else "name a value of the parameter"
            yield f"{name} cannot be {value!r}; {fix}"
    if not allowed.values:
        if leaf.size is not None and leaf.kind.startswith(("categorical", "constant")):
            is_possible = any(leaf.value_at(i) in allowed for i in range(leaf.size))
        else:
            ends = leaf.ppf(0.0), leaf.ppf(1.0)
            is_possible = (allowed.min is None or allowed.min <= ends[1]) and (
                allowed.max is None or ends[0] <= allowed.max
            )
        if not is_possible:
            yield f"{name} has no value in this range; change min and max"


def _order(parents: Sequence[Sequence[int]]) -> list[int]:
    """Return all leaves, each after its parents. There is no cycle."""
    ordered: dict[int, None] = {}

    def add(i: int) -> None:
        if i not in ordered:
            for parent in parents[i]:
                add(parent)
            ordered[i] = None

    for i in range(len(parents)):
        add(i)
    return list(ordered)


def _cycle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return names that depend on each other, the first also as the last; [] if there is no cycle."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for parent in parents[name]:
            if found := visit(parent, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in parents if (found := visit(name, []))), [])
