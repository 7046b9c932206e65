from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.core.trial import History, Trial, TrialState
from smsweep.errors import SpaceError
from smsweep.search.grid_search import GridSearch
from smsweep.space.distributions import Categorical, Constant, IntUniform, Uniform
from smsweep.space.space import SearchSpace
from tests.unit.search.histories import add, remove, run

SPACE = SearchSpace({"a": IntUniform(min=0, max=2), "b": Categorical(values=("x", "y"))})
CELLS = [SPACE.grid_cell(i) for i in range(6)]


def grid(space: SearchSpace = SPACE) -> GridSearch:
    return GridSearch(space)


def test_every_cell_is_proposed_once_in_order() -> None:
    assert run(grid(), History(), 10) == CELLS


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    assert grid().suggest(History(), 100) == CELLS


def test_a_suggestion_that_nobody_took_is_made_again() -> None:
    strategy, history = grid(), History()
    assert strategy.suggest(history, 2) == strategy.suggest(history, 2)


@pytest.mark.parametrize("state", TrialState)
def test_a_trial_blocks_its_cell_in_whatever_state(state: TrialState) -> None:
    history = History([Trial(number=0, params=CELLS[0], state=state)])
    assert grid().suggest(history, 1) == [CELLS[1]]


def test_removing_a_trial_frees_its_cell() -> None:
    strategy, history = grid(), History()
    run(strategy, history, 6)
    remove(history, 2)
    assert strategy.suggest(history, 9) == [CELLS[2]]


def test_a_cell_that_an_earlier_sweep_covered_is_not_run_again() -> None:
    history = History(prior=[Trial(number=0, params={**CELLS[0], "more": 1})])
    assert grid().suggest(history, 1) == [CELLS[1]]


def test_a_trial_without_a_swept_key_blocks_nothing() -> None:
    history = History([Trial(number=0, params={"a": 0})])
    assert grid().suggest(history, 9) == CELLS


def test_a_space_of_constants_has_one_cell() -> None:
    assert run(grid(SearchSpace({"a": Constant(value=1)})), History(), 3) == [{"a": 1}]


def test_a_parameter_that_cannot_be_in_a_grid_is_named() -> None:
    space = SearchSpace({"opt": SearchSpace({"lr": Uniform(min=0.0, max=1.0)})})
    with pytest.raises(SpaceError, match=r"parameters\.opt\.lr: uniform cannot be in a grid"):
        grid(space)


@given(states=st.lists(st.integers(0, 5)), batches=st.lists(st.integers(1, 3), max_size=6))
def test_a_fresh_strategy_agrees_with_one_that_was_there_all_along(states: list[int], batches: list[int]) -> None:
    history, old = History(), grid()
    for cell in states:
        add(history, CELLS[cell])
    for n in batches:
        suggested = old.suggest(history, n)
        assert suggested == grid().suggest(history, n)
        for params in suggested[:-1]:
            add(history, params)


def test_two_agents_never_propose_a_cell_that_is_in_the_history() -> None:
    history, agents, rng = History(), [grid(), grid()], random.Random(1)
    while suggested := agents[rng.randrange(2)].suggest(history, rng.randint(1, 2)):
        for params in suggested:
            add(history, params)
    assert [trial.params for trial in history] == CELLS


def test_cells_far_along_a_huge_grid_are_found_at_once() -> None:
    space = SearchSpace({name: IntUniform(min=1, max=1000) for name in "abcd"})
    prior = [Trial(number=i, params=space.grid_cell(i)) for i in range(2000)]
    assert grid(space).suggest(History(prior=prior), 1) == [space.grid_cell(2000)]
