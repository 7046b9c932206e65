"""The interface of a stopping rule, and the keys of `early_terminate` that the built-in rules accept."""

from __future__ import annotations

from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field, model_validator

from smsweep.core.trial import History, StopDecision
from smsweep.util.sections import AboveOne, Count, Section, problem

MinIter = Annotated[Count, Field(description="number of metric values before the first check")]
MaxIter = Annotated[Count | None, Field(description="number of metric values in a complete training")]
Eta = Annotated[AboveOne, Field(description="the best 1/eta of the trials continue at each check")]
MinTrials = Annotated[Count, Field(description="the smallest number of other trials to compare with")]
Strict = Annotated[bool, Field(description="compare the value at the check instead of the best value so far")]


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


@runtime_checkable
class PromotingRule(StoppingRule, Protocol):
    """A stopping rule that can pause trials, and promote them later."""

    @property
    def promotes(self) -> bool:
        """True if the rule pauses trials. Its decisions are pauses."""
        ...

    def promotable(self, history: History) -> list[int]:
        """Return the numbers of the paused trials to resume now, the most advanced and best ones first.

        `Trial.is_paused` is true for a paused trial. The same history gives the same numbers.
        """
        ...


def distinct_texts(value: float, threshold: float) -> tuple[str, str]:
    """Return two numbers as texts that differ if the numbers do, with at least six significant digits."""
    texts = ((f"{value:.{digits}g}", f"{threshold:.{digits}g}") for digits in range(6, 18))
    return next((a, b) for a, b in texts if a != b or value == threshold)


class HyperbandOptions(Section):
    """Give min_iter, or max_iter and s."""

    min_iter: MinIter | None = None
    max_iter: MaxIter = None
    s: Count | None = Field(None, description="number of checks, counted back from max_iter")
    eta: Eta = 3
    strict: Strict = True

    @model_validator(mode="after")
    def _has_checks(self) -> HyperbandOptions:
        if self.min_iter is None and self.max_iter is None:
            raise problem("", "needs min_iter, or max_iter and s")
        if self.max_iter is not None and self.s is None:
            raise problem("max_iter", "needs s, the number of checks; add s, or use only min_iter")
        if self.max_iter is not None and self.max_iter < self.eta:
            text = f"leaves no check: max_iter {self.max_iter} is less than eta {self.eta:g}; raise max_iter"
            raise problem("max_iter", text)
        return self


class AshaOptions(Section):
    """Give min_iter."""

    min_iter: MinIter
    max_iter: MaxIter = None
    eta: Eta = 3
    strict: Strict = True
    promote: bool = Field(False, description="pause trials, and resume the promoted ones from their checkpoints")

    @model_validator(mode="after")
    def _has_checks(self) -> AshaOptions:
        if self.max_iter is not None and self.max_iter <= self.min_iter:
            raise problem("max_iter", f"leaves no check: it must be above min_iter {self.min_iter}")
        return self


class MedianOptions(Section):
    """Give min_iter."""

    min_iter: MinIter
    min_trials: MinTrials = 3


class ForecastOptions(Section):
    """Give min_iter."""

    min_iter: MinIter
    eta: Eta = 3
    min_trials: MinTrials = 6
