from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smsweep.core.sweep import EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.distributions import Uniform
from smsweep.space.space import SearchSpace
from tests.unit.stopping.curves import rule_of

LENGTH = 18


def config(goal: Goal = Goal.MINIMIZE, **rule: Any) -> SweepConfig:
    return SweepConfig(
        method="random",
        space=SearchSpace({"lr": Uniform(min=0.0, max=1.0)}),
        metric=Metric(name="loss", goal=goal),
        early_terminate=EarlyTerminate(type="forecast", options={"min_iter": 2} | rule),
    )


def curve(floor: float, rate: float = 1.0) -> list[float]:
    """Return a curve that decreases from floor + 1 towards the floor, at a rate per point."""
    return [floor + float(np.exp(-rate * i)) for i in range(LENGTH)]


def trial(number: int, values: list[float], state: TrialState = TrialState.FINISHED, lr: float = 0.5) -> Trial:
    return Trial(number=number, params={"lr": lr}, state=state, curve=tuple(values))


WHOLE = [trial(i, curve(floor)) for i, floor in enumerate((0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0))]


def judged(*running: list[float], whole: list[Trial] = WHOLE, lr: float = 0.5, **rule: Any) -> list[StopDecision]:
    begun = [trial(99 + i, values, TrialState.RUNNING, lr) for i, values in enumerate(running)]
    return rule_of(config(**rule)).judge(History([*whole, *begun]))


def test_trial_with_a_bad_forecast_is_stopped() -> None:
    decisions = judged(curve(3.5)[:6], curve(0.05)[:6])
    assert [decision.number for decision in decisions] == [99]


def test_no_trial_is_stopped_before_min_iter_or_enough_complete_trainings() -> None:
    assert judged(curve(3.5)[:1]) == []
    assert judged(curve(3.5)[:6], whole=WHOLE[:5]) == []
    assert judged(curve(3.5)[:6], min_trials=9) == []


def test_slow_trial_continues_if_slow_trials_end_well() -> None:
    slow = [trial(20 + i, curve(-1.0 - 0.1 * i, rate=0.15), lr=0.05 * i) for i in range(4)]
    begun = curve(-1.2, rate=0.15)[:3]
    assert begun[-1] > curve(-0.6)[2]  # worse than a trial that is stopped
    assert judged(begun, whole=[*WHOLE, *slow], lr=0.1) == []


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_unit_of_a_metric_has_no_effect_if_most_trials_end_equally(unit: float) -> None:
    floors = (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 3.0)
    begun = [curve(floor)[:6] for floor in (0.6, 2.0, 3.5, 0.2)]

    def stopped(unit: float) -> list[int]:
        whole = [trial(i, [unit * value for value in curve(floor)]) for i, floor in enumerate(floors)]
        running = [[unit * value for value in values] for values in begun]
        return [decision.number for decision in judged(*running, whole=whole)]

    assert stopped(unit) == stopped(1.0) != []


def test_every_third_trial_is_never_stopped() -> None:
    bad = curve(3.5)[:6]
    assert [decision.number for decision in judged(bad, bad, bad, bad)] == [99, 100, 102]


def test_pessimistic_forecasts_raise_the_margin() -> None:
    late = [3.0 - 0.01 * i for i in range(12)] + [1.0] * 6  # the early values do not predict the late ones
    foreseen = [*(trial(i, late, lr=0.95) for i in range(2)), *(trial(t.number + 2, [*t.curve]) for t in WHOLE)]
    surprising = [*WHOLE, *(trial(20 + i, late, lr=0.95) for i in range(2))]
    assert len(judged(curve(2.0)[:6], whole=foreseen)) == 1
    assert judged(curve(2.0)[:6], whole=surprising) == []
    assert len(judged(curve(3.5)[:6], whole=surprising)) == 1


def test_trial_among_the_best_after_its_check_continues() -> None:
    begun = curve(3.5)[:6]
    assert len(judged([*begun, 3.5])) == 1
    assert judged([*begun, 0.01]) == []


def test_diverging_trial_is_stopped() -> None:
    assert (
        len(judged([10.0**i for i in range(1, 7)], whole=[*WHOLE, trial(20, [10.0**i for i in range(18)])])) == 1
    )


def test_goal_maximize_stops_low_forecasts() -> None:
    whole = [trial(one.number, [-value for value in one.curve]) for one in WHOLE]
    decisions = judged([-v for v in curve(3.5)[:6]], [-v for v in curve(0.0)[:6]], whole=whole, goal=Goal.MAXIMIZE)
    assert [decision.number for decision in decisions] == [99]
    assert decisions[0].evidence["forecast"] < decisions[0].evidence["threshold"] < 0.0


def test_reason_names_forecast_and_threshold() -> None:
    (decision,) = judged(curve(3.5)[:7])
    assert decision.evidence["band"] == 6
    assert decision.evidence["peers"] == len(WHOLE)
    assert decision.evidence["threshold"] == pytest.approx(0.1, abs=0.01)
    assert decision.evidence["forecast"] == pytest.approx(3.5, abs=0.5)
    assert "after 6 points its best loss is 3.50" in decision.reason
    assert "the best fifth of 8 whole trainings" in decision.reason


def test_decisions_step_by_step_equal_decisions_at_once() -> None:
    history = History()
    rule = rule_of(config())
    for state, values in ((TrialState.FINISHED, WHOLE), (TrialState.RUNNING, [trial(99, curve(3.5)[:1])])):
        history.update(Trial(number=t.number, params=t.params, state=state, curve=t.curve) for t in values)
        assert rule.judge(history) == []
    history.update([trial(99, curve(3.5)[:6], TrialState.RUNNING)])
    assert rule.judge(history) == rule_of(config()).judge(history) != []
    history.update([trial(3, curve(0.5, rate=0.3)), trial(40, curve(0.3))])
    assert rule.judge(history) == rule_of(config()).judge(History(history)) != []
    history.update([trial(99, curve(3.5)[:6], TrialState.STOPPING)])
    assert rule.judge(history) == []


def test_equal_and_huge_values_are_accepted() -> None:
    flat = [trial(i, [1.0] * LENGTH) for i in range(8)]
    assert judged([1.0] * 6, whole=flat) == []
    huge = [trial(i, [1e308] * LENGTH) for i in range(4)]
    assert [decision.number for decision in judged(curve(3.5)[:6], whole=[*WHOLE[:8], *huge])] in ([], [99])


def test_missing_min_iter_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_iter"):
        rule_of(config(min_iter=None))
