"""Grid search: each cell once, in W&B's order."""

from __future__ import annotations

from smsweep.core.trial import History, Params
from smsweep.errors import SpaceError
from smsweep.search.coverage import Coverage
from smsweep.space.space import SearchSpace


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
        self._coverage = Coverage(self._space.grid_size or 0, self._space.grid_index)

    def suggest(self, history: History, n: int) -> list[Params]:
        self._coverage.follow(history)
        free = range(min(n, self._coverage.n_free))
        return [self._space.grid_cell(self._coverage.free(k)) for k in free]
