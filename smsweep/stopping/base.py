"""The interface of a stopping rule."""

from __future__ import annotations

from typing import Protocol

from smsweep.core.trial import History, StopDecision


class StoppingRule(Protocol):
    """Selects running trials to stop."""

    def judge(self, history: History) -> list[StopDecision]:
        """Return a decision for each running trial that is to be stopped, by ascending number.

        Trials that are already stopping are not returned again. The same history gives the same decisions, also
        for a new instance of the rule.

        Args:
            history: All trials. `curve` of each trial holds its values of the sweep's metric.
        """
        ...


def distinct_texts(value: float, threshold: float) -> tuple[str, str]:
    """Return two numbers as texts that differ if the numbers do, with at least six significant digits."""
    texts = ((f"{value:.{digits}g}", f"{threshold:.{digits}g}") for digits in range(6, 18))
    return next((a, b) for a, b in texts if a != b or value == threshold)
