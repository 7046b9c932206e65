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
SAID = ", but is not in the copy in which trials run"


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
    output = [line for line in cli("sweep", "sweep.yaml").err.splitlines() if SAID in line]
    places = "command[2]: data/x.csv", "parameters.b.data: data/", "parameters.b.data: ../away"
    assert [line.partition(SAID)[0] for line in output] == [
        f"warning: {place} exists in {data}" for place in places
    ]
    assert f'(git ignores it); add inputs: {{data: "file://{data}/data"}} to job.yaml' in output[0]
    assert f'({folder_above(data)}/away is outside the folder); add inputs: {{away: "file://' in output[2]


def folder_above(data: Path) -> Path:
    return data.parent


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


def test_missing_local_file_is_explained_in_the_reason_of_the_trial(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "train.py").write_text("import pathlib\nopen(pathlib.Path(__file__).parent / 'data' / 'x.csv')")
    (data / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(data)
    ended = cli("run", "sweep.yaml", "--count", "1")
    assert ended.code == 3
    hint = f'data/x.csv exists in {data}{SAID} (git ignores it); add inputs: {{data: "file://{data}/data"}}'
    live = next(line for line in ended.err.splitlines() if "/0 failed" in line)
    assert hint in live
    assert hint in cli("why", f"{ended.out.strip()}/0").out
