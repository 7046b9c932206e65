from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.space.choices import Categorical, CategoricalWithProbabilities, Constant
from smsweep.space.distributions import (
    DISTRIBUTIONS,
    Distribution,
    IntUniform,
    LogUniformValues,
    QUniform,
    Uniform,
)
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition
from smsweep.space.unit_cube import INACTIVE, Cube


def cube(**parameters: Distribution) -> Cube:
    return Cube(SearchSpace(parameters))


def place(leaf: Distribution, value: Any) -> float:
    point, _ = cube(x=leaf).encode({"x": value})
    return float(point[0])


MIXED = cube(
    a=LogUniformValues(min=1e-4, max=1.0),
    b=IntUniform(min=-2, max=5),
    c=QUniform(min=0.0, max=1.0, q=0.05),
    d=Categorical(values=("x", True, None, 0)),
    e=Categorical(values=(64, 8, 16)),
    f=DISTRIBUTIONS["q_normal"](mu=10.0, sigma=3.0, q=1),  # type: ignore[call-arg]
    g=CategoricalWithProbabilities(values=("u", "v"), probabilities=(0.9, 0.1)),
    h=Constant(value="fixed"),
)
POINTS = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7).map(np.array)


@given(POINTS)
def test_encode_inverts_decode_of_a_snapped_point(point: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    (snapped,) = MIXED.snap(point[None])
    again, n_guesses = MIXED.encode(MIXED.decode(snapped))
    assert again == pytest.approx(snapped, abs=1e-9)
    assert n_guesses == 0


def test_coordinate_is_on_the_scale_of_the_distribution() -> None:
    assert place(LogUniformValues(min=1e-4, max=1.0), 1e-2) == pytest.approx(0.5)
    assert place(DISTRIBUTIONS["normal"](mu=3.0, sigma=2.0), 3.0) == pytest.approx(0.5)  # type: ignore[call-arg]


def test_coordinate_of_an_int_is_the_middle_of_its_part() -> None:
    assert [place(IntUniform(min=1, max=4), value) for value in (1, 2, 3, 4)] == [0.125, 0.375, 0.625, 0.875]


def test_listed_numbers_are_ordered_by_value() -> None:
    sizes = Categorical(values=(64, 8, 1024))
    assert place(sizes, 8) < place(sizes, 64) < place(sizes, 1024)
    assert not cube(x=sizes).is_nominal.any()


def test_listed_texts_have_no_order() -> None:
    assert cube(x=Categorical(values=("relu", "tanh", "gelu"))).is_nominal.all()


def test_falsy_values_are_distinguished() -> None:
    falsy = Categorical(values=(0, False, None, "", 1, True))
    assert len({place(falsy, value) for value in falsy.values}) == 6


def test_constants_have_no_dimension_and_are_decoded() -> None:
    both = cube(x=Uniform(min=0.0, max=1.0), y=Constant(value=[1, 2]))
    assert both.d == 1
    assert both.decode(np.array([0.5])) == {"x": 0.5, "y": [1, 2]}


def test_value_out_of_range_gets_the_nearer_end_and_is_a_guess() -> None:
    point, n_guesses = cube(x=Uniform(min=0.0, max=1.0)).encode({"x": 7.0})
    assert (point.tolist(), n_guesses) == ([1.0], 1)


def test_bound_is_not_a_guess() -> None:
    assert cube(x=LogUniformValues(min=1e-4, max=1.0)).encode({"x": 1e-4})[1] == 0


@pytest.mark.parametrize("params", [{}, {"x": "text"}, {"x": None}])
def test_missing_value_or_other_type_gets_the_middle(params: dict[str, Any]) -> None:
    point, n_guesses = cube(x=Uniform(min=0.0, max=1.0)).encode(params)
    assert (point.tolist(), n_guesses) == ([0.5], 1)


def test_unlisted_choice_differs_from_all_listed_ones() -> None:
    choices = Categorical(values=("adam", "sgd"))
    assert place(choices, "lion") not in {place(choices, "adam"), place(choices, "sgd")}


NESTED = Cube(
    SearchSpace(
        {
            "kind": Categorical(values=("a", "b", "c")),
            "rate": Uniform(min=0.0, max=1.0),
            "depth": IntUniform(min=1, max=4),
            "mode": Categorical(values=("x", "y")),
            "fixed": Constant(value=7),
        },
        (
            Condition(parameter="rate", when={"kind": Allowed(values=("b", "c"))}),
            Condition(parameter="fixed", when={"rate": Allowed(min=0.5)}),
            Condition(parameter="depth", when={"fixed": Allowed(values=(7,))}),
            Condition(parameter="mode", when={"depth": Allowed(max=2)}),
        ),
    )
)


@given(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).map(np.array))
def test_point_of_params_with_nested_conditions_is_the_snapped_point(
    point: np.ndarray[Any, np.dtype[np.float64]],
) -> None:
    (snapped,) = NESTED.snap(point[None])
    params = NESTED.decode(snapped)
    again, n_guesses = NESTED.encode(params)
    assert again == pytest.approx(snapped, abs=1e-9)
    assert n_guesses == 0
    is_chained = params.get("rate", 0.0) >= 0.5
    assert ("rate" in params, "fixed" in params, "depth" in params) == (
        params["kind"] != "a",
        is_chained,
        is_chained,
    )
    assert ("mode" in params) == (params.get("depth", 9) <= 2)
    assert (again == INACTIVE).sum() == 4 - len(params.keys() - {"fixed"})


def test_inactive_coordinate_that_becomes_active_is_the_middle() -> None:
    points = np.full((1, 4), INACTIVE)
    points[0, 1] = 0.5  # kind b; the order is depth, kind, mode, rate
    assert NESTED.decode(NESTED.snap(points)[0])["rate"] == 0.5


def test_parameter_without_known_conditions_is_a_guess() -> None:
    assert NESTED.encode({"kind": "a"})[1] == 0  # no other parameter exists
    assert NESTED.encode({"momentum": 0.9})[1] == NESTED.d
