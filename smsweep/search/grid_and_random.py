"""Grid search, cell by cell, and random search: independent draws, on request without repeats."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping

from smsweep.core.trial import History, Params
from smsweep.errors import SpaceError
from smsweep.search.coverage import Coverage, coverage_of
from smsweep.space.belief import Belief
from smsweep.space.space import SearchSpace

DRAWS = 32  # draws before a free cell is chosen directly; only nearly used up or very uneven spaces need it


class RandomSearch:
    """Draws the params of trial number N from (seed, N). Metrics have no influence.

    By default, draws are independent and can repeat an assignment, as in W&B. A distinct search avoids repeats. In
    a finite space, it proposes each assignment once before it repeats any. In an infinite discrete space, such as
    the multiples of q of a normal distribution, it replaces a repeated draw up to DRAWS times.

    Args:
        space: The parameters.
        seed: The seed of all draws.
        distinct: True to avoid repeats.
        beliefs: Name of a parameter, nested names joined by dots -> where its optimum is expected. Its values are
            drawn from the mix of the belief and its distribution.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        *,
        distinct: bool = False,
        beliefs: Mapping[str, Belief] | None = None,
    ) -> None:
        self._space = space
        self._draws = space.draws_of(beliefs)
        self._seed = seed
        self._is_distinct = distinct
        self._coverage = coverage_of(self._space)

    def suggest(self, history: History, n: int) -> list[Params]:
        if self._coverage is None or not self._is_distinct:
            return [self._sample(self._rng(history.next_number + i)) for i in range(n)]
        self._coverage.follow(history)
        drawn: list[Params] = []
        held: list[Hashable] = []
        for number in range(history.next_number, history.next_number + n):
            params, cell = self._draw_new(self._rng(number), self._coverage)
            self._coverage.hold([cell])
            held.append(cell)
            drawn.append(params)
        self._coverage.release(held)  # the caller decides which of them become trials
        return drawn

    def outlook(self, history: History) -> str:
        """Return a hint if the space is used up."""
        if self._coverage is None:
            return ""
        self._coverage.follow(history)
        if not self._coverage.is_used_up:
            return ""
        return f"all {self._coverage.size} assignments of the space have been tried; new trials repeat them"

    def _draw_new(self, rng: random.Random, coverage: Coverage) -> tuple[Params, Hashable]:
        """Return an assignment that is not covered, or any if all are; and its cell."""
        for _ in range(DRAWS):
            params = self._sample(rng)
            cell = coverage.cell_of(params)
            if cell is not None and (coverage.is_used_up or cell not in coverage):
                return params, cell
        if coverage.size is None:
            return params, cell
        number = coverage.free(rng.randrange(coverage.n_free))
        return self._space.assignment(number), number

    def _sample(self, rng: random.Random) -> Params:
        """Draw params; without constraints, with exactly one number of rng per leaf."""
        return self._space.nest(self._draws.draw(rng))

    def _rng(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - reproducible, not a secret


class GridSearch:
    """Proposes the first cells that no trial holds, in any state. Removing a trial frees its cell.

    Args:
        space: The parameters; each of them must be a list of values.

    Raises:
        SpaceError: A parameter cannot be in a grid.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        for path, leaf in self._space.leaves:
            if leaf.grid_size is None:
                raise SpaceError(
                    f"parameters.{'.'.join(path)}: {leaf.kind} cannot be in a grid; list its values, use "
                    "int_uniform or q_uniform, or search by method random or bayes"
                )
        size = self._space.grid_size
        if size is None:
            raise SpaceError(
                "the grid has too many combinations of the constrained parameters to check; list fewer values"
            )
        self._coverage = Coverage(size, self._space.grid_index)

    def suggest(self, history: History, n: int) -> list[Params]:
        self._coverage.follow(history)
        free = range(min(n, self._coverage.n_free))
        return [self._space.grid_cell(self._coverage.free(k)) for k in free]
