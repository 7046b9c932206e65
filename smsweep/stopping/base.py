"""What a rule for ending trials early must be able to do."""

from __future__ import annotations

from typing import Protocol

from smsweep.core.trial import History, StopDecision


class StoppingRule(Protocol):
    """Picks running trials that should end. Built as `RULES[type](config)`."""

    def judge(self, history: History) -> list[StopDecision]:
        """Return a decision for each running trial that should end, by ascending number.

        Every trial's `curve` must hold its values of the sweep's metric. Trials already stopping are not
        named again.
        """
        ...


def told_apart(value: float, threshold: float) -> tuple[str, str]:
    """Return two different numbers as texts that differ as well, of six digits where those will do."""
    texts = ((f"{value:.{digits}g}", f"{threshold:.{digits}g}") for digits in range(6, 18))
    return next((a, b) for a, b in texts if a != b or value == threshold)
