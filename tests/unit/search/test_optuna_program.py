"""A space or a sampler that is a program: what is wrong with it is told."""

from __future__ import annotations

import pytest

from smsweep.errors import SpaceError
from smsweep.search.define_by_run import Program

SPACE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Range:
    low: float

def space(trial):
    trial.append(Range(low=1.0).low)
"""


def program(code: str, **named: str) -> Program:
    return Program({"engine": "optuna", "source": "space.py", "code": code, **named})


def test_a_space_asks_a_trial_for_its_params() -> None:
    asked: list[float] = []
    program(SPACE, search_space="space").ask(asked)
    assert asked == [1.0]


def test_a_program_may_be_there_for_its_sampler_alone() -> None:
    assert not program("", optimizer="sampler").has_space


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "scheduler.source: space.py ended in ZeroDivisionError: division by zero"),
        ("def f(:", "scheduler.source: space.py ended in SyntaxError"),
        ("import sys; sys.exit(3)", "scheduler.source: space.py ended in SystemExit: 3"),
        ("other = 1", "scheduler.search_space: space.py has no function 'space'"),
        ("space = 1", "scheduler.search_space: space.py has no function 'space'"),
    ],
)
def test_a_broken_program_is_told(code: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        program(code, search_space="space")


def test_a_space_that_fails_is_told() -> None:
    failing = program("def space(trial):\n    raise KeyError(trial)", search_space="space")
    with pytest.raises(SpaceError, match=r"scheduler.search_space: space.py ended in KeyError: 7"):
        failing.ask(7)


def test_a_program_whose_text_was_lost_is_told() -> None:
    with pytest.raises(SpaceError, match=r"scheduler.source: the text of space.py is not at hand"):
        Program({"engine": "optuna", "source": "space.py"})
