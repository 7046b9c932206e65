"""What a search method must be able to do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from smsweep.core.trial import History, Params


class SearchStrategy(Protocol):
    """Proposes params. Built as `METHODS[method](config, seed)`; holds nothing that history could not rebuild."""

    def suggest(self, history: History, n: int) -> list[Params]:
        """Return params for at most n new trials, numbered from `history.next_number` on.

        Fewer than n means the space is used up. Same history and seed, same answer; n at once equal n one
        by one. Trials still pending or running are in the history as such.
        """
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A search method that can also tell what there is left to gain."""

    def outlook(self, history: History) -> str:
        """Return in one sentence why more trials will hardly find anything better; "" while they may.

        A hint for a person, who decides: nothing stops by itself. Called after `suggest` for the same history.
        """
        ...


def outlook(strategy: SearchStrategy, history: History) -> str:
    """Return the strategy's outlook, "" for one that has none."""
    return strategy.outlook(history) if isinstance(strategy, Foresighted) else ""
