"""The conditions of `stop_if`, such as `val_loss > 10 after 3`: a trial is stopped as soon as one holds."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.core.condition import parse_condition
from smsweep.core.trial import History, StopDecision, Trial, TrialState


class StopIf:
    """Stops a running trial as soon as one of the conditions holds; the first of them is the reason.

    Args:
        conditions: Texts such as `loss is nan` or `loss > 10 after 3`.

    Raises:
        ConfigError: A text is not a valid condition.
    """

    def __init__(self, conditions: Iterable[str]) -> None:
        self._conditions = [parse_condition(text) for text in conditions]
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._decisions: dict[int, StopDecision] = {}
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._decisions.pop(number, None)
            trial = history.get(number)
            if trial is not None and trial.state is TrialState.RUNNING:
                self._check(trial)
        return [self._decisions[number] for number in sorted(self._decisions)]

    def _check(self, trial: Trial) -> None:
        for condition in self._conditions:
            if condition.holds(trial):
                stats = trial.metrics[condition.metric]
                self._decisions[trial.number] = StopDecision(
                    number=trial.number,
                    evidence={
                        "rule": "stop_if",
                        "condition": condition.text,
                        "metric": condition.metric,
                        "value": stats.last,
                    },
                    reason=(
                        f"stop_if: {condition.text}: its {condition.metric} is {stats.last:.12g} "
                        f"after {stats.count} finite values"
                    ),
                )
                return
