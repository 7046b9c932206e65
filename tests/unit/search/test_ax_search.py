"""What Ax gets as parameters, and errors without Ax. tests/oracle/test_ax.py runs searches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from smsweep.core.sweep import Metric, SweepConfig
from smsweep.errors import ConfigError, SpaceError, UsageError
from smsweep.search.ax_search import AxSearch
from smsweep.search.ax_space import CELLS, decode, encode, unit_parameter, wandb_parameter, why_not_in_wandb
from smsweep.search.registry import make_strategy
from smsweep.services.sweeps.load import check_can_run, load_job
from smsweep.space.distributions import (
    Beta,
    Categorical,
    CategoricalWithProbabilities,
    Distribution,
    IntUniform,
    LogUniform,
    LogUniformValues,
    Normal,
    QLogNormal,
    QLogUniformValues,
    QNormal,
    QUniform,
    Uniform,
)
from smsweep.space.space import SearchSpace

SPACE = SearchSpace({"x": Uniform(min=0, max=1)})
AX: Any = SimpleNamespace(  # Ax's configs are plain data
    api=SimpleNamespace(
        configs=SimpleNamespace(
            RangeParameterConfig=lambda **keys: ("range", keys),
            ChoiceParameterConfig=lambda **keys: ("choice", keys),
        )
    )
)


@pytest.mark.parametrize(
    ("leaf", "kind", "keys"),
    [
        (IntUniform(min=1, max=8), "range", {"bounds": (1, 8), "parameter_type": "int"}),
        (Uniform(min=0, max=1), "range", {"bounds": (0.0, 1.0), "parameter_type": "float", "scaling": None}),
        (
            LogUniformValues(min=1e-3, max=1),
            "range",
            {"bounds": (1e-3, 1.0), "parameter_type": "float", "scaling": "log"},
        ),
        (
            QUniform(min=0, max=10, q=5),
            "range",
            {"bounds": (0.0, 10.0), "parameter_type": "int", "step_size": 5.0},
        ),
        (
            QUniform(min=0, max=10),
            "range",
            {"bounds": (0.0, 10.0), "parameter_type": "int", "step_size": 1.0},
        ),
        (
            QUniform(min=0, max=1, q=0.1),
            "range",
            {"bounds": (0.0, 1.0), "parameter_type": "float", "step_size": 0.1},
        ),
        (
            QLogUniformValues(min=1, max=512),
            "range",
            {"bounds": (1, 512), "parameter_type": "int", "scaling": "log"},
        ),
        (
            Categorical(values=("b", "a")),
            "choice",
            {"values": ["b", "a"], "parameter_type": "str", "is_ordered": False},
        ),
        (
            Categorical(values=(True, False)),
            "choice",
            {"values": [True, False], "parameter_type": "bool", "is_ordered": False},
        ),
        (
            Categorical(values=(1, 2.5)),
            "choice",
            {"values": [1, 2.5], "parameter_type": "float", "is_ordered": False},
        ),
    ],
)
def test_parameter_of_wandb_is_that_of_ax(leaf: Distribution, kind: str, keys: dict[str, Any]) -> None:
    assert wandb_parameter(AX, "p", leaf) == (kind, {"name": "p", **keys})
    assert why_not_in_wandb(leaf) == ""


@pytest.mark.parametrize(
    ("leaf", "n_numbers"),
    [
        (Categorical(values=("a", 1)), 2),
        (Categorical(values=(None, [1, 2], {"a": 1})), 3),
        (CategoricalWithProbabilities(values=("a", "b"), probabilities=(0.9, 0.1)), 2),
        (QUniform(min=0, max=10, q=3), 4),
        (QLogUniformValues(min=1, max=64, q=4), 17),
        (QNormal(mu=0, sigma=2, q=1), 19),
        (QNormal(mu=0, sigma=1, q=100), 1),
        (QLogNormal(mu=3, sigma=1, q=0.5), None),
        (QUniform(min=0, max=10**12, q=1), CELLS),
        (Normal(mu=0, sigma=1), CELLS),
        (Beta(a=2, b=5), CELLS),
        (LogUniform(min=-5, max=0), CELLS),
    ],
)
def test_ax_knows_other_parameters_by_numbers(leaf: Distribution, n_numbers: int | None) -> None:
    assert why_not_in_wandb(leaf)
    assert wandb_parameter(AX, "p", leaf) is None
    kind, keys = unit_parameter(AX, "p", leaf)
    numbers = keys["values"] if kind == "choice" else range(keys["bounds"][1] + 1)
    assert n_numbers in (None, len(numbers))
    for number in numbers[:: max(len(numbers) // 100, 1)]:
        assert encode(leaf, decode(leaf, number)) == number
    assert encode(leaf, "another") is None


def config(**scheduler: str) -> SweepConfig:
    loss = Metric(name="loss")
    return SweepConfig(method="custom", space=SPACE, metric=loss, scheduler={"engine": "ax", **scheduler})


def test_missing_ax_is_reported() -> None:
    with pytest.raises(UsageError, match=r"ax is not installed; pip install 'smsweep\[ax\]', or use method bayes"):
        make_strategy(config(), 0)


def test_sweep_without_ax_is_refused_before_it_is_created() -> None:
    with pytest.raises(ConfigError, match=r"scheduler.engine: ax is not installed; pip install 'smsweep\[ax\]'"):
        check_can_run(config(), load_job(None))


def test_program_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"scheduler.optimizer: smsweep runs no program with engine ax; remove"):
        make_strategy(config(source="s.py", optimizer="f"), 0)


def test_search_without_metric_is_refused() -> None:
    with pytest.raises(SpaceError, match="ax needs to know what to improve"):
        AxSearch(SPACE, ())
