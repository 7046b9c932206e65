from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import SpaceError
from smsweep.search.grid_and_random import GridSearch
from smsweep.space.distributions import Categorical, Constant, IntUniform, Uniform
from smsweep.space.space import SearchSpace
from tests.unit.search.histories import add, remove, run

SPACE = SearchSpace({"a": IntUniform(min=0, max=2), "b": Categorical(values=("x", "y"))})
CELLS = [SPACE.grid_cell(i) for i in range(6)]


def grid(space: SearchSpace = SPACE) -> GridSearch:
    return GridSearch(space)


def test_each_cell_is_proposed_once_in_order() -> None:
    assert run(grid(), History(), 10) == CELLS


def test_trials_at_once_equal_trials_one_by_one() -> None:
    assert grid().suggest(History(), 100) == CELLS


def test_unused_suggestion_is_made_again() -> None:
    strategy, history = grid(), History()
    assert strategy.suggest(history, 2) == strategy.suggest(history, 2)


@pytest.mark.parametrize("state", TrialState)
def test_trial_covers_its_cell_in_any_state(state: TrialState) -> None:
    history = History([Trial(number=0, params=CELLS[0], state=state)])
    assert grid().suggest(history, 1) == [CELLS[1]]


def test_removed_trial_frees_its_cell() -> None:
    strategy, history = grid(), History()
    run(strategy, history, 6)
    remove(history, 2)
    assert strategy.suggest(history, 9) == [CELLS[2]]


def test_cell_of_a_prior_trial_is_not_proposed() -> None:
    history = History(prior=[Trial(number=0, params={**CELLS[0], "more": 1})])
    assert grid().suggest(history, 1) == [CELLS[1]]


def test_trial_with_a_missing_key_covers_nothing() -> None:
    history = History([Trial(number=0, params={"a": 0})])
    assert grid().suggest(history, 9) == CELLS


def test_space_of_constants_has_one_cell() -> None:
    assert run(grid(SearchSpace({"a": Constant(value=1)})), History(), 3) == [{"a": 1}]


def test_error_names_the_parameter_that_cannot_be_in_a_grid() -> None:
    space = SearchSpace({"opt": SearchSpace({"lr": Uniform(min=0.0, max=1.0)})})
    with pytest.raises(SpaceError, match=r"parameters\.opt\.lr: uniform cannot be in a grid"):
        grid(space)


@given(states=st.lists(st.integers(0, 5)), batches=st.lists(st.integers(1, 3), max_size=6))
def test_new_strategy_agrees_with_one_that_followed_the_history(states: list[int], batches: list[int]) -> None:
    history, old = History(), grid()
    for cell in states:
        add(history, CELLS[cell])
    for n in batches:
        suggested = old.suggest(history, n)
        assert suggested == grid().suggest(history, n)
        for params in suggested[:-1]:
            add(history, params)


def test_covered_cell_is_never_proposed() -> None:
    history, agents, rng = History(), [grid(), grid()], random.Random(1)
    while suggested := agents[rng.randrange(2)].suggest(history, rng.randint(1, 2)):
        for params in suggested:
            add(history, params)
    assert [trial.params for trial in history] == CELLS


def test_free_cell_of_a_huge_grid_is_found_fast() -> None:
    space = SearchSpace({name: IntUniform(min=1, max=1000) for name in "abcd"})
    prior = [Trial(number=i, params=space.grid_cell(i)) for i in range(2000)]
    assert grid(space).suggest(History(prior=prior), 1) == [space.grid_cell(2000)]
