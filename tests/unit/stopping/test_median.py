from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from smsweep.core.sweep import EarlyTerminate, Goal, SweepConfig
from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.space import SearchSpace
from tests.unit.stopping.curves import UPDATES, config, curves, judged, numbers, rule_of

GOOD = ([1, 1], [2, 2], [3, 3])


def stopped(history: History, goal: Goal = Goal.MINIMIZE, **rule: Any) -> list[int]:
    return numbers(judged(history, goal, **{"type": "median", "min_iter": 2, **rule}))


def test_best_value_worse_than_the_median_of_averages_is_stopped() -> None:
    assert stopped(curves(*GOOD, [9, 2.5])) == [2, 3]  # the medians of the others are 2 and 2


def test_value_equal_to_the_median_is_not_stopped() -> None:
    assert stopped(curves([1, 3], [2, 2], [3, 1], [9, 2])) == []


def test_best_value_is_compared_with_averages() -> None:
    assert stopped(curves([8, 0], [8, 0], [8, 0], [3.9, 9])) == []
    assert stopped(curves([8, 0], [8, 0], [8, 0], [4.1, 9])) == [3]


def test_others_count_with_the_same_number_of_points() -> None:
    late = [9, 9, 0, 0, 0, 0, 0, 0]
    assert stopped(curves(late, late, late, [8, 8])) == []


def test_trials_with_fewer_points_do_not_count() -> None:
    assert stopped(curves(*GOOD[:2], [1], [9, 9])) == []


@pytest.mark.parametrize(("min_trials", "expected"), [(2, [2, 3]), (3, [2, 3]), (4, [])])
def test_min_trials_is_the_minimum_number_of_others(min_trials: int, expected: list[int]) -> None:
    assert stopped(curves(*GOOD, [9, 9]), min_trials=min_trials) == expected


def test_no_trial_is_stopped_before_min_iter() -> None:
    assert stopped(curves(*GOOD, [9, 9]), min_iter=3) == []


def test_huge_values_are_compared() -> None:
    *_, decision = judged(curves(*[[-1e308] * 3] * 3, [1.0] * 3), type="median", min_iter=2)
    assert math.isfinite(decision.evidence["threshold"])


def test_single_trial_is_never_stopped() -> None:
    assert stopped(curves([9, 99]), min_trials=1) == []


def test_goal_maximize_stops_low_values() -> None:
    assert stopped(curves(*GOOD, [0, 0]), Goal.MAXIMIZE) == [0, 3]


@pytest.mark.parametrize("state", [state for state in TrialState if state is not TrialState.RUNNING])
def test_only_running_trials_are_stopped_but_all_count_as_others(state: TrialState) -> None:
    history = curves(*GOOD, state=state)
    history.update([Trial(number=3, params={}, state=TrialState.RUNNING, curve=(9, 9))])
    assert stopped(history) == [3]


def test_reason_names_rule_points_value_threshold_and_peers() -> None:
    assert judged(curves(*GOOD, [9, 8]), type="median", min_iter=2)[-1].reason == (
        "median: after 2 points its best loss 8 is worse than 2, "
        "the median of what 3 other trials averaged by then"
    )


def test_rule_without_a_metric_is_refused() -> None:
    rule = EarlyTerminate(type="median", options={"min_iter": 1})
    with pytest.raises(ConfigError, match="add `metric`"):
        rule_of(SweepConfig(method="random", space=SearchSpace({}), early_terminate=rule))


@given(updates=UPDATES)
def test_new_rule_agrees_with_one_that_followed_the_sweep(updates: list[list[Trial]]) -> None:
    history, old = History(), rule_of(config(type="median", min_iter=1, min_trials=2))
    for update in updates:
        history.update(update)
        assert old.judge(history) == judged(history, type="median", min_iter=1, min_trials=2)
