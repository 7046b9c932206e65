"""The argv and the param file of a trial equal those of W&B's own agent."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smsweep.runtime.job.command_macros import expand
from smsweep.runtime.wandb.config_yaml import param_document
from tests.oracle.wandb_cases import ENVIRON, ITEMS, MACROS, NUMBERS, TEXTS, ask, command, params

pytestmark = pytest.mark.oracle

N_CASES = 1_000
JSON_FILE = "DIR/wandb/sweep-s1/config-s1-0.json"


def case(command: list[Any], params: dict[str, Any], program: str = "train.py") -> dict[str, Any]:
    return {"command": command, "program": program, "params": params, "environ": ENVIRON}


def ours(asked: dict[str, Any]) -> list[str]:
    return expand(asked["command"], asked["program"], asked["params"], environ=ENVIRON, json_file=JSON_FILE)


def test_argv_of_generated_commands_equals_wandb() -> None:
    rng = random.Random("argv")
    cases = [case(command(rng), params(rng)) for _ in range(N_CASES)]
    cases += [case([item], {"a": 1, "flag": True, "off": False, "s": "x y", "d": {"k": 1}}) for item in ITEMS]
    differences = [
        (asked["command"], asked["params"], ours(asked), answer["argv"])
        for asked, answer in zip(cases, ask(cases), strict=True)
        if ours(asked) != answer["argv"]
    ]
    assert differences == []


def test_every_macro_expands_values_like_wandb() -> None:
    cases = [
        case(list(MACROS), {"v": value}) for value in (*TEXTS, *NUMBERS, [], {}, [1, "a", None], {"k": [1.0]})
    ]
    differences = [
        (asked["params"], ours(asked), answer["argv"])
        for asked, answer in zip(cases, ask(cases), strict=True)
        if ours(asked) != answer["argv"]
    ]
    assert differences == []


def test_param_file_equals_wandb_byte_for_byte() -> None:
    rng = random.Random("param file")
    cases = [case([], params(rng)) for _ in range(N_CASES)]
    cases += [case([], {"v": value, "l": [value], "d": {"k": [value]}}) for value in (*TEXTS, *NUMBERS)]
    differences = [
        (asked["params"], param_document(asked["params"]), answer["param_file"])
        for asked, answer in zip(cases, ask(cases), strict=True)
        if param_document(asked["params"]) != answer["param_file"]
    ]
    assert differences == []
