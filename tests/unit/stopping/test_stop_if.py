from __future__ import annotations

import math

import pytest

from smsweep.core.sweep import EarlyTerminate, Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.space import SearchSpace
from smsweep.stopping.registry import StopIf, make_rule

CONDITIONS = ("loss is nan", "loss > 10 after 2")
NO_RULE = SweepConfig(method="random", space=SearchSpace({}), metric=Metric(name="loss"))


def trial(number: int, *values: float, state: TrialState = TrialState.RUNNING) -> Trial:
    stats = MetricStats()
    for value in values:
        stats = stats.add(value)
    curve = tuple(value for value in values if math.isfinite(value))
    return Trial(number=number, params={}, state=state, metrics={"loss": stats}, curve=curve)


def test_running_trials_that_meet_a_condition_are_stopped() -> None:
    history = History([trial(0, 1), trial(1, math.nan), trial(2, 11, 12), trial(3, 11)])
    assert [(stop.number, stop.reason) for stop in StopIf(CONDITIONS).judge(history)] == [
        (1, "stop_if: loss is nan: its loss is nan after 0 finite values"),
        (2, "stop_if: loss > 10 after 2: its loss is 12 after 2 finite values"),
    ]


@pytest.mark.parametrize("state", [state for state in TrialState if state is not TrialState.RUNNING])
def test_only_running_trials_are_stopped(state: TrialState) -> None:
    assert StopIf(CONDITIONS).judge(History([trial(0, math.nan, state=state)])) == []


def test_trial_that_recovers_is_not_stopped() -> None:
    rule, history = StopIf(CONDITIONS), History([trial(0, math.nan)])
    assert len(rule.judge(history)) == 1
    history.update([trial(0, math.nan, 1.0)])
    assert rule.judge(history) == []


def test_conditions_and_a_rule_work_together() -> None:
    config = SweepConfig(
        method="random",
        space=SearchSpace({}),
        metric=Metric(name="loss"),
        early_terminate=EarlyTerminate(type="hyperband", options={"min_iter": 1}),
    )
    rule = make_rule(config, ["loss is nan", "loss > 50"])
    assert rule is not None
    reasons = {
        stop.number: stop.reason.partition(":")[0]
        for stop in rule.judge(History([trial(0, 99), trial(1, 1), trial(2, 2, math.nan), trial(3, 3)]))
    }
    assert reasons == {0: "stop_if", 2: "stop_if", 3: "hyperband"}


def test_no_rule_without_conditions_and_early_terminate() -> None:
    assert make_rule(NO_RULE) is None


def test_invalid_condition_is_refused() -> None:
    with pytest.raises(ConfigError):
        make_rule(NO_RULE, ["loss is bad"])
