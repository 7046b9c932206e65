"""Random search: independent draws, without repeats while a finite space has something new."""

from __future__ import annotations

import random
from collections.abc import Hashable

from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, Params
from smsweep.search.coverage import Coverage, coverage_of

DRAWS = 32  # before the rest is listed and chosen from; only nearly used up or very uneven spaces get there


class RandomSearch:
    """Draws the params of trial number N from (seed, N) alone, whatever the other trials reported.

    W&B draws blindly. Here, where a space has finitely many assignments, one that a trial holds already is
    drawn again until all have been used; from then on repeats are let through, so that it never ends. Where there
    is no end of them but some are likely, as between multiples of q under a bell, it is drawn again DRAWS times.
    """

    def __init__(self, config: SweepConfig, seed: int = 0) -> None:
        self._space = config.space
        self._seed = seed
        self._coverage = coverage_of(self._space)

    def suggest(self, history: History, n: int) -> list[Params]:
        if self._coverage is None:
            return [self._space.sample(self._rng(history.next_number + i)) for i in range(n)]
        self._coverage.follow(history)
        drawn: list[Params] = []
        held: list[Hashable] = []
        for number in range(history.next_number, history.next_number + n):
            params, cell = self._draw_new(self._rng(number), self._coverage)
            self._coverage.take([cell])
            held.append(cell)
            drawn.append(params)
        self._coverage.release(held)  # whether these become trials is for others to decide
        return drawn

    def outlook(self, history: History) -> str:
        if self._coverage is None:
            return ""
        self._coverage.follow(history)
        if not self._coverage.is_used_up:
            return ""
        return f"all {self._coverage.size} assignments of the space have been tried; new trials repeat them"

    def _draw_new(self, rng: random.Random, coverage: Coverage) -> tuple[Params, Hashable]:
        """Return an assignment that is not covered, or any if all are; and its cell."""
        for _ in range(DRAWS):
            params = self._space.sample(rng)
            cell = coverage.cell_of(params)
            if cell is not None and (coverage.is_used_up or cell not in coverage):
                return params, cell
        if coverage.size is None:
            return params, cell
        number = coverage.free(rng.randrange(coverage.n_free))
        return self._space.assignment(number), number

    def _rng(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - chance that can be repeated, no secret
