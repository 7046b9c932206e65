from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.space.distribution import MISSING
from smsweep.space.distributions import Categorical, Constant, IntUniform, QUniform, Uniform
from smsweep.space.space import SearchSpace
from tests.unit.space.laws import finite_laws, grid_laws

SPACE = SearchSpace(
    {
        "lr": Categorical(values=(0.1, 0.01)),
        "epochs": Constant(value=3),
        "optimizer": SearchSpace({"name": Categorical(values=("sgd", "adam")), "beta": IntUniform(min=1, max=3)}),
        "a.b": Categorical(values=(True,)),
    }
)


def spaces_of(laws: st.SearchStrategy[Any]) -> st.SearchStrategy[SearchSpace]:
    names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=3)
    return st.recursive(
        st.dictionaries(names, laws, min_size=1, max_size=3).map(SearchSpace),
        lambda inner: st.dictionaries(names, inner | laws, min_size=1, max_size=2).map(SearchSpace),
        max_leaves=3,
    )


def test_leaves_are_sorted_by_name_on_each_level() -> None:
    paths = [path for path, _ in SPACE.leaves]
    assert paths == [("a.b",), ("epochs",), ("lr",), ("optimizer", "beta"), ("optimizer", "name")]


def test_nest_and_flatten_are_inverse() -> None:
    params = SPACE.nest([True, 3, 0.1, 2, "sgd"])
    assert params == {"a.b": True, "epochs": 3, "lr": 0.1, "optimizer": {"beta": 2, "name": "sgd"}}
    assert SPACE.flatten(params) == [True, 3, 0.1, 2, "sgd"]


def test_flatten_marks_missing_values_and_nest_omits_them() -> None:
    flat = SPACE.flatten({"lr": 0.1, "optimizer": 7})
    assert flat == [MISSING, MISSING, 0.1, MISSING, MISSING]
    assert SPACE.nest(flat) == {"lr": 0.1}


def test_changing_drawn_params_does_not_change_the_space() -> None:
    space = SearchSpace({"layers": Categorical(values=([1, 2],))})
    space.grid_cell(0)["layers"].append(3)
    assert space.grid_cell(0) == {"layers": [1, 2]}


def test_last_leaf_changes_fastest() -> None:
    cells = [SPACE.grid_cell(i) for i in range(SPACE.grid_size or 0)]
    expected = itertools.product((0.1, 0.01), (1, 2, 3), ("sgd", "adam"))
    assert [(c["lr"], c["optimizer"]["beta"], c["optimizer"]["name"]) for c in cells] == list(expected)


def test_grid_of_a_quintillion_cells_is_not_listed() -> None:
    space = SearchSpace({name: IntUniform(min=1, max=1000) for name in "abcdef"})
    assert space.grid_size == 10**18
    assert space.grid_index(space.grid_cell(10**17 + 5)) == 10**17 + 5


def test_grid_index_needs_each_swept_key() -> None:
    cell = SPACE.grid_cell(4)
    del cell["optimizer"]["name"]
    assert SPACE.grid_index(cell) is None


def test_grid_index_ignores_constants_and_other_keys() -> None:
    cell = SPACE.grid_cell(4)
    cell.update(epochs=99, other=1)
    assert SPACE.grid_index(cell) == 4


def test_space_with_a_continuous_parameter_has_no_grid_and_no_size() -> None:
    space = SearchSpace({"a": Uniform(min=0, max=1), "b": IntUniform(min=0, max=1)})
    assert (space.size, space.grid_size, space.grid_index({"a": 0.5, "b": 1})) == (None, None, None)


def test_key_identifies_the_assignment() -> None:
    cell = SPACE.grid_cell(4)
    assert SPACE.key({**cell, "epochs": 99, "other": 1}) == SPACE.key(cell) != SPACE.key(SPACE.grid_cell(5))


def test_grid_and_draws_of_q_uniform_are_numbered_separately() -> None:
    space = SearchSpace({"q": QUniform(min=0, max=10, q=5)})
    assert (space.grid_size, space.size) == (2, 3)


def test_point_of_the_unit_cube_has_one_coordinate_per_leaf() -> None:
    assert SPACE.ppf([0.5] * 5)["optimizer"] == {"beta": 2, "name": "sgd"}
    with pytest.raises(ValueError, match="shorter"):
        SPACE.ppf([0.5])


def test_sample_uses_one_number_per_leaf() -> None:
    rng = random.Random(1)
    SPACE.sample(rng)
    same = random.Random(1)
    assert [same.random() for _ in range(6)][-1] == rng.random()


def test_order_of_parameters_does_not_affect_equality() -> None:
    assert SearchSpace(dict(reversed(list(SPACE.parameters.items())))) == SPACE


@pytest.mark.slow
@given(space=spaces_of(grid_laws), data=st.data())
def test_grid_cell_and_grid_index_are_inverse(space: SearchSpace, data: st.DataObject) -> None:
    assert space.grid_size is not None
    index = data.draw(st.integers(0, space.grid_size - 1))
    assert space.grid_index(space.grid_cell(index)) == index


@given(space=spaces_of(finite_laws), data=st.data())
def test_assignment_and_index_are_inverse(space: SearchSpace, data: st.DataObject) -> None:
    assert space.size is not None
    index = data.draw(st.integers(0, space.size - 1))
    assert space.index(space.assignment(index)) == index


@pytest.mark.slow
@given(space=spaces_of(finite_laws), seed=st.integers())
def test_each_draw_of_finite_space_has_index(space: SearchSpace, seed: int) -> None:
    assert space.index(space.sample(random.Random(seed))) is not None
