"""What a search method must be able to do."""

from __future__ import annotations

from typing import Protocol

from smsweep.trials import History, Params


class SearchStrategy(Protocol):
    """Proposes params. Built as `METHODS[method](config, seed)`; holds nothing that history could not rebuild."""

    def suggest(self, history: History, n: int) -> list[Params]:
        """Return params for at most n new trials, numbered from `history.next_number` on.

        Fewer than n means the space is used up. Same history and seed, same answer; n at once equal n one
        by one. Trials still pending or running are in the history as such.
        """
        ...
