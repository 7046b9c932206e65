"""Warnings about paths that do not exist in the jobs of trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import SWEEP, Cli

pytestmark = pytest.mark.slow

CARRIED_OR_NOT = SWEEP.replace(
    "a: {values: [1, 2, 4]}",
    "a: {values: [1]}\n  b: {parameters: {data: {values: [data/, ./kept, ../away, ./none, wandb, train.py]}}}",
)
SAID = " is not in the source snapshot in which trials run; for jobs on this machine, give its absolute path"


@pytest.fixture
def data(folder: Path) -> Path:
    """A working directory with data, of which only `kept` is in the source snapshot."""
    inner = folder / "inner"
    for name in ("inner/data", "inner/kept", "inner/wandb", "away"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.csv").touch()
    (inner / "x.pt").touch()
    (inner / ".gitignore").write_text("data/\nwandb/\n*.pt\n")
    (folder / "train.py").rename(inner / "train.py")
    return inner


def test_sweep_warns_of_paths_outside_the_source(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "command: [python, '${program}', --config=data/x.csv, --other=kept/x.csv, '${args}']\n"
    (data / "sweep.yaml").write_text(CARRIED_OR_NOT + command)
    monkeypatch.chdir(data)
    output = [line.partition(SAID)[0] for line in cli("sweep", "sweep.yaml").err.splitlines() if SAID in line]
    places = "command[2]: data/x.csv", "parameters.b.data: data/", "parameters.b.data: ../away"
    assert output == [f"warning: {place}" for place in places]


def test_missing_module_of_a_partial_package_is_explained(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "src/pack").mkdir(parents=True)
    for name in ("__init__.py", "_version.py"):
        (data / "src/pack" / name).touch()
    (data / ".gitignore").write_text("_version.py\n")
    (data / "train.py").write_text("import pack._version")
    (data / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(data)
    monkeypatch.setenv("PYTHONPATH", f"{data}/src")
    message = "add !/src/pack/_version.py to .smsweepignore"
    assert message in cli("run", "sweep.yaml", "--count", "1").err
    (data / ".smsweepignore").write_text("!/src/pack/_version.py\n")
    assert message not in cli("run", "sweep.yaml", "--count", "1").err


@pytest.mark.parametrize(
    ("name", "is_told"), [("data/x.csv", True), ("x.pt", True), ("data/y.csv", False), ("/data/x.csv", False)]
)
def test_missing_local_file_in_trials_is_explained(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_told: bool
) -> None:
    (data / "train.py").write_text(f"open({name!r})")
    (data / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(data)
    ended = cli("run", "sweep.yaml", "--count", "1")
    assert ended.code == 3
    assert (f"{name} exists, but{SAID}" in ended.err) is is_told
