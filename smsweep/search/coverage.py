"""Which numbered assignments of a finite space the trials of a history hold."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable

from smsweep.trials import History, Params

BULK = 64  # from so many new cells on, sorting once is cheaper than inserting each


class Coverage:
    """Keeps the covered cells of `range(size)` in step with a history, at the cost of what changed.

    Trials of any state cover their cell, prior ones too; a removed trial frees it. Params that are no cell
    (index_of gives None) cover nothing. All answers are for the history last followed.
    """

    def __init__(self, size: int, index_of: Callable[[Params], int | None]) -> None:
        self.size = size
        self._index_of = index_of
        self._history: History | None = None
        self._restart()

    def _restart(self) -> None:
        self._cursor = 0
        self._cell_of: dict[int, int] = {}  # trial number -> cell
        self._holders: Counter[int] = Counter()  # cell -> trials that hold it
        self._taken: list[int] = []  # cells with a holder, ascending

    def follow(self, history: History) -> None:
        """Fold in what changed in the history since the last call; another history starts afresh."""
        taken: list[int] = []
        if history is not self._history:
            self._restart()
            self._history = history
            cells = (self._index_of(trial.params) for trial in history.prior)
            taken.extend(cell for cell in cells if cell is not None)
        freed: list[int] = []
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            trial = history.get(number)
            cell = self._index_of(trial.params) if trial is not None else None
            before = self._cell_of.pop(number, None)
            if cell is not None:
                self._cell_of[number] = cell
            if cell == before:
                continue
            if cell is not None:
                taken.append(cell)
            if before is not None:
                freed.append(before)
        self.take(taken)
        self.release(freed)

    def take(self, cells: Iterable[int]) -> None:
        """Add a holder to each of the cells."""
        fresh = []
        for cell in cells:
            self._holders[cell] += 1
            if self._holders[cell] == 1:
                fresh.append(cell)
        if len(fresh) >= BULK:
            self._taken.extend(fresh)
            self._taken.sort()
        else:
            for cell in fresh:
                bisect.insort(self._taken, cell)

    def release(self, cells: Iterable[int]) -> None:
        """Undo a `take` of the same cells."""
        for cell in cells:
            self._holders[cell] -= 1
            if not self._holders[cell]:
                del self._holders[cell]
                del self._taken[bisect.bisect_left(self._taken, cell)]

    def __contains__(self, cell: int) -> bool:
        return cell in self._holders

    @property
    def n_free(self) -> int:
        return self.size - len(self._taken)

    def free(self, k: int) -> int:
        """Return the k-th free cell in ascending order, k from 0 to n_free - 1, in logarithmic time."""
        # _taken[j] - j free cells lie below the j-th taken one
        taken_before = bisect.bisect_right(range(len(self._taken)), k, key=lambda j: self._taken[j] - j)
        return k + taken_before
