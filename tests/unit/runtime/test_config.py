"""The run's config: the sweep's values win and stay, all others are the script's."""

from __future__ import annotations

from argparse import Namespace

import pytest

from smsweep.runtime.config import Config


def config(warned: list[str] | None = None) -> Config:
    said = [] if warned is None else warned
    return Config({"lr": 0.1, "opt": {"name": "adam", "m": {"a": 1}}}, said.append)


def test_a_sweep_value_is_locked_with_one_warning() -> None:
    warned: list[str] = []
    found = config(warned)
    found.lr = 1
    found["lr"] = 2
    found.update({"lr": 3}, allow_val_change=True)
    assert found.lr == 0.1
    assert warned == ["Config item 'lr' was locked by 'sweep' (ignored update)."]


def test_other_values_may_change_freely() -> None:
    found = config()
    found.epochs = 1
    found.epochs = 2
    found.update(epochs=3, seed=1)
    assert (found.epochs, found["seed"]) == (3, 1)


def test_defaults_lie_under_the_sweeps_values_in_nested_dicts_too() -> None:
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
def test_a_namespace_a_dict_and_pairs_all_do(values: object) -> None:
    found = config()
    found.add_defaults(values)
    assert (found.lr, found.seed) == (0.1, 2)


def test_setdefaults_adds_only_what_is_missing() -> None:
    found = config()
    found.epochs = 1
    found.setdefaults({"epochs": 2, "lr": 2, "seed": 3})
    assert (found.epochs, found.lr, found.seed) == (1, 0.1, 3)


def test_it_is_a_mapping() -> None:
    found = config()
    assert (list(found), len(found), "lr" in found, found.get("x", 7), list(found.keys())) == (
        ["lr", "opt"],
        2,
        True,
        7,
        ["lr", "opt"],
    )
    assert {**found} == dict(found.items()) == found.as_dict()


def test_a_missing_attribute_names_what_there_is() -> None:
    with pytest.raises(AttributeError, match="config has no 'momentum'; it has: lr, opt"):
        _ = config().momentum
