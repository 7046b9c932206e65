from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.core.objective import dominates, front, outcome
from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import MetricStats, Scalar, Trial, TrialState

BOTH = (Metric(name="loss"), Metric(name="acc", goal=Goal.MAXIMIZE))


def trial(number: int, loss: Scalar, acc: Scalar, state: TrialState = TrialState.FINISHED) -> Trial:
    metrics = {"loss": MetricStats().add(loss), "acc": MetricStats().add(acc)}
    return Trial(number=number, params={}, state=state, metrics=metrics)


def numbers(*trials: Trial) -> list[int]:
    return [found.number for found in front(trials, BOTH)]


def test_dominated_trial_is_not_in_the_front() -> None:
    assert numbers(trial(0, 1, 0.5), trial(1, 1, 0.6), trial(2, 2, 0.9), trial(3, 3, 0.7)) == [1, 2]


def test_equal_trials_are_all_in_the_front() -> None:
    assert numbers(trial(0, 1, 0.5), trial(1, 1, 0.5)) == [0, 1]


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.CRASHED])
def test_failed_trials_are_not_in_the_front(state: TrialState) -> None:
    assert numbers(trial(0, 0, 1, state), trial(1, 1, 0.5)) == [1]


@pytest.mark.parametrize("value", [None, math.nan, True, "1"])
def test_trial_without_a_number_of_each_metric_is_not_in_the_front(value: Scalar) -> None:
    assert numbers(trial(0, 0, value), trial(1, 1, 0.5)) == [1]


def test_summary_value_is_used_before_last_value() -> None:
    stats = MetricStats().add(0.1).add(0.7)
    last = Trial(number=0, params={}, metrics={"loss": stats, "acc": stats})
    assert outcome(last, BOTH) == (0.7, -0.7)
    stated = Trial(number=0, params={}, metrics={"loss": stats, "acc": stats}, summary={"acc": 0.9})
    assert outcome(stated, BOTH) == (0.7, -0.9)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_front_has_all_trials_that_no_other_dominates(values: list[tuple[int, int]]) -> None:
    trials = [trial(number, loss, acc) for number, (loss, acc) in enumerate(values)]
    outcomes = [(float(loss), -float(acc)) for loss, acc in values]
    expected = [i for i, own in enumerate(outcomes) if not any(dominates(other, own) for other in outcomes)]
    assert numbers(*trials) == expected
