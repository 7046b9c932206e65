"""Random search: independent draws, without repeats while a finite space has something new."""

from __future__ import annotations

import random

from smsweep.search.coverage import Coverage
from smsweep.sweeps import SweepConfig
from smsweep.trials import History, Params

DRAWS = 32  # before the rest is listed and chosen from; only nearly used up or very uneven spaces get there


class RandomSearch:
    """Draws the params of trial number N from (seed, N) alone, whatever the other trials reported.

    W&B draws blindly. Here, where a space has finitely many assignments, one that a trial holds already is
    drawn again until all have been used; from then on repeats are let through, so that it never ends.
    """

    def __init__(self, config: SweepConfig, seed: int = 0) -> None:
        self._space = config.space
        self._seed = seed
        size = self._space.size
        self._coverage = Coverage(size, self._space.index) if size is not None else None

    def suggest(self, history: History, n: int) -> list[Params]:
        if self._coverage is None:
            return [self._space.sample(self._rng(history.next_number + i)) for i in range(n)]
        self._coverage.follow(history)
        drawn: list[Params] = []
        held: list[int] = []
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
        if self._coverage.n_free:
            return ""
        return f"all {self._coverage.size} assignments of the space have been tried; new trials repeat them"

    def _draw_new(self, rng: random.Random, coverage: Coverage) -> tuple[Params, int]:
        """Return an assignment that is not covered, or any if all are; and its number."""
        for _ in range(DRAWS):
            params = self._space.sample(rng)
            cell = self._space.index(params)
            if cell is not None and (not coverage.n_free or cell not in coverage):
                return params, cell
        cell = coverage.free(rng.randrange(coverage.n_free))
        return self._space.assignment(cell), cell

    def _rng(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - chance that can be repeated, no secret
