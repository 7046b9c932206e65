"""The assignments of a space that the trials of a history hold."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from smsweep.core.trial import History, Params
from smsweep.space.space import SearchSpace

BULK = 64  # from this many new cells on, one sort is cheaper than single insertions


class Coverage:
    """Tracks the cells that a history covers. An update costs as much as the changed trials.

    A trial covers its cell in any state; prior trials do too. A removed trial frees its cell. Params without a
    cell (`cell_of` returns None) cover nothing. All results are for the history that `follow` received last.
    """

    def __init__(self, size: int | None, cell_of: Callable[[Params], Hashable]) -> None:
        """Create a coverage.

        Args:
            size: The number of cells, which are then the numbers of `range(size)`; None for infinitely many cells.
            cell_of: Returns the cell of params, or None.
        """
        self.size = size
        self.cell_of = cell_of
        self._history: History | None = None
        self._restart()

    def _restart(self) -> None:
        self._cursor = 0
        self._cell_of: dict[int, Hashable] = {}  # trial number -> cell
        self._holders: Counter[Hashable] = Counter()  # cell -> trials that hold it
        self._held: list[Any] = []  # cells with a holder, ascending; only if cells are numbers

    def follow(self, history: History) -> None:
        """Read the changes of the history since the last call; read all trials of another history."""
        held: list[Hashable] = []
        if history is not self._history:
            self._restart()
            self._history = history
            cells = (self.cell_of(trial.params) for trial in history.prior)
            held.extend(cell for cell in cells if cell is not None)
        freed: list[Hashable] = []
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            trial = history.get(number)
            cell = self.cell_of(trial.params) if trial is not None else None
            before = self._cell_of.pop(number, None)
            if cell is not None:
                self._cell_of[number] = cell
            if cell == before:
                continue
            if cell is not None:
                held.append(cell)
            if before is not None:
                freed.append(before)
        self.hold(held)
        self.release(freed)

    def hold(self, cells: Iterable[Hashable]) -> None:
        """Add a holder to each of the cells."""
        fresh = []
        for cell in cells:
            self._holders[cell] += 1
            if self._holders[cell] == 1:
                fresh.append(cell)
        if self.size is None:
            return
        if len(fresh) >= BULK:
            self._held.extend(fresh)
            self._held.sort()
        else:
            for cell in fresh:
                bisect.insort(self._held, cell)

    def release(self, cells: Iterable[Hashable]) -> None:
        """Undo a `hold` of the same cells."""
        for cell in cells:
            self._holders[cell] -= 1
            if not self._holders[cell]:
                del self._holders[cell]
                if self.size is None:
                    continue
                del self._held[bisect.bisect_left(self._held, cell)]

    def __contains__(self, cell: Hashable) -> bool:
        return cell in self._holders

    @property
    def is_used_up(self) -> bool:
        return self.size is not None and len(self._held) >= self.size

    @property
    def n_free(self) -> int:
        """The number of free cells. Raises ValueError if there are infinitely many cells."""
        if self.size is None:
            raise ValueError("the number of cells is infinite")
        return self.size - len(self._held)

    def free(self, k: int) -> int:
        """Return the k-th free cell in ascending order, with k in range(n_free), in logarithmic time."""
        # _held[j] - j free cells are below the j-th held cell
        n_held_below = bisect.bisect_right(range(len(self._held)), k, key=lambda j: self._held[j] - j)
        return k + n_held_below


def coverage_of(space: SearchSpace) -> Coverage | None:
    """Return a coverage of the space's assignments; None if two draws are never equal."""
    if space.size is not None:
        return Coverage(space.size, space.index)
    return Coverage(None, space.key) if space.is_discrete else None
