"""The evidence of each trial for a Bayesian search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from smsweep.core.sweep import Goal, Metric
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.search.bayes.observations import (
    VIEWS,
    Evidence,
    Kind,
    Ledger,
    View,
    by_distance,
    by_rank,
    evidence,
    expected_whole,
    observed,
    targets,
    thinned,
)
from smsweep.space.distributions import Uniform
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Cube

S = TrialState
CUBE = Cube(SearchSpace({"x": Uniform(min=0.0, max=1.0), "y": Uniform(min=0.0, max=1.0)}))
PARAMS = {"x": 0.25, "y": 0.5}


def trial(state: TrialState, curve: Sequence[float] = (), number: int = 0, **more: Any) -> Trial:
    stats = MetricStats()
    for value in curve:
        stats = stats.add(value)
    finite = tuple(value for value in curve if np.isfinite(value))
    metrics = {"loss": stats} if curve else {}
    whole: dict[str, Any] = {
        "number": number,
        "params": PARAMS,
        "state": state,
        "metrics": metrics,
        "curve": finite,
    }
    return Trial(**whole | more)


def read(one: Trial, **metric: Any) -> tuple[Kind, float]:
    item = evidence(one, Metric(**{"name": "loss"} | metric), CUBE)
    return item.kind, item.value


def test_finished_trial_counts_with_its_best_value() -> None:
    assert read(trial(S.FINISHED, (3.0, 1.0, 2.0))) == (Kind.WHOLE, 1.0)


def test_finished_trial_counts_with_a_better_summary() -> None:
    assert read(trial(S.FINISHED, (3.0, 1.0), summary={"loss": 0.5})) == (Kind.WHOLE, 0.5)


def test_values_of_a_maximised_metric_are_negated() -> None:
    assert read(trial(S.FINISHED, (3.0, 1.0)), goal=Goal.MAXIMIZE) == (Kind.WHOLE, -3.0)


@pytest.mark.parametrize("curve", [(), (float("nan"),), (float("inf"), float("-inf"))])
def test_finished_trial_without_a_finite_value_counts_as_the_worst(curve: tuple[float, ...]) -> None:
    assert read(trial(S.FINISHED, curve))[0] is Kind.WORST


@pytest.mark.parametrize("state", [S.FAILED, S.CRASHED, S.KILLED])
def test_impute_decides_how_a_failed_trial_counts(state: TrialState) -> None:
    broken = trial(state, (1.0, 4.0))
    assert read(broken)[0] is Kind.WORST
    assert read(broken, impute="best") == (Kind.HINT, 1.0)
    assert read(broken, impute="latest") == (Kind.HINT, 4.0)
    assert read(trial(state), impute="best")[0] is Kind.WORST


@pytest.mark.parametrize("impute", ["worst", "best", "latest"])
def test_stopped_trial_is_a_hint(impute: str) -> None:
    assert read(trial(S.STOPPED, (3.0, 2.0)), impute=impute) == (Kind.HINT, 2.0)


@pytest.mark.parametrize("state", [S.RUNNING, S.STOPPING])
def test_running_trial_is_pending_unless_imputed(state: TrialState) -> None:
    going_on = trial(state, (1.0, 4.0))
    assert read(going_on)[0] is Kind.PENDING
    assert read(going_on, impute_while_running="best") == (Kind.HINT, 1.0)
    assert read(going_on, impute_while_running="latest") == (Kind.HINT, 4.0)
    assert read(going_on, impute_while_running="worst")[0] is Kind.WORST
    assert read(trial(state), impute_while_running="best")[0] is Kind.PENDING


@pytest.mark.parametrize("impute", ["worst", "best", "latest"])
def test_pending_trial_is_never_imputed(impute: str) -> None:
    assert read(trial(S.PENDING, (1.0, 4.0)), impute_while_running=impute)[0] is Kind.PENDING


def test_prior_trial_of_another_space_is_left_out() -> None:
    history = History(prior=[trial(S.FINISHED, (1.0,), params={"z": 1}), trial(S.FINISHED, (2.0,))])
    assert [item.value for item in Ledger(CUBE, Metric(name="loss")).follow(history)] == [2.0]


def test_ledger_follows_changes_of_the_history() -> None:
    history = History([trial(S.RUNNING)], prior=[trial(S.FINISHED, (5.0,))])
    ledger = Ledger(CUBE, Metric(name="loss"))
    assert [item.kind for item in ledger.follow(history)] == [Kind.WHOLE, Kind.PENDING]
    history.update([trial(S.FINISHED, (2.0,)), trial(S.PENDING, number=1)])
    assert [item.kind for item in ledger.follow(history)] == [Kind.WHOLE, Kind.WHOLE, Kind.PENDING]
    history.update([trial(S.PENDING, number=1, is_removed=True)])
    assert [item.value for item in ledger.follow(history)] == [5.0, 2.0]


def item(kind: Kind, value: float = 0.0, curve: Sequence[float] = ()) -> Evidence:
    return Evidence(kind=kind, value=value, params=PARAMS, cube=CUBE, curve=curve)


WHOLE = [item(Kind.WHOLE, value) for value in (3.0, 1.0, 2.0, 8.0)]


@pytest.mark.parametrize("view", VIEWS)
def test_worst_trial_gets_the_worst_known_value(view: View) -> None:
    y, _ = targets(observed([*WHOLE, item(Kind.WORST)]), view)
    assert y[-1] == max(y)


@pytest.mark.parametrize("view", VIEWS)
def test_hint_is_never_better_than_the_best_complete_training(view: View) -> None:
    y, doubt = targets(observed([*WHOLE, item(Kind.HINT, 0.1)]), view)
    assert y[-1] == min(y)
    assert doubt[-1] > 0.0


def test_failures_alone_give_no_observation() -> None:
    assert len(observed([item(Kind.WORST), item(Kind.PENDING)])) == 0


def test_hints_are_used_without_complete_trainings() -> None:
    known = observed([item(Kind.HINT, 1.0), item(Kind.HINT, 2.0), item(Kind.WORST)])
    assert known.sets_scale.tolist() == [True, True, False]


def test_stopped_trial_is_forecast_from_its_peers() -> None:
    starts = (2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7)
    peers = [item(Kind.WHOLE, start - 0.5, [start, start - 0.5]) for start in starts]
    expected, deviation = expected_whole([item(Kind.HINT, 2.25, [2.25])], peers)[:, 0]
    assert expected == pytest.approx(1.75, abs=0.05)
    assert deviation < 0.1


def test_different_peers_give_a_larger_deviation() -> None:
    ends = (1.9, 1.5, 0.5, 1.0, 1.8)
    peers = [item(Kind.WHOLE, end, [2.0, end]) for end in ends]
    assert expected_whole([item(Kind.HINT, 2.0, [2.0])], peers)[1, 0] > 0.3


def test_running_trial_counts_with_its_curve_but_does_not_set_the_scale() -> None:
    peers = [item(Kind.WHOLE, end, [end + 1.0, end]) for end in (1.0, 2.0, 3.0, 4.0)]
    known = observed([item(Kind.PENDING, 2.5, [2.5]), *peers, item(Kind.PENDING)])
    assert known.sets_scale.tolist() == [True, True, True, True, False]
    assert known.values[-1] == pytest.approx(1.5, abs=0.3)
    assert known.spreads[-1] > 0.0


def test_hint_with_a_forecast_sets_the_scale() -> None:
    peers = [item(Kind.WHOLE, end, [end + 1.0, end]) for end in (1.0, 2.0, 3.0, 4.0)]
    known = observed([*peers, item(Kind.HINT, 9.0, [9.0]), item(Kind.HINT, 9.0)])
    assert known.sets_scale.tolist() == [True] * 5 + [False]
    assert known.values[4] > 4.0


@pytest.mark.parametrize("view", VIEWS)
def test_views_are_monotone(view: View) -> None:
    values = np.random.default_rng(0).standard_cauchy(50)
    assert (np.argsort(view(values)) == np.argsort(values)).all()


@pytest.mark.parametrize("view", VIEWS)
def test_diverged_training_does_not_compress_the_rest(view: View) -> None:
    y = view(np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1e9]))
    assert y[3] - y[0] > 0.3
    assert y[-1] < 30.0


@pytest.mark.parametrize("view", VIEWS)
def test_equal_values_are_accepted(view: View) -> None:
    assert np.ptp(view(np.full(8, 3.0))) < 1e-9


@pytest.mark.parametrize("view", VIEWS)
def test_extreme_values_are_accepted(view: View) -> None:
    values = (1e308, -1e308, 1e300, 0.0, 5e-324)
    history = History([trial(S.FINISHED, (value,), number=n) for n, value in enumerate(values)])
    y, _ = targets(observed(Ledger(CUBE, Metric(name="loss")).follow(history)), view)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("view", VIEWS)
def test_values_that_differ_by_the_smallest_float_are_accepted(view: View) -> None:
    whole = [item(Kind.WHOLE, value) for value in (0.0, 1e-320, -1.0)]
    y, doubt = targets(observed([*whole, item(Kind.HINT, 5e-324)]), view)
    assert np.isfinite(y).all() and np.isfinite(doubt).all()


@pytest.mark.parametrize("view", VIEWS)
def test_targets_are_bounded(view: View) -> None:
    assert np.ptp(view(np.array([*np.linspace(0.0, 1.0, 8), *10.0 ** np.arange(3, 100)]))) < 30.0


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
@pytest.mark.parametrize("values", [[1.0, 3.0, 2.0, 5.0], [0.0] * 6 + [1.0, 3.0], [2.0] * 9 + [1.0]])
def test_unit_of_a_metric_has_no_effect(view: View, unit: float, values: list[float]) -> None:
    assert view(unit * np.array(values)) == pytest.approx(view(np.array(values)))


def test_rank_view_shrinks_its_unit_and_distance_view_does_not() -> None:
    start, later = [8.0, 4.0, 6.0, 2.0, 7.0, 5.0, 9.0, 3.0, 10.0, 11.0], np.linspace(1.0, 1.2, 30)
    values = np.r_[start, later]
    assert np.ptp(by_rank(values)[10:]) > 1.0 > 0.2 > np.ptp(by_distance(values)[10:])


def test_thinning_keeps_the_best_half_and_an_even_choice() -> None:
    remaining = thinned(np.arange(1000.0)[::-1], 100)
    assert len(remaining) == 100
    assert set(range(950, 1000)) <= set(remaining.tolist())
    assert remaining[0] == 0
