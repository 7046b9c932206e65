from __future__ import annotations

import pytest

from smsweep.core.condition import feasible_assignments, is_feasible, parse_outcome_constraint, violated
from smsweep.core.objective import Targets
from smsweep.core.repeats import find_best, find_front
from smsweep.core.sweep import Goal, Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Scalar, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.space.space import SearchSpace

S = TrialState
LOSS, SPEED = Metric(name="loss"), Metric(name="speed", goal=Goal.MAXIMIZE)
FAST = ("latency <= 50",)


def trial(number: int, state: TrialState = S.FINISHED, confirms: int | None = None, **values: Scalar) -> Trial:
    metrics = {name: MetricStats().add(value) for name, value in values.items()}
    return Trial(number=number, params={}, state=state, metrics=metrics, confirms=confirms)


@pytest.mark.parametrize(
    ("value", "is_ok", "broken"),
    [
        (50, True, []),
        (50.5, False, list(FAST)),
        (float("nan"), False, list(FAST)),
        ("fast", False, list(FAST)),
    ],
)
def test_last_value_of_a_trial_meets_or_violates_a_constraint(
    value: Scalar, is_ok: bool, broken: list[str]
) -> None:
    assert is_feasible(trial(0, latency=value), FAST) is is_ok
    assert violated(trial(0, latency=value), FAST) == broken


def test_missing_value_is_unknown_until_the_trial_has_ended() -> None:
    running, ended = trial(0, S.RUNNING, loss=1.0), trial(0, loss=1.0)
    assert not is_feasible(running, FAST)
    assert violated(running, FAST) == []
    assert violated(ended, FAST) == ["latency <= 50"]
    assert violated(trial(0, S.FAILED), FAST) == []


def test_summary_of_the_script_replaces_the_last_value() -> None:
    stats = {"latency": MetricStats().add(40.0)}
    assert violated(Trial(number=0, params={}, state=S.FINISHED, metrics=stats, summary={"latency": 60.0}), FAST)


def test_best_trial_and_front_are_feasible() -> None:
    trials = [
        trial(0, loss=0.1, speed=9.0, latency=90),
        trial(1, loss=0.3, speed=5.0, latency=40),
        trial(2, loss=0.4, speed=6.0, latency=50),
    ]
    best = find_best(trials, LOSS, 1, FAST)
    assert best is not None
    assert best.trial.number == 1
    assert find_best(trials, LOSS, 1, ("latency < 40",)) is None
    assert [each.trial.number for each in find_front(trials, (LOSS, SPEED), 1, FAST)] == [1, 2]
    assert [each.trial.number for each in find_front(trials, (LOSS, SPEED), 1)] == [0]


def test_repeated_assignments_are_compared_by_the_mean_of_the_constrained_metric() -> None:
    trials = [
        trial(0, loss=0.1, latency=45),
        trial(1, loss=0.1, latency=60),
        trial(2, loss=0.3, latency=45),
        trial(3, loss=0.3, latency=52),
    ]
    best = find_best(trials, LOSS, 2, FAST)
    assert best is not None
    assert best.trial.number == 2
    confirmed = [trial(0, loss=0.1, latency=45), trial(1, loss=0.3, latency=45)]
    confirmed += [trial(2, confirms=0, loss=0.1, latency=60), trial(3, confirms=1, loss=0.3, latency=52)]
    assert [each.number for each in feasible_assignments(confirmed, FAST)] == [1, 3]
    best = find_best(confirmed, LOSS, 1, FAST)
    assert best is not None
    assert best.trial.number == 1


def test_target_of_an_infeasible_trial_does_not_end_the_sweep() -> None:
    config = SweepConfig(method="random", space=SearchSpace({}), metric=Metric(name="loss", target=0.2))
    targets = Targets(config, lambda each: is_feasible(each, FAST))
    history = History([trial(0, loss=0.1, latency=90)])
    assert not targets.are_reached(history)
    history.update([trial(1, loss=0.2, latency=50)])
    assert targets.are_reached(history)


@pytest.mark.parametrize("text", ["loss is nan", "loss <= 3 after 2", "loss == 3", "loss <= x", "<= 3", "loss"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_outcome_constraint(text)
