"""Spaces with conditional parameters and constraints: draws, numberings, grids, and impossible spaces."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from smsweep.errors import SpaceError
from smsweep.space.distributions import (
    Categorical,
    CategoricalWithProbabilities,
    Constant,
    IntUniform,
    LogUniformValues,
    Normal,
    Uniform,
)
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition

PARAMETERS: dict[str, Any] = {
    "optimizer": Categorical(values=("sgd", "adam", "rmsprop")),
    "momentum": IntUniform(min=0, max=3),
    "nesterov": Categorical(values=(True, False)),
    "layers": IntUniform(min=1, max=6),
    "warmup": SearchSpace({"epochs": Categorical(values=(1, 2)), "kind": Constant(value="linear")}),
}
CONDITIONS = (
    Condition(parameter="momentum", when={"optimizer": Allowed(values=("sgd", "rmsprop"))}),
    Condition(parameter="nesterov", when={"momentum": Allowed(min=2), "layers": Allowed(max=5)}),
    Condition(parameter="warmup", when={"optimizer": Allowed(values=("sgd",))}),
)
CONSTRAINTS = ("layers * momentum <= 9", "not (optimizer == 'adam' and layers > 3)", "warmup.epochs < layers")
SPACE = SearchSpace(PARAMETERS, CONDITIONS, CONSTRAINTS)


def valid_params() -> Iterator[dict[str, Any]]:
    """Yield all valid params of SPACE, by an independent enumeration, in the order of the leaves."""
    for layers, momentum, nesterov, optimizer, epochs in itertools.product(
        range(1, 7), (None, 0, 1, 2, 3), (None, True, False), ("sgd", "adam", "rmsprop"), (None, 1, 2)
    ):
        exists = optimizer in ("sgd", "rmsprop")
        if (momentum is not None) != exists or (epochs is not None) != (optimizer == "sgd"):
            continue
        if (nesterov is not None) != (momentum is not None and momentum >= 2 and layers <= 5):
            continue
        if momentum is not None and layers * momentum > 9:
            continue
        if (optimizer == "adam" and layers > 3) or (epochs is not None and epochs >= layers):
            continue
        params = {"layers": layers, "momentum": momentum, "nesterov": nesterov, "optimizer": optimizer}
        params = {name: value for name, value in params.items() if value is not None}
        yield params | ({"warmup": {"epochs": epochs, "kind": "linear"}} if epochs else {})


def test_grid_has_each_valid_cell_once_in_wandbs_order() -> None:
    assert [SPACE.grid_cell(i) for i in range(SPACE.grid_size or 0)] == list(valid_params())


def test_index_is_the_inverse_of_assignment() -> None:
    assert SPACE.size == len(list(valid_params()))
    assert [SPACE.index(SPACE.assignment(i)) for i in range(SPACE.size)] == list(range(SPACE.size))
    with pytest.raises(IndexError):
        SPACE.assignment(SPACE.size)


def test_index_ignores_values_of_parameters_that_do_not_exist() -> None:
    params = {"layers": 2, "optimizer": "adam"}
    assert SPACE.index({**params, "momentum": 3, "warmup": {"epochs": 1}}) == SPACE.index(params)
    assert SPACE.key({**params, "momentum": 3}) == SPACE.key(params)


def test_params_that_break_a_rule_have_no_number() -> None:
    assert SPACE.index({"layers": 4, "optimizer": "adam"}) is None
    assert SPACE.index({"layers": 2, "optimizer": "rmsprop"}) is None  # momentum is missing
    assert not SPACE.is_feasible({"layers": 4, "optimizer": "adam"})
    assert SPACE.is_feasible({"layers": 2, "optimizer": "adam"})


def test_draws_are_valid() -> None:
    valid = list(valid_params())
    drawn = [SPACE.sample(random.Random(i)) for i in range(2_000)]
    assert all(params in valid for params in drawn)
    assert all(any(params == each for each in drawn) for params in valid)


def test_point_of_the_cube_has_only_existing_parameters() -> None:
    assert SPACE.ppf([0.1, 0.9, 0.1, 0.5, 0.1, 0.1]) == {"layers": 1, "optimizer": "adam"}


def test_condition_does_not_change_the_law_of_other_parameters() -> None:
    space = SearchSpace({"a": Uniform(min=0, max=1), "b": Uniform(min=0, max=1)}, CONDITION_ON_A)
    plain = SearchSpace(space.parameters)
    for i in range(50):
        params, unconditional = space.sample(random.Random(i)), plain.sample(random.Random(i))
        assert params == ({**unconditional} if unconditional["a"] >= 0.5 else {"a": unconditional["a"]})


CONDITION_ON_A = (Condition(parameter="b", when={"a": Allowed(min=0.5)}),)


def test_grid_of_many_cells_is_counted_without_a_list() -> None:
    many = {f"x{i:02}": Categorical(values=tuple(range(10))) for i in range(18)}
    conditions = (Condition(parameter="x17", when={"x00": Allowed(values=(1, 2))}),)
    space = SearchSpace(many, conditions, ("x03 + x04 < 9",))
    # 45 of the 100 pairs; x17 exists for a fifth of the values of x00
    assert space.grid_size == 45 * 10**14 * (2 * 10 + 8)
    index = 10**16 + 12345
    assert space.grid_index(space.grid_cell(index)) == index


def test_combinations_that_are_too_many_to_count_have_no_size() -> None:
    space = SearchSpace({"a": IntUniform(min=1, max=10**6), "b": IntUniform(min=1, max=10**6)}, (), ("a < b",))
    assert (space.size, space.grid_size, space.grid_index({"a": 1, "b": 2})) == (None, None, None)
    assert space.sample(random.Random(0))["a"] < space.sample(random.Random(0))["b"]


# share of valid params -> a space with about this share
RARE = {
    "integers": SearchSpace(
        {"layers": IntUniform(min=1, max=1000), "width": IntUniform(min=1, max=4096)},
        (),
        ("layers * width <= 600",),
    ),
    "floats": SearchSpace({name: Uniform(min=0, max=1) for name in "abcd"}, (), ("a + b + c + d <= 0.39",)),
    "logarithms": SearchSpace(
        {"lr": LogUniformValues(min=1e-5, max=1.0), "decay": LogUniformValues(min=1e-5, max=1.0)},
        (),
        ("0.99 <= lr / decay / 3 <= 1.01",),
    ),
    "equality": SearchSpace(
        {"a": IntUniform(min=1, max=1000), "b": IntUniform(min=1, max=1000)}, (), ("a + b == 700",)
    ),
    "conditional": SearchSpace(
        {
            "kind": Categorical(values=("x", "y")),
            "n": IntUniform(min=1, max=1000),
            "m": IntUniform(min=1, max=1000),
        },
        (Condition(parameter="m", when={"kind": Allowed(values=("x",))}),),
        ("n * m <= 250", "kind == 'x'"),
    ),
    "normal": SearchSpace({"a": Normal(mu=0, sigma=1), "b": Normal(mu=0, sigma=1)}, (), ("min(a, b) > 1.86",)),
}


@pytest.mark.parametrize("name", RARE)
def test_rare_params_need_few_draws(name: str) -> None:
    space = RARE[name]
    plain, rng = SearchSpace(space.parameters), random.Random(1)
    share = sum(space.is_feasible(plain.sample(rng)) for _ in range(20_000)) / 20_000
    assert share < 0.004
    space.check_feasible()
    draws = space.draws
    assert draws is not None
    before = draws.n_draws
    params = [space.sample(random.Random(i)) for i in range(200)]
    assert all(map(space.is_feasible, params))
    assert (draws.n_draws - before) / 200 < 50  # plain draws need 250 or more


def test_draws_under_constraints_have_the_conditional_law() -> None:
    parameters = {
        "a": IntUniform(min=1, max=60),
        "b": IntUniform(min=1, max=60),
        "c": CategoricalWithProbabilities(values=("x", "y", "z"), probabilities=(0.6, 0.4, 0.0)),
        "free": IntUniform(min=1, max=2),
    }
    space = SearchSpace(parameters, (), ("a + b <= 5 or (c == 'y' and a + b == 119)",))
    n = 6_000
    counts = Counter((p["a"], p["b"], p["c"]) for p in (space.sample(random.Random(i)) for i in range(n)))
    weights = {
        (a, b, c): weight
        for a in range(1, 61)
        for b in range(1, 61)
        for c, weight in (("x", 0.6), ("y", 0.4))
        if a + b <= 5 or (c == "y" and a + b == 119)
    }
    total = sum(weights.values())
    assert counts.keys() == weights.keys()
    chi_square = sum((counts[k] - n * w / total) ** 2 / (n * w / total) for k, w in weights.items())
    assert chi_square < len(weights) + 4 * (2 * len(weights)) ** 0.5


def test_draws_do_not_depend_on_earlier_draws() -> None:
    def space() -> SearchSpace:
        return SearchSpace(RARE["floats"].parameters, (), RARE["floats"].constraints)

    used = space()
    used.check_feasible()
    expected = [used.sample(random.Random(i)) for i in range(20)]
    assert [space().sample(random.Random(i)) for i in range(20)] == expected


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        (("layers * momentum > 18",), "no params meet the constraints"),
        (("layers == momentum", "layers > 3"), "no params meet the constraints"),
        (("layers * lr == 0.123456",), "between floats, use <= and >="),
    ],
)
def test_constraints_without_valid_params_are_refused(constraints: tuple[str, ...], problem: str) -> None:
    parameters: dict[str, Any] = {**PARAMETERS, "lr": Uniform(min=0.0, max=1.0)}
    space = SearchSpace(parameters, (), constraints)
    with pytest.raises(SpaceError, match=problem):
        space.check_feasible()


def test_single_valid_params_are_found() -> None:
    parameters = {name: IntUniform(min=1, max=1000) for name in "abc"}
    space = SearchSpace(parameters, (), ("a * b * c == 999", "a < 2", "b < 2"))
    assert space.sample(random.Random(5)) == {"a": 1, "b": 1, "c": 999}
