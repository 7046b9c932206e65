from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given

from smsweep.core.sweep import Goal
from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.stopping.base import PromotingRule
from tests.unit.stopping.curves import UPDATES, config, curves, judged, numbers, rule_of


def stopped(history: History, goal: Goal = Goal.MINIMIZE, **rule: Any) -> list[int]:
    return numbers(judged(history, goal, **{"type": "asha", "min_iter": 2, "eta": 3, **rule}))


@pytest.mark.parametrize(("n", "survivors"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (9, 3), (10, 3)])
def test_best_part_and_at_least_one_trial_continue(n: int, survivors: int) -> None:
    assert stopped(curves(*([9, value] for value in range(n)))) == list(range(survivors, n))


def test_trials_equal_to_the_last_survivor_continue() -> None:
    assert stopped(curves([9, 1], [9, 1], [9, 1], [9, 2])) == [3]


def test_rung_is_judged_without_waiting_for_other_trials() -> None:
    assert stopped(curves([9, 5], [9])) == []
    assert stopped(curves([9, 5], [9, 6], [9])) == [1]


def test_each_rung_has_its_own_peers() -> None:
    # all three reached 2 points, two of them 6
    history = curves([9, 1, 1, 1, 1, 5], [9, 2, 1, 1, 1, 4], [9, 3])
    assert stopped(history) == [0, 2]


def test_max_iter_is_not_a_rung() -> None:
    history = curves([9, 1, 1, 1, 1, 5], [9, 1, 1, 1, 1, 4])
    assert stopped(history, max_iter=6) == []
    assert stopped(history, max_iter=7) == [0]


def test_goal_maximize_stops_low_values() -> None:
    assert stopped(curves([0, 1], [0, 2]), Goal.MAXIMIZE) == [0]


def test_best_value_counts_without_strict() -> None:
    history = curves([9, 1], [0, 2])
    assert stopped(history, strict=True) == [1]
    assert stopped(history, strict=False) == []


def test_reason_names_rule_rung_value_threshold_and_peers() -> None:
    [decision] = judged(curves([0, 0.25], [0, 0.5]), type="asha", min_iter=2)
    assert decision.reason == (
        "asha: at band 2 its loss 0.5 is worse than 0.25, the threshold of the 2 trials with 2 points"
    )


@pytest.mark.parametrize(
    ("rule", "message"), [({}, "min_iter"), ({"min_iter": 3, "max_iter": 3}, "must be above min_iter")]
)
def test_options_without_rungs_are_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule_of(config(type="asha", **rule))


def test_most_trials_are_stopped_at_the_first_rung() -> None:
    rng, history = random.Random(1), History()
    rule = rule_of(config(type="asha", min_iter=1, eta=3))
    for number in range(81):  # one after the other, each until it is stopped
        level = rng.random()
        for length in range(1, 28):
            history.update([Trial(number=number, params={}, state=TrialState.RUNNING, curve=(level,) * length)])
            if numbers(rule.judge(history)):
                break
        history.update([Trial(number=number, params={}, state=TrialState.STOPPED, curve=(level,) * length)])
    lengths = [len(trial.curve) for trial in history]
    assert 50 < lengths.count(1) < 70
    best = min(history, key=lambda trial: trial.curve[0])
    assert len(best.curve) == 27


@given(updates=UPDATES)
def test_new_rule_agrees_with_one_that_followed_the_sweep(updates: list[list[Trial]]) -> None:
    history, old = History(), rule_of(config(type="asha", min_iter=1, eta=2))
    for update in updates:
        history.update(update)
        assert old.judge(history) == judged(history, type="asha", min_iter=1, eta=2)


def promotable(history: History, goal: Goal = Goal.MINIMIZE, **options: Any) -> list[int]:
    rule = rule_of(config(goal, **{"type": "asha", "min_iter": 2, "eta": 2, "promote": True, **options}))
    assert isinstance(rule, PromotingRule)
    return rule.promotable(history)


def paused(*values: tuple[float, ...], asked_by: str = "pause") -> History:
    state = TrialState.STOPPED
    return History(
        Trial(number=i, params={}, state=state, curve=curve, asked_by=asked_by) for i, curve in enumerate(values)
    )


def test_promoting_rule_pauses_trials() -> None:
    [decision] = judged(curves([0, 0.25], [0, 0.5]), type="asha", min_iter=2, promote=True)
    assert decision.is_pause
    assert decision.reason.startswith("asha: at band 2 its loss 0.5 is worse than 0.25")


def test_best_part_of_the_paused_trials_is_promotable_in_the_order_of_their_values() -> None:
    assert promotable(paused((9, 4), (9, 2), (9, 1), (9, 3))) == [2, 1]
    assert promotable(paused((9, 4), (9, 2), (9, 1), (9, 3)), Goal.MAXIMIZE) == [0, 3]


def test_trials_of_higher_rungs_are_promoted_first() -> None:
    assert promotable(paused((9, 4), (9, 1, 5, 8), (9, 2), (9, 3))) == [1, 2]


def test_only_paused_trials_are_promotable() -> None:
    assert promotable(paused((9, 1), (9, 2), asked_by="rule")) == []
    assert promotable(curves([9, 1], [9, 2])) == []


def test_resumed_trial_is_not_promotable_again() -> None:
    history = paused((9, 1), (9, 2))
    history.update([Trial(number=0, params={}, state=TrialState.PENDING, curve=(9, 1), attempt=1)])
    assert promotable(history) == []
