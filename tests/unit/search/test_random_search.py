from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.core.trial import History, Trial
from smsweep.search.grid_and_random import RandomSearch
from smsweep.space.distributions import (
    Categorical,
    CategoricalWithProbabilities,
    Constant,
    IntUniform,
    LogUniformValues,
    QNormal,
)
from smsweep.space.space import SearchSpace
from tests.unit.search.histories import add, remove, run

FINITE = SearchSpace({"a": IntUniform(min=1, max=4), "b": Categorical(values=("x", "y")), "c": Constant(value=0)})
INFINITE = SearchSpace({"lr": LogUniformValues(min=1e-5, max=0.1), "n": IntUniform(min=1, max=9)})
ENDLESS = SearchSpace({"n": QNormal(mu=8, sigma=2, q=1), "b": Categorical(values=("x", "y"))})


def search(space: SearchSpace, seed: int = 0) -> RandomSearch:
    return RandomSearch(space, seed, distinct=True)


def test_draw_depends_only_on_the_trial_number() -> None:
    lonely = History([Trial(number=4, params={})])
    crowded = History(Trial(number=number, params={"lr": 0.1}) for number in range(5))
    assert search(INFINITE).suggest(lonely, 1) == search(INFINITE).suggest(crowded, 1)


def test_other_number_or_seed_gives_another_draw() -> None:
    params = [*search(INFINITE).suggest(History(), 5), *search(INFINITE, 1).suggest(History(), 5)]
    assert len({json.dumps(item) for item in params}) == 10


@given(space=st.sampled_from([FINITE, INFINITE, ENDLESS]), seed=st.integers(0, 10**6), n=st.integers(1, 12))
def test_trials_at_once_equal_trials_one_by_one(space: SearchSpace, seed: int, n: int) -> None:
    assert search(space, seed).suggest(History(), n) == run(search(space, seed), History(), n)


@given(seed=st.integers(0, 10**6))
def test_finite_space_is_used_up_before_repeats(seed: int) -> None:
    params = run(search(FINITE, seed), History(), 8)
    assert sorted(FINITE.index(item) or 0 for item in params) == list(range(8))


@pytest.mark.parametrize("seed", range(5))
def test_likely_multiples_of_a_normal_distribution_are_not_repeated(seed: int) -> None:
    params = run(search(ENDLESS, seed), History(), 15)
    assert len({(item["n"], item["b"]) for item in params}) == 15
    assert all(0 < item["n"] < 16 for item in params)


def test_random_search_continues_after_all_assignments() -> None:
    assert len(run(search(FINITE), History(), 20)) == 20
    assert len(run(search(SearchSpace({"n": QNormal(mu=8, sigma=0.1, q=1)})), History(), 20)) == 20


def test_outlook_reports_a_used_up_space() -> None:
    history, strategy = History(), search(FINITE)
    run(strategy, history, 7)
    assert strategy.outlook(history) == ""
    run(strategy, history, 1)
    assert strategy.outlook(history).startswith("all 8 assignments of the space have been tried")
    assert search(INFINITE).outlook(history) == ""


def test_prior_assignment_is_not_drawn_while_others_are_free() -> None:
    history = History(prior=[Trial(number=0, params=FINITE.assignment(i)) for i in range(7)])
    assert search(FINITE).suggest(history, 1) == [FINITE.assignment(7)]


def test_assignment_of_a_removed_trial_can_be_drawn_again() -> None:
    strategy, history = search(FINITE), History()
    params = run(strategy, history, 8)
    remove(history, 3)
    assert strategy.suggest(history, 1) == [params[3]]


def test_last_unlikely_value_is_drawn() -> None:
    values, probabilities = tuple(range(4)), (1 - 3e-12, 1e-12, 1e-12, 1e-12)
    space = SearchSpace({"p": CategoricalWithProbabilities(values=values, probabilities=probabilities)})
    assert sorted(item["p"] for item in run(search(space), History(), 4)) == [0, 1, 2, 3]


@settings(max_examples=20)
@given(taken=st.lists(st.integers(0, 7), max_size=8))
def test_new_strategy_agrees_with_one_that_followed_the_history(taken: list[int]) -> None:
    history, old = History(), search(FINITE)
    for index in taken:
        old.suggest(history, 2)
        add(history, FINITE.assignment(index))
    assert old.suggest(history, 3) == search(FINITE).suggest(history, 3)


@pytest.mark.parametrize("distinct", [False, True])
def test_draws_follow_the_distribution(distinct: bool) -> None:
    space = SearchSpace({"p": CategoricalWithProbabilities(values=("a", "b"), probabilities=(0.25, 0.75))})
    drawn = RandomSearch(space, 0, distinct=distinct).suggest(History(), 4000)
    assert 900 < Counter(item["p"] for item in drawn)["a"] < 1100


def test_first_trials_of_all_seeds_follow_the_probabilities_by_default() -> None:
    space = SearchSpace({"p": CategoricalWithProbabilities(values=("adam", "sgd"), probabilities=(0.95, 0.05))})
    pairs = [[item["p"] for item in run(RandomSearch(space, seed), History(), 2)] for seed in range(1000)]
    counts = Counter(second for _, second in pairs)
    assert 920 < counts["adam"] < 980
    assert sum(first == second for first, second in pairs) > 850


def test_draws_are_independent_of_other_trials_by_default() -> None:
    taken = History([Trial(number=i, params=FINITE.assignment(i)) for i in range(8)])
    other = History([Trial(number=7, params=FINITE.assignment(0))])
    assert RandomSearch(FINITE).suggest(taken, 20) == RandomSearch(FINITE).suggest(other, 20)
    assert RandomSearch(FINITE).outlook(taken).startswith("all 8 assignments of the space have been tried")
