"""Tests of W&B's `command` macros and the warnings about them. The oracle tests compare with W&B itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.runtime.job.command_macros import expand, item_warnings, warnings
from smsweep.runtime.job.requirements import with_interpreter

PARAMS = {"a": 1, "flag": True, "off": False}


def argv(*command: str, program: str | None = "train.py") -> list[str]:
    return expand(list(command), program, PARAMS, environ={"HOME": "/h"}, json_file="/c.json")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("${env}", ["/usr/bin/env"]),
        ("${interpreter}", ["python"]),
        ("${program}", ["train.py"]),
        ("${args}", ["--a=1", "--flag=True", "--off=False"]),
        ("${args_no_equals}", ["--a", "1", "--flag", "True", "--off", "False"]),
        ("${args_no_hyphens}", ["a=1", "flag=True", "off=False"]),
        ("${args_no_boolean_flags}", ["--a=1", "--flag"]),
        ("${args_json}", ['{"a": 1, "flag": true, "off": false}']),
        ("${args_json_file}", ["/c.json"]),
        ("${args_append_hydra}", ["+a=1", "+flag=True", "+off=False"]),
        ("${args_override_hydra}", ["++a=1", "++flag=True", "++off=False"]),
        ("${envvar:HOME}/x", ["/h/x"]),
        ("${envvar:UNSET}", ["UNSET"]),
        ("${unknown}", []),
        ("--a=${a}", ["--a=${a}"]),
    ],
)
def test_item_expands_as_in_wandb(item: str, expected: list[str]) -> None:
    assert argv(item) == expected


def test_missing_command_is_wandb_default() -> None:
    assert argv() == ["/usr/bin/env", "python", "train.py", "--a=1", "--flag=True", "--off=False"]


def test_missing_program_expands_to_nothing() -> None:
    assert argv("${program}", "x", program=None) == ["x"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("--bs=${batch_size}", "${batch_size} is not expanded"),
        ("${batch_size}", "is removed, because W&B has no such macro"),
        ("${envvar:lower}", "is removed, because W&B accepts only [A-Z0-9_]"),
    ],
)
def test_misleading_item_is_warned_about(item: str, words: str) -> None:
    (warning,) = item_warnings(item)
    assert words in warning


def test_unset_variable_is_warned_about_with_known_environment() -> None:
    (warning,) = warnings(["${program}", "${args}", "${envvar:UNSET}"], "train.py", environ={})
    assert "UNSET is not set" in warning


@pytest.mark.parametrize(
    ("command", "program", "words"),
    [
        (None, None, "the sweep names no program"),
        (["${args}"], "train.py", "never names the program, so train.py is not run"),
        (["python", "${program}"], "train.py", "passes no params"),
    ],
)
def test_incomplete_command_is_warned_about(command: list[str] | None, program: str | None, words: str) -> None:
    (warning,) = warnings(command, program)
    assert words in warning


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (None, "train.py"),
        (["python", "train.py", "${args}"], None),
        (["make", "${args_json}"], None),
        (["python", "-m", "lab.train", "${args}"], "lab/train.py"),
        (["python", "-m", "lab.train", "${args}"], "train.py"),
    ],
)
def test_valid_command_has_no_warnings(command: list[str] | None, program: str | None) -> None:
    assert warnings(command, program) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["/usr/bin/env", "python", "t.py"], ["/usr/bin/env", "/py", "t.py"]),
        (["python", "t.py"], ["/py", "t.py"]),
        (["bash", "python"], ["bash", "python"]),
    ],
)
def test_only_missing_python_as_interpreter_is_replaced(given: list[str], expected: list[str]) -> None:
    assert with_interpreter(given, path="/nowhere", fallback="/py") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["/usr/bin/env", "tool", "t.py"], ["tool", "t.py"]),
        (["/usr/bin/env", "A=1", "tool"], ["/usr/bin/env", "A=1", "tool"]),
        (["/usr/bin/env", "-u", "tool"], ["/usr/bin/env", "-u", "tool"]),
        (["/usr/bin/env", "missing"], ["/usr/bin/env", "missing"]),
        (["/usr/bin/env", "./tool"], ["/usr/bin/env", "./tool"]),
        (["/usr/bin/env"], ["/usr/bin/env"]),
    ],
)
def test_env_is_skipped_for_a_program_on_the_path(tmp_path: Path, given: list[str], expected: list[str]) -> None:
    for name in ("tool", "A=1", "-u"):
        (tmp_path / name).touch(mode=0o755)
    assert with_interpreter(given, path=str(tmp_path), fallback="/py") == expected
