"""Grid search: every cell once, in W&B's order."""

from __future__ import annotations

from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, Params
from smsweep.errors import SpaceError
from smsweep.search.coverage import Coverage


class GridSearch:
    """Proposes the first cells that no trial holds, whatever became of it; removing a trial frees its cell.

    seed is not used. Raises SpaceError for a parameter that cannot be in a grid.
    """

    def __init__(self, config: SweepConfig, seed: int = 0) -> None:
        self._space = config.space
        for path, leaf in self._space.leaves:
            if leaf.grid_size is None:
                raise SpaceError(
                    f"parameters.{'.'.join(path)}: {leaf.kind} cannot be in a grid; list its values, use "
                    "int_uniform or q_uniform, or search by method random or bayes"
                )
        self._coverage = Coverage(self._space.grid_size or 0, self._space.grid_index)

    def suggest(self, history: History, n: int) -> list[Params]:
        self._coverage.follow(history)
        free = range(min(n, self._coverage.n_free))
        return [self._space.grid_cell(self._coverage.free(k)) for k in free]
