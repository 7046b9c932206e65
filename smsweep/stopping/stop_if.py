"""Conditions of a job.yaml's `stop_if`: what no trial should go on with, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterable

from smsweep.core.stop_condition import parse_condition
from smsweep.core.trial import History, StopDecision, Trial, TrialState


class StopIf:
    """Stops a running trial of which one of the conditions is true now; the first one is told as the reason.

    Raises ConfigError for a text that is no condition.
    """

    def __init__(self, conditions: Iterable[str]) -> None:
        self._conditions = [parse_condition(text) for text in conditions]
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._guilty: dict[int, StopDecision] = {}
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._guilty.pop(number, None)
            trial = history.get(number)
            if trial is not None and trial.state is TrialState.RUNNING:
                self._look_at(trial)
        return [self._guilty[number] for number in sorted(self._guilty)]

    def _look_at(self, trial: Trial) -> None:
        for condition in self._conditions:
            if condition.holds(trial):
                stats = trial.metrics[condition.metric]
                self._guilty[trial.number] = StopDecision(
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
