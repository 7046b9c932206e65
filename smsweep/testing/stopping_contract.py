"""The contract of a stopping rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from smsweep.core.sweep import EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.space.distributions import Uniform
from smsweep.space.space import SearchSpace
from smsweep.stopping.base import StoppingRule
from smsweep.stopping.registry import StoppingSpec, build_rule

SPACE = SearchSpace({"rate": Uniform(min=0.0, max=1.0)})
N_TRIALS, N_POINTS = 12, 20


class StoppingContract:
    """Tests that every stopping rule passes.

    Attributes:
        spec: The stopping rule.
        options: The keys of `early_terminate` beside `type`.
        stops_bad_trials: The rule, with these options, stops at least one of 12 trials with 20 points each, of
            which two thirds are much worse than the others.
    """

    spec: ClassVar[StoppingSpec]
    options: ClassVar[Mapping[str, Any]] = {}
    stops_bad_trials: ClassVar[bool] = True

    def rule(self, goal: Goal = Goal.MINIMIZE) -> StoppingRule:
        """Return a new rule."""
        section = EarlyTerminate(type=self.spec.name, options=self.options)
        metric = Metric(name="loss", goal=goal)
        config = SweepConfig(method="random", space=SPACE, metric=metric, early_terminate=section)
        return build_rule(self.spec, config)

    def test_empty_history_gives_no_decision(self) -> None:
        assert self.rule().judge(History()) == []

    def test_decisions_name_running_trials_in_ascending_order(self) -> None:
        rule, history = self.rule(), History()
        for update in _course():
            history.update([update])
            decisions = rule.judge(history)
            numbers = [decision.number for decision in decisions]
            assert numbers == sorted(set(numbers))
            for decision in decisions:
                _check_decision(decision, history)

    def test_bad_trials_are_stopped(self) -> None:
        rule, history, stopped = self.rule(), History(), set()
        for update in _course():
            history.update([update])
            stopped |= {decision.number for decision in rule.judge(history)}
        assert bool(stopped) or not self.stops_bad_trials

    def test_goal_decides_which_trials_are_bad(self) -> None:
        minimize, maximize = History(_course()), History(_mirrored(trial) for trial in _course())
        numbers = [decision.number for decision in self.rule().judge(minimize)]
        assert [decision.number for decision in self.rule(Goal.MAXIMIZE).judge(maximize)] == numbers

    def test_stopping_trials_are_not_named_again(self) -> None:
        rule, history = self.rule(), History(_course())
        for decision in rule.judge(history):
            trial = history.get(decision.number)
            assert trial is not None
            history.update([replace(trial, state=TrialState.STOPPING)])
        named = {decision.number for decision in rule.judge(history)}
        assert not named & {trial.number for trial in history if trial.state is TrialState.STOPPING}

    def test_new_instance_agrees_with_one_that_followed_the_sweep(self) -> None:
        history, old = History(), self.rule()
        for update in _course():
            history.update([update])
            assert old.judge(history) == self.rule().judge(history)

    def test_removed_trials_and_restarted_attempts_are_accepted(self) -> None:
        history, old = History(_course()), self.rule()
        old.judge(history)
        history.update([Trial(number=1, params={}, is_removed=True)])
        history.update([Trial(number=2, params={"rate": 0.5}, state=TrialState.RUNNING, curve=(9.0,))])
        assert old.judge(history) == self.rule().judge(history)

    def test_extreme_values_are_accepted(self) -> None:
        history = History(_course())
        curve = tuple(1e308 if number % 2 else -1e308 for number in range(N_POINTS))
        history.update([Trial(number=99, params={"rate": 0.5}, state=TrialState.RUNNING, curve=curve)])
        for decision in self.rule().judge(history):
            _check_decision(decision, history)


def _course() -> Iterator[Trial]:
    """Yield the states of twelve trials as they report their points; the last ones of them are still running."""
    for number in range(N_TRIALS):
        floor = 0.1 * number if number % 3 == 0 else 5.0 + number
        curve = tuple(floor + math.exp(-0.5 * point) for point in range(N_POINTS))
        params = {"rate": number / N_TRIALS}
        for length in (1, 2, 5, 10, N_POINTS):
            yield Trial(number=number, params=params, state=TrialState.RUNNING, curve=curve[:length])
        if number < N_TRIALS - 3:
            yield Trial(number=number, params=params, state=TrialState.FINISHED, curve=curve)
        else:
            yield Trial(number=number, params=params, state=TrialState.RUNNING, curve=curve[:-1])


def _mirrored(trial: Trial) -> Trial:
    return replace(trial, curve=tuple(-value for value in trial.curve))


def _check_decision(decision: StopDecision, history: History) -> None:
    trial = history.get(decision.number)
    assert trial is not None and trial.state is TrialState.RUNNING, f"trial {decision.number} is not running"
    assert decision.reason.strip(), "a decision needs a reason for the user"
    assert all(isinstance(key, str) for key in decision.evidence)
