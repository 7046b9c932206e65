"""`repeats` in job.yaml: any search method, with each assignment several times."""

from __future__ import annotations

from smsweep.core.repeats import Repeats, repeat_of
from smsweep.core.trial import History, Params
from smsweep.search.base import SearchStrategy, outlook


class Repeated:
    """Proposes each assignment of another strategy n times in a row, and shows it the n trials as one."""

    def __init__(self, strategy: SearchStrategy, repeats: Repeats) -> None:
        self._strategy = strategy
        self._repeats = repeats

    def suggest(self, history: History, n: int) -> list[Params]:
        seen = self._repeats.follow(history)
        size, numbers = self._repeats.n, range(history.next_number, history.next_number + n)
        groups = {number // size for number in numbers}
        begun = self._repeats.members(history, history.next_number // size)
        current = begun[0].params if begun else None
        fresh = iter(self._strategy.suggest(seen, len(groups) - len(begun[:1])))
        made: list[Params] = []
        for number in numbers:
            if current is None or repeat_of(number, size) == 0:
                current = next(fresh, None)
            if current is None:
                break
            made.append(current)
        return made

    def outlook(self, history: History) -> str:
        """Return the outlook of the other strategy."""
        return outlook(self._strategy, self._repeats.follow(history))
