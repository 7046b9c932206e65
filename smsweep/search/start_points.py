"""Params that the user chose: the start points of a sweep, and the completion of params with missing values."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.core.confirm import is_repeat
from smsweep.core.trial import History, Params, Trial
from smsweep.search.base import SearchStrategy, outlook
from smsweep.search.coverage import Coverage, coverage_of
from smsweep.space.belief import Belief
from smsweep.space.distribution import MISSING, Distribution
from smsweep.space.space import SearchSpace

MAX_DRAWS = 64  # draws of the missing values that must give new params


class Completion:
    """Completes params in which values are missing.

    In a grid, the result is the first free cell with the given values. Other methods draw the missing values as
    random search does, and a method that repeats no params draws again until the params are new.

    Args:
        space: The parameters.
        seed: The seed of all draws.
        is_grid: Choose a cell of the grid.
        is_distinct: Prefer params that no trial has.
        beliefs: As for `RandomSearch`.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        *,
        is_grid: bool = False,
        is_distinct: bool = False,
        beliefs: Mapping[str, Belief] | None = None,
    ) -> None:
        self._space = space
        self._seed = seed
        self._beliefs = beliefs
        self._coverage: Coverage | None = None
        self._is_grid = is_grid
        if is_grid:
            self._coverage = Coverage(space.grid_size or 0, space.grid_index)
        elif is_distinct:
            self._coverage = coverage_of(space)

    def complete(self, point: Params, history: History, ahead: Sequence[Params] = ()) -> Params | None:
        """Return complete params with the given values; None if each cell of the grid with them is taken.

        Args:
            point: Values of some parameters; dotted names and nested names are equivalent.
            history: The trials so far.
            ahead: Params of further trials, which are not in the history yet.
        """
        given = given_values(self._space, point)
        number, coverage = history.next_number + len(ahead), self._coverage
        if coverage is None:
            return next(self._draws(given, number))
        coverage.follow(history)
        held = [cell for cell in map(coverage.cell_of, ahead) if cell is not None]
        coverage.hold(held)
        try:
            return self._free_cell(given, coverage) if self._is_grid else self._new(given, number, coverage)
        finally:
            coverage.release(held)

    def _new(self, given: Sequence[Any], number: int, coverage: Coverage) -> Params:
        """Return a draw that no trial has; of MAX_DRAWS known ones, the last."""
        drawn: Params = {}
        for drawn in itertools.islice(self._draws(given, number), 1 if MISSING not in given else MAX_DRAWS):
            if coverage.cell_of(drawn) not in coverage:
                break
        return drawn

    def _draws(self, given: Sequence[Any], number: int) -> Iterator[Params]:
        """Yield complete params without end, drawn as in random search.

        Raises:
            SpaceError: No params with the given values meet the conditions and constraints.
        """
        draws = self._space.draws_of(self._beliefs, given)
        rng = random.Random(f"{self._seed}/{number}")  # noqa: S311 - reproducible, not a secret
        while True:
            yield self._space.nest(draws.draw(rng))

    def _free_cell(self, given: Sequence[Any], coverage: Coverage) -> Params | None:
        """Return the first free cell of the grid with the given values."""
        leaves = [leaf for _, leaf in self._space.leaves]
        sizes = [
            (leaf.grid_size or 0) if value is MISSING else 1 for value, leaf in zip(given, leaves, strict=True)
        ]
        for k in range(math.prod(sizes)):
            values, rest = list(given), k
            for i in reversed(range(len(leaves))):
                rest, digit = divmod(rest, sizes[i])
                if given[i] is MISSING:
                    values[i] = leaves[i].grid_value(digit)
            cell = self._space.grid_index(self._space.nest(values))
            if cell is None or cell in coverage:
                continue
            params = self._space.grid_cell(cell)
            exists = [value is not MISSING for value in self._space.flatten(params)]
            if all(has or value is MISSING for has, value in zip(exists, given, strict=True)):
                return params
        return None


class StartPoints:
    """Proposes start points as the first trials, and then the trials of another strategy.

    If a grid has no free cell for a start point, the other strategy proposes that trial.

    Args:
        strategy: The other strategy.
        points: The start points, in which values can be missing.
        completion: Completes them.
    """

    def __init__(self, strategy: SearchStrategy, points: Sequence[Params], completion: Completion) -> None:
        self._strategy = strategy
        self._points = points
        self._completion = completion

    def suggest(self, history: History, n: int) -> list[Params]:
        made: list[Params] = []
        first = len(self._points) - n_left(len(self._points), history)
        for point in self._points[first : first + n]:
            params = self._completion.complete(point, history, made)
            suggested = self._strategy.suggest(with_pending(history, made), 1) if params is None else [params]
            if not suggested:
                return made
            made += suggested
        return made + self._strategy.suggest(with_pending(history, made), n - len(made)) if len(made) < n else made

    def outlook(self, history: History) -> str:
        """Return the outlook of the other strategy."""
        return outlook(self._strategy, history)


def n_left(n_points: int, history: History) -> int:
    """Return how many start points have had no trial yet. Repeats of `confirm` do not count as their trials."""
    for number in range(history.next_number):
        if not n_points:
            break
        trial = history.get(number)
        n_points -= trial is None or not is_repeat(trial)
    return n_points


def with_pending(history: History, params: Sequence[Params]) -> History:
    """Return a history with more pending trials."""
    if not params:
        return history
    first = history.next_number
    added = [Trial(number=first + i, params=each) for i, each in enumerate(params)]
    return History([*history, *added], prior=history.prior)


def named_values(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of params by the dotted names of the parameters, also of names that the space lacks."""
    names = {".".join(path) for path, _ in space.leaves}
    named: dict[str, Any] = {}

    def add(level: Mapping[str, Any], prefix: str) -> None:
        for key, value in level.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and name not in names:
                add(value, f"{name}.")
            else:
                named[name] = value

    add(params, "")
    return named


def given_values(space: SearchSpace, params: Mapping[str, Any]) -> list[Any]:
    """Return the value of each leaf in params, MISSING if there is none. Names can be dotted or nested."""
    named = named_values(space, params)
    return [_own_value(leaf, named.get(".".join(path), MISSING)) for path, leaf in space.leaves]


def _own_value(leaf: Distribution, value: Any) -> Any:
    """Return a value as the distribution has it: 8 for 8.0 if the parameter is an int."""
    number = None if value is MISSING else leaf.index_of(value)
    return value if number is None else leaf.value_at(number)
