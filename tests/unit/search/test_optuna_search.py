"""Programs of the user that define a space or a sampler, and their errors."""

from __future__ import annotations

import pytest

from smsweep.errors import SpaceError
from smsweep.search.optuna_program import Program

SPACE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Range:
    low: float

def space(trial):
    trial.append(Range(low=1.0).low)
    return {"low": trial[0]}
"""


def program(code: str, **named: str) -> Program:
    return Program({"engine": "optuna", "source": "space.py", "code": code, **named})


def test_dict_of_search_space_is_the_params_of_the_run() -> None:
    asked: list[float] = []
    assert program(SPACE, search_space="space").ask(asked) == {"low": 1.0}
    assert asked == [1.0]


def test_search_space_without_dict_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"scheduler.search_space: space.py returned NoneType, not a dict"):
        program("def space(trial): pass", search_space="space").ask([])


def test_program_can_define_only_a_study() -> None:
    assert not program("def study(sweep): pass", optimizer="study").has_space


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "scheduler.source: space.py raised ZeroDivisionError: division by zero"),
        ("import optunahub", "No module named 'optunahub'; install it where smsweep runs"),
        ("def f(:", "scheduler.source: space.py raised SyntaxError"),
        ("import sys; sys.exit(3)", "scheduler.source: space.py raised SystemExit: 3"),
        ("other = 1", "scheduler.search_space: space.py has no function 'space'"),
        ("space = 1", "scheduler.search_space: space.py has no function 'space'"),
    ],
)
def test_broken_program_is_reported(code: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        program(code, search_space="space")


def test_exception_in_search_space_is_reported() -> None:
    failing = program("def space(trial):\n    raise KeyError(trial)", search_space="space")
    with pytest.raises(SpaceError, match=r"scheduler.search_space: space.py raised KeyError: 7"):
        failing.ask(7)


def test_missing_text_of_a_program_is_reported() -> None:
    with pytest.raises(SpaceError, match=r"scheduler.source: the text of space.py is not available"):
        Program({"engine": "optuna", "source": "space.py"})
