"""Histories that tests extend step by step."""

from __future__ import annotations

from smsweep.core.trial import History, Params, Trial, TrialState
from smsweep.search.base import SearchStrategy


def add(history: History, params: Params, state: TrialState = TrialState.PENDING) -> int:
    """Add a trial at the next number and return the number."""
    number = history.next_number
    history.update([Trial(number=number, params=params, state=state)])
    return number


def remove(history: History, number: int) -> None:
    history.update([Trial(number=number, params={}, is_removed=True)])


def run(strategy: SearchStrategy, history: History, n: int) -> list[Params]:
    """Propose n trials one by one, add each of them, and return their params."""
    proposed = []
    for _ in range(n):
        for params in strategy.suggest(history, 1):
            add(history, params)
            proposed.append(params)
    return proposed
