"""The interface of a search method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from smsweep.core.trial import History, Params


class SearchStrategy(Protocol):
    """Proposes params. An instance keeps no state that it cannot rebuild from the history."""

    def suggest(self, history: History, n: int) -> list[Params]:
        """Return params for at most n new trials, numbered from `history.next_number` on.

        The same history and seed give the same params. n trials at once equal n trials one by one.

        Args:
            history: All trials, pending and running ones included.
            n: The number of trials that can start.

        Returns:
            n params, or fewer if the space is used up.
        """
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A search method that can also estimate how much is left to gain."""

    def outlook(self, history: History) -> str:
        """Return one sentence that explains why more trials are unlikely to find better params; "" otherwise.

        The sentence is a hint to the user. It stops nothing. Called after `suggest` for the same history.
        """
        ...


def outlook(strategy: SearchStrategy, history: History) -> str:
    """Return the strategy's outlook, or "" if it has no such method."""
    return strategy.outlook(history) if isinstance(strategy, Foresighted) else ""
