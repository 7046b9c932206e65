"""The command line in this process: quick, with its exit code and both streams."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from smsweep.cli.main import main

TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.init()
smsweep.log({"loss": 10 / a})
print("trained with", a)
if a == 13:
    raise ValueError("thirteen [bold]is[/] bad luck")
"""

SWEEP = """
program: train.py
name: tiny
method: grid
metric: {name: loss, goal: minimize}
parameters:
  a: {values: [1, 2, 4]}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tiny sweep in it."""
    for name in (
        "SMSWEEP_DIR",
        "SMSWEEP_STORE",
        "SMSWEEP_BACKEND",
        "SMSWEEP_DEBUG",
        "WANDB_PROJECT",
        "WANDB_ENTITY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def cli(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["smsweep", *args])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        code = ending.value.code
        assert isinstance(code, int)
        said = capsys.readouterr()
        return Ended(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def ran(cli: Cli) -> str:
    """The id of a sweep whose three trials have finished."""
    ended = cli("run", "sweep.yaml", "--quiet")
    assert ended.code == 0, ended.err
    return ended.out.strip()
