"""Tests of the run's config: the sweep's values are locked, other values can change."""

from __future__ import annotations

import copy
import pickle
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest

from smsweep.runtime.script.config import Config, Summary


def config(warned: list[str] | None = None) -> Config:
    output = [] if warned is None else warned
    return Config({"lr": 0.1, "opt": {"name": "adam", "m": {"a": 1}}}, output.append)


def test_sweep_value_is_locked_with_one_warning() -> None:
    warned: list[str] = []
    found = config(warned)
    found.lr = 1
    found["lr"] = 2
    found.update({"lr": 3}, allow_val_change=True)
    assert found.lr == 0.1
    assert warned == ["Config item 'lr' was locked by 'sweep' (ignored update)."]


def test_other_values_can_change() -> None:
    found = config()
    found.epochs = 1
    found.epochs = 2
    found.update(epochs=3, seed=1)
    assert (found.epochs, found["seed"]) == (3, 1)


def test_sweep_values_override_nested_defaults() -> None:
    warned: list[str] = []
    found = config(warned)
    found.add_defaults({"lr": 9, "opt": {"name": "sgd", "m": {"a": 2, "b": 3}, "eps": 4}, "epochs": 5})
    assert found.as_dict() == {
        "lr": 0.1,
        "opt": {"name": "adam", "m": {"a": 1, "b": 3}, "eps": 4},
        "epochs": 5,
    }
    assert warned == []


@pytest.mark.parametrize("values", [Namespace(lr=1, seed=2), {"lr": 1, "seed": 2}, [("lr", 1), ("seed", 2)]])
def test_namespace_dict_and_pairs_are_accepted(values: object) -> None:
    found = config()
    found.add_defaults(values)
    assert (found.lr, found.seed) == (0.1, 2)


def test_setdefaults_adds_only_missing_keys() -> None:
    found = config()
    found.epochs = 1
    found.setdefaults({"epochs": 2, "lr": 2, "seed": 3})
    assert (found.epochs, found.lr, found.seed) == (1, 0.1, 3)


def test_config_is_a_mapping() -> None:
    found = config()
    assert (list(found), len(found), "lr" in found, found.get("x", 7), list(found.keys())) == (
        ["lr", "opt"],
        2,
        True,
        7,
        ["lr", "opt"],
    )
    assert {**found} == dict(found.items()) == found.as_dict()


def test_missing_attribute_error_lists_existing_keys() -> None:
    with pytest.raises(AttributeError, match="config has no 'momentum'; it has: lr, opt"):
        _ = config().momentum


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda created: pickle.loads(pickle.dumps(created))],
    ids=["copy", "deep", "pickle"],
)
def test_copy_of_config_is_equal_and_independent(duplicate: Callable[[Config], Any]) -> None:
    config = Config({"lr": 0.1, "net": {"depth": 3}}, warn=lambda text: None)
    config.epochs = 5
    created = duplicate(config)
    assert (created.lr, created["net"], dict(created)) == (
        0.1,
        {"depth": 3},
        {"lr": 0.1, "net": {"depth": 3}, "epochs": 5},
    )
    created.lr = 0.2
    assert (created.lr, config.lr) == (0.2, 0.1)
    with pytest.raises(AttributeError, match="config has no 'lrate'; it has: lr, net, epochs"):
        _ = created.lrate


def test_copy_of_summary_reports_nothing() -> None:
    reported: list[Any] = []
    summary = Summary(reported.append)
    summary["best"] = 1
    created = copy.deepcopy(summary)
    created["best"] = 2
    assert (summary.best, created.best, reported) == (1, 2, [{"best": 1}])
