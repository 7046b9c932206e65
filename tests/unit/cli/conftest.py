"""Fixtures that run the command line in this process, with exit code, stdout and stderr."""

from __future__ import annotations

import os
import shutil
import subprocess
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
    """The result of one command."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]
SETTINGS = ("SMSWEEP_DIR", "SMSWEEP_STORE", "SMSWEEP_BACKEND", "SMSWEEP_DEBUG", "WANDB_PROJECT", "WANDB_ENTITY")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a tiny sweep in it."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    return tmp_path


def fill(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)


@pytest.fixture
def cli(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["smsweep", *args])
        capsys.readouterr()
        environ = dict(os.environ)
        with pytest.raises(SystemExit) as ending:
            main()
        os.environ.clear()  # options such as --dir and --region set variables
        os.environ.update(environ)
        code = ending.value.code
        assert isinstance(code, int)
        output = capsys.readouterr()
        return Ended(code=code, out=output.out, err=output.err)

    return run


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with an ended sweep, and the id of the sweep."""
    folder = tmp_path_factory.mktemp("ran")
    fill(folder)
    environ = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    argv = [sys.executable, "-m", "smsweep", "run", "sweep.yaml", "--quiet"]
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return folder, done.stdout.strip()


@pytest.fixture
def ran(folder: Path, once: tuple[Path, str]) -> str:
    """The id of a sweep with three finished trials, copied from `once`."""
    shutil.copytree(once[0] / ".smsweep", folder / ".smsweep")
    return once[1]
