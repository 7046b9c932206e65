from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.core.sweep import EarlyTerminate, Goal, SweepConfig
from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.space import SearchSpace
from smsweep.stopping.successive_halving import bands_below, bands_from
from tests.unit.stopping import curves as curves_of
from tests.unit.stopping.curves import UPDATES, curves, rule_of

RUNNING, FINISHED = TrialState.RUNNING, TrialState.FINISHED


def config(goal: Goal = Goal.MINIMIZE, **rule: Any) -> SweepConfig:
    return curves_of.config(goal, **{"type": "hyperband", "min_iter": 2, "eta": 2, **rule})


def stopped(history: History, **rule: Any) -> list[int]:
    return [decision.number for decision in rule_of(config(**rule)).judge(history)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((27, 3, 2), [3, 9]),
        ((5, 2, 2), [1, 2]),
        ((27, 3, 50), [1, 3, 9]),
        ((49, 7, 2), [1, 7]),
        ((27, 3, 1), [9]),
    ],
)
def test_bands_below_max_iter_exclude_max_iter(arguments: tuple[int, float, int], expected: list[int]) -> None:
    assert bands_below(*arguments) == expected


def test_max_iter_overrides_min_iter() -> None:
    worse_at_9 = curves([1] * 9, [2] * 9)
    assert stopped(worse_at_9, max_iter=27, s=1, eta=3, min_iter=5) == [1]
    assert stopped(curves([1] * 8, [2] * 8), max_iter=27, s=1, eta=3, min_iter=5) == []


@pytest.mark.parametrize(
    ("eta", "expected"), [(3.0, [1, 3, 9, 27, 81, 243]), (1.5, [1, 2, 3, 5, 7, 11]), (2, [1, 2, 4, 8, 16, 32])]
)
def test_bands_are_counted_up_from_min_iter(eta: float, expected: list[int]) -> None:
    assert bands_from(1, eta)[:6] == expected


def test_number_of_bands_is_limited() -> None:
    assert bands_from(1, 1.01) == [1, 2]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"max_iter": 2, "s": 3}, "max_iter 2 is less than eta 3"),
        ({"max_iter": 9}, "needs s, the number of checks"),
        ({}, "needs min_iter, or max_iter and s"),
        ({"min_iter": 10**16}, "leave no band"),
        ({"min_iter": 1, "eta": 1.0}, "a number above 1"),
    ],
)
def test_options_without_bands_are_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule_of(curves_of.config(type="hyperband", **rule))


def test_rule_without_a_metric_is_refused() -> None:
    rule = EarlyTerminate(type="hyperband", options={"min_iter": 1})
    with pytest.raises(ConfigError, match="add `metric`"):
        rule_of(SweepConfig(method="random", space=SearchSpace({}), early_terminate=rule))


def test_worse_half_is_stopped_at_a_band() -> None:
    assert stopped(curves([9, 1], [9, 2], [9, 3], [9, 4])) == [3]


def test_single_trial_is_never_stopped() -> None:
    assert stopped(curves([9, 99])) == []


def test_equal_trials_are_never_stopped() -> None:
    assert stopped(curves([9, 1], [9, 1], [9, 1])) == []


def test_trial_before_the_first_band_is_not_judged() -> None:
    assert stopped(curves([1, 1], [99])) == []


@pytest.mark.parametrize("state", [state for state in TrialState if state is not RUNNING])
def test_only_running_trials_are_stopped_but_all_set_the_threshold(state: TrialState) -> None:
    history = curves([9, 1], state=state)
    history.update([Trial(number=1, params={}, state=RUNNING, curve=(9, 2))])
    assert stopped(history, eta=3) == [1]
    assert stopped(curves([9, 1], [9, 2], state=state), eta=3) == []


def test_goal_maximize_stops_low_values() -> None:
    assert stopped(curves([0, 1], [0, 2]), goal=Goal.MAXIMIZE, eta=3) == [0]


def test_strict_compares_the_value_at_the_band_instead_of_the_best() -> None:
    history = curves([9, 1, 1], [0.5, 2, 2])
    assert stopped(history, eta=3, strict=True) == [1]
    assert stopped(history, eta=3, strict=False) == []


def test_only_the_highest_reached_band_counts() -> None:
    worst_at_band_2, worst_at_band_4 = [0, 3, 0, 7], [0, 1, 0, 9]
    assert stopped(curves([0, 2, 0, 8], worst_at_band_2, worst_at_band_4)) == [2]


def test_trial_is_stopped_later_if_others_improve() -> None:
    rule, history = rule_of(config(eta=3)), curves([9, 2])
    assert rule.judge(history) == []
    history.update([Trial(number=1, params={}, state=RUNNING, curve=(9, 1))])
    assert [decision.number for decision in rule.judge(history)] == [0]


def test_removed_trial_does_not_set_the_threshold() -> None:
    rule, history = rule_of(config(eta=3)), curves([9, 1], [9, 2])
    assert len(rule.judge(history)) == 1
    history.update([Trial(number=0, params={}, is_removed=True)])
    assert rule.judge(history) == []


def test_reason_names_rule_band_value_threshold_and_peers() -> None:
    [decision] = rule_of(config(goal=Goal.MAXIMIZE, eta=3)).judge(curves([0, 0.25], [0, 0.5], [0, 0.75]))[:1]
    assert decision.reason == (
        "hyperband: at band 2 its loss 0.25 is worse than 0.5, the threshold of the 3 trials with 2 points"
    )
    assert decision.evidence == {
        "rule": "hyperband",
        "metric": "loss",
        "band": 2,
        "value": 0.25,
        "threshold": 0.5,
        "peers": 3,
    }


def test_reason_shows_enough_digits_of_nearly_equal_numbers() -> None:
    [decision] = rule_of(config(eta=3)).judge(curves([0, 1e6 + 0.2], [0, 1e6 + 0.1]))
    assert "its loss 1000000.2 is worse than 1000000.1, the threshold" in decision.reason


@given(updates=UPDATES, strict=st.booleans())
def test_new_rule_agrees_with_one_that_followed_the_sweep(updates: list[list[Trial]], strict: bool) -> None:
    history, old = History(), rule_of(config(strict=strict, min_iter=1))
    for update in updates:
        history.update(update)
        assert old.judge(history) == rule_of(config(strict=strict, min_iter=1)).judge(history)


def test_another_history_is_judged_from_the_start() -> None:
    rule = rule_of(config(min_iter=1))
    assert [decision.number for decision in rule.judge(curves([1.0], [2.0], [3.0]))] != []
    assert rule.judge(curves([3.0])) == []
