"""Generated W&B parameters, the same in every run, and our search spaces for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smsweep.space.distributions import DISTRIBUTIONS, Distribution
from smsweep.space.space import SearchSpace
from tools.environments import oracle

Parameter = dict[str, Any]  # one parameter in W&B's YAML format

SCALARS: tuple[Any, ...] = (
    0,
    1,
    -3,
    7,
    1.0,
    0.0,
    2.5,
    1e-05,
    3e6,
    True,
    False,
    None,
    "",
    "1",
    "true",
    "adam",
    "Jäger",
)
VALUES: tuple[Any, ...] = (
    *SCALARS,
    [1, 2],
    [1.0, 2],
    [],
    [[1], "a", None],
    {"k": 1},
    {"k": 1.0},
    {"k": 1, "j": [1, 2]},
    {"j": [1, 2], "k": True},
    {},
    -0.0,
    float("inf"),
    float("nan"),
)


def ask(op: str, cases: list[dict[str, Any]]) -> list[Any]:
    """Return W&B's answer to each case."""
    answers: list[Any] = oracle("sweeps").ask(Path(__file__).parent / "ask_sweeps.py", {"op": op, "cases": cases})
    return answers


def distribution_of(parameter: Parameter) -> Distribution:
    """Return our distribution for a parameter with an explicit distribution."""
    arguments = {name: value for name, value in parameter.items() if name != "distribution"}
    for name in ("values", "probabilities"):
        if name in arguments:
            arguments[name] = tuple(arguments[name])
    return DISTRIBUTIONS[parameter["distribution"]](**arguments)


def space_of(parameters: Mapping[str, Any]) -> SearchSpace:
    return SearchSpace(
        {
            name: space_of(item["parameters"]) if "parameters" in item else distribution_of(item)
            for name, item in parameters.items()
        }
    )


def _bounds(rng: random.Random, low: float, high: float) -> dict[str, Any]:
    whole = rng.random() < 0.3
    a = rng.randint(int(low), int(high) - 1) if whole else rng.uniform(low, high)
    return {"min": a, "max": a + (rng.randint(1, 50) if whole else rng.uniform(0.01, abs(high)))}


def _positive(rng: random.Random) -> dict[str, Any]:
    low = 10 ** rng.uniform(-6, 3)
    return {"min": low, "max": low * 10 ** rng.uniform(0.1, 5)}


def _q(rng: random.Random) -> dict[str, Any]:
    return rng.choice([{}, {"q": rng.randint(1, 20)}, {"q": rng.choice([0.1, 0.25, 1.0, 5.0])}])


def _centre(rng: random.Random) -> dict[str, Any]:
    return rng.choice([{}, {"mu": rng.randint(-3, 3)}, {"mu": rng.uniform(-5, 5), "sigma": rng.uniform(0.01, 4)}])


def _shape(rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        [{}, {"a": rng.randint(1, 9)}, {"a": 10 ** rng.uniform(-1, 3), "b": 10 ** rng.uniform(-1, 3)}]
    )


def _chances(rng: random.Random) -> dict[str, Any]:
    values = rng.sample(SCALARS, rng.randint(1, 6))
    weights = [rng.choice([0.0, rng.random()]) for _ in values]
    weights[rng.randrange(len(weights))] += 1.0
    return {"values": values, "probabilities": [weight / sum(weights) for weight in weights]}


MAKERS: Mapping[str, Callable[[random.Random], dict[str, Any]]] = {
    "constant": lambda rng: {"value": rng.choice(VALUES)},
    "categorical": lambda rng: {"values": rng.sample(VALUES, rng.randint(1, 6))},
    "categorical_w_probabilities": _chances,
    "int_uniform": lambda rng: {
        "min": (low := rng.randint(-50, 50)),
        "max": low + rng.randint(1, 10 ** rng.randint(0, 6)),
    },
    "uniform": lambda rng: _bounds(rng, -100, 100),
    "q_uniform": lambda rng: _bounds(rng, -100, 100) | _q(rng),
    "log_uniform": lambda rng: _bounds(rng, -20, 10),
    "q_log_uniform": lambda rng: _bounds(rng, -5, 5) | _q(rng),
    "inv_log_uniform": lambda rng: _bounds(rng, -10, 10),
    "log_uniform_values": _positive,
    "q_log_uniform_values": lambda rng: _positive(rng) | _q(rng),
    "inv_log_uniform_values": _positive,
    "normal": _centre,
    "q_normal": lambda rng: _centre(rng) | _q(rng),
    "log_normal": _centre,
    "q_log_normal": lambda rng: _centre(rng) | _q(rng),
    "beta": _shape,
    "q_beta": lambda rng: _shape(rng) | _q(rng),
}


def parameter(rng: random.Random, kind: str) -> Parameter:
    return {"distribution": kind, **MAKERS[kind](rng)}


def grid_parameter(rng: random.Random) -> Parameter:
    """A parameter that W&B allows in a grid, of at most ten values."""
    kind = rng.choice(["categorical", "categorical", "int_uniform", "q_uniform", "constant"])
    low = rng.randint(-4, 4)
    if kind == "int_uniform":
        return {"distribution": kind, "min": low, "max": low + rng.randint(1, 4)}
    if kind == "q_uniform":
        q: dict[str, Any] = rng.choice([{}, {"q": 1}, {"q": 2}, {"q": 0.1}, {"q": 0.3}, {"q": 1.0}])
        step = q.get("q", 1.0)
        start = low if rng.random() < 0.5 else low / 10
        return {"distribution": kind, "min": start, "max": start + step * rng.choice([1, 2, 3, 4, 0.5, 2.5]), **q}
    return parameter(rng, kind)


def nested(rng: random.Random, make: Callable[[random.Random], Parameter], depth: int = 2) -> dict[str, Any]:
    """Return one to three named parameters, some with nested parameters."""
    names = rng.sample(["lr", "optimizer.lr", "Batch", "_x", "a", "a-b", "z9", "opt"], rng.randint(1, 3))
    return {
        name: {"parameters": nested(rng, make, depth - 1)} if depth and rng.random() < 0.25 else make(rng)
        for name in names
    }
