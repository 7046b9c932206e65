"""The stopping rules, by the words of `early_terminate.type`, and how several work together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, StopDecision
from smsweep.stopping.base import StoppingRule
from smsweep.stopping.stop_if import StopIf
from smsweep.util.lazy_registry import LazyTable

# hyperband is W&B's only one, the others are ours.
RULES: Mapping[str, Callable[[SweepConfig], StoppingRule]] = LazyTable(
    {
        "hyperband": "smsweep.stopping.hyperband:Hyperband",
        "asha": "smsweep.stopping.asha:Asha",
        "median": "smsweep.stopping.median:MedianRule",
        "forecast": "smsweep.stopping.forecast:ForecastRule",
    }
)


class AnyOf:
    """Stops what any of the rules stops; of several the first one gives the reason."""

    def __init__(self, rules: Sequence[StoppingRule]) -> None:
        self._rules = rules

    def judge(self, history: History) -> list[StopDecision]:
        decisions: dict[int, StopDecision] = {}
        for rule in self._rules:
            for decision in rule.judge(history):
                decisions.setdefault(decision.number, decision)
        return [decisions[number] for number in sorted(decisions)]


def make_rule(config: SweepConfig, stop_if: Sequence[str] = ()) -> StoppingRule | None:
    """Return what ends this sweep's trials early: its `stop_if`, then its `early_terminate`; None for neither."""
    rules: list[StoppingRule] = [StopIf(stop_if)] if stop_if else []
    if config.early_terminate is not None:
        rules.append(RULES[config.early_terminate.type](config))
    return AnyOf(rules) if rules else None
