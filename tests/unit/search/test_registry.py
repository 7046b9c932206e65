from __future__ import annotations

import dataclasses

import pytest

from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.objective import objective, outcome
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.search.base import outlook
from smsweep.search.registry import Repeated, check_search, make_strategy
from smsweep.space.distributions import Categorical, Uniform
from smsweep.space.space import SearchSpace
from tests.unit.search.histories import add, remove, run

LOSS = Metric(name="loss")
SPACES = {
    "grid": SearchSpace({"a": Categorical(values=(1, 2, 3))}),
    "random": SearchSpace({"a": Uniform(min=0.0, max=1.0)}),
    "bayes": SearchSpace({"a": Uniform(min=0.0, max=1.0)}),
}


def search(method: str = "grid", n: int = 2) -> Repeated:
    config = SweepConfig(method=method, space=SPACES[method], metric=LOSS)
    return Repeated(make_strategy(config, 3), Repeats(n, LOSS))


def end(history: History, number: int, value: float, state: TrialState = TrialState.FINISHED) -> None:
    trial = history.get(number)
    assert trial is not None
    stats = {"loss": MetricStats().add(value)}
    history.update([dataclasses.replace(trial, state=state, metrics=stats, curve=(value + 1, value))])


def seen(history: History, n: int = 2) -> list[tuple[str, float | None]]:
    """Return state and mean of each trial as the search sees them."""
    return [(trial.state.value, objective(trial, LOSS)) for trial in Repeats(n, LOSS).follow(history)]


def test_each_assignment_is_repeated_in_a_row() -> None:
    assert [params["a"] for params in search().suggest(History(), 9)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("method", SPACES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_trials_at_once_equal_trials_one_by_one(method: str, n: int) -> None:
    assert search(method, n).suggest(History(), 6) == run(search(method, n), History(), 6)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_repeated_assignments_are_those_of_the_strategy(method: str) -> None:
    alone = make_strategy(SweepConfig(method=method, space=SPACES[method], metric=LOSS), 3)
    assert search(method, 3).suggest(History(), 9)[::3] == alone.suggest(History(), 3)


def test_started_assignment_is_completed_first() -> None:
    history = History()
    add(history, {"a": 1})
    assert [params["a"] for params in search(n=3).suggest(history, 3)] == [1, 1, 2]


def test_assignment_with_only_removed_trials_is_replaced() -> None:
    history = History()
    run(search(n=3), history, 1)
    remove(history, 0)
    assert len(search(n=3).suggest(history, 2)) == 2


def test_search_gets_the_mean_after_all_repeats_ended() -> None:
    history = History()
    run(search(), history, 3)
    end(history, 0, 1.0)
    assert seen(history) == [("running", None), ("pending", None)]
    end(history, 1, 2.0)
    assert seen(history)[0] == ("finished", 1.5)


def test_mean_covers_only_finished_repeats() -> None:
    history = History()
    run(search(), history, 6)
    for number, state in enumerate(["finished", "failed", "stopped", "failed", "failed", "killed"]):
        end(history, number, float(number), TrialState(state))
    assert seen(history) == [("finished", 0.0), ("stopped", 2.0), ("failed", None)]


def test_mean_curve_has_the_length_of_the_shortest_repeat() -> None:
    history = History(
        Trial(number=number, params={"a": 1}, state=TrialState.FINISHED, curve=curve)
        for number, curve in enumerate([(1.0, 2.0, 9.0), (3.0, 4.0)])
    )
    assert Repeats(2, LOSS).follow(history)[0].curve == (2.0, 3.0)


def test_mean_of_huge_values_is_finite() -> None:
    curve = (1.5e308,)
    stats = {"loss": MetricStats().add(*curve)}
    trials = [Trial(number=i, params={}, state=TrialState.FINISHED, metrics=stats, curve=curve) for i in range(2)]
    (one,) = Repeats(2, Metric(name="loss")).follow(History(trials))
    assert (one.metrics["loss"].min, one.curve) == (1.5e308, curve)


def test_assignment_is_proposed_again_after_all_its_trials_are_removed() -> None:
    history, strategy = History(), search()
    run(strategy, history, 6)
    for number in range(6):
        end(history, number, float(number))
    remove(history, 0)
    assert seen(history)[0] == ("finished", 1.0)
    assert strategy.suggest(history, 2) == []
    remove(history, 1)
    assert strategy.suggest(history, 4) == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(("n", "is_used_up"), [(4, False), (5, True)])
def test_outlook_is_that_of_the_strategy(n: int, is_used_up: bool) -> None:
    config = SweepConfig(method="random", space=SPACES["grid"])
    job = JobTemplate(search=SearchSettings(distinct=True))
    history, strategy = History(), Repeated(make_strategy(config, 0, job), Repeats(2, None))
    run(strategy, history, n)
    assert bool(outlook(strategy, history)) is is_used_up


def test_new_view_agrees_with_one_that_followed_the_history() -> None:
    history, old = History(), Repeats(3, LOSS)
    for step in range(30):
        add(history, {"a": step // 3})
        end(history, step // 2, float(step))
        old.follow(history)
    assert list(old.follow(history)) == list(Repeats(3, LOSS).follow(history))


def test_several_metrics_have_the_means_of_the_last_values() -> None:
    metrics = (Metric(name="cost"), Metric(name="gain"))
    curves = [((5.0, 1.0), (2.0,)), ((9.0, 3.0), (4.0,))]
    history = History()
    for number, (cost, gain) in enumerate(curves):
        stats = {}
        for name, values in (("cost", cost), ("gain", gain)):
            stats[name] = MetricStats()
            for value in values:
                stats[name] = stats[name].add(value)
        history.update([Trial(number=number, params={"a": 1}, state=TrialState.FINISHED, metrics=stats)])
    (one,) = Repeats(2, None, metrics).follow(history)
    assert outcome(one, metrics) == (2.0, 3.0)


def test_metric_that_a_repeat_lacks_is_missing() -> None:
    trials = [Trial(number=i, params={"a": 1}, state=TrialState.FINISHED) for i in range(2)]
    with_cost = dataclasses.replace(trials[0], metrics={"cost": MetricStats().add(1.0)})
    (one,) = Repeats(2, None, (Metric(name="cost"),)).follow(History([with_cost, trials[1]]))
    assert one.metrics == {}


@pytest.mark.parametrize("method", ["grid", "bayes"])
def test_method_that_never_repeats_refuses_to(method: str) -> None:
    config = SweepConfig(method=method, space=SPACES["grid"], metric=LOSS)
    with pytest.raises(ConfigError, match=f"search.distinct: the search method {method} repeats no params"):
        make_strategy(config, 0, JobTemplate(search=SearchSettings(distinct=False)))
    assert make_strategy(config, 0, JobTemplate(search=SearchSettings(distinct=True))).suggest(History(), 1)


@pytest.mark.parametrize("distinct", [False, True])
def test_engine_that_decides_about_repeats_refuses_the_setting(distinct: bool) -> None:
    config = SweepConfig(method="custom", scheduler={"engine": "optuna"}, space=SPACES["grid"], metric=LOSS)
    with pytest.raises(ConfigError, match="the search method optuna decides itself whether params repeat"):
        check_search(config, SearchSettings(distinct=distinct))
