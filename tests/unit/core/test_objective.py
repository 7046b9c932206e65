from __future__ import annotations

import pytest

from smsweep.core.objective import Targets
from smsweep.core.sweep import Goal, Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.space.space import SearchSpace

S = TrialState
ERROR, SPEED = Metric(name="error", target=0.2), Metric(name="speed", goal=Goal.MAXIMIZE, target=50.0)


def config(*metrics: Metric) -> SweepConfig:
    if len(metrics) == 1:
        return SweepConfig(method="random", space=SearchSpace({}), metric=metrics[0])
    return SweepConfig(method="custom", space=SearchSpace({}), metrics=metrics)


def trial(number: int, state: TrialState = S.FINISHED, **values: float) -> Trial:
    metrics = {name: MetricStats().add(value) for name, value in values.items()}
    return Trial(number=number, params={}, state=state, metrics=metrics)


def test_target_of_one_metric_is_inclusive() -> None:
    targets, history = Targets(config(ERROR)), History([trial(0, error=0.21)])
    assert not targets.are_reached(history)
    history.update([trial(1, S.RUNNING, error=0.2)])
    assert targets.are_reached(history)


def test_same_trial_must_meet_all_targets() -> None:
    apart = History([trial(0, error=0.1, speed=10.0), trial(1, error=0.9, speed=60.0)])
    assert not Targets(config(ERROR, SPEED)).are_reached(apart)
    assert Targets(config(ERROR, SPEED)).are_reached(History([trial(0, error=0.2, speed=50.0)]))


def test_metric_without_target_must_be_reported() -> None:
    free = Metric(name="size")
    assert Targets(config(ERROR, free)).are_reached(History([trial(0, error=0.1, size=1e9)]))
    assert not Targets(config(ERROR, free)).are_reached(History([trial(0, error=0.1)]))


@pytest.mark.parametrize("state", [S.RUNNING, S.FAILED, S.CRASHED, S.KILLED])
def test_with_several_metrics_only_finished_and_stopped_trials_count(state: TrialState) -> None:
    assert not Targets(config(ERROR, SPEED)).are_reached(History([trial(0, state, error=0.1, speed=60.0)]))


def test_sweep_without_target_never_reaches_it() -> None:
    assert not Targets(config(Metric(name="error"))).are_reached(History([trial(0, error=-1e9)]))
