"""smsweep finds the program where W&B's agent does, and runs it from the snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import SWEEP, Cli

pytestmark = pytest.mark.slow

WHERE = (
    "import pathlib, smsweep; smsweep.log({'loss': 1}); print('here:', pathlib.Path(__file__).read_text()[-4:])\n#"
)


def project(folder: Path, **lines: str) -> None:
    """Create conf/sweep.yaml with these lines, and two programs: src/train.py and conf/train.py."""
    for name in ("src", "conf"):
        (folder / name).mkdir()
        (folder / name / "train.py").write_text(f"{WHERE}{name:>4}")
        (folder / name / "__init__.py").touch()
    (folder / "train.py").unlink()
    text = SWEEP.replace("program: train.py\n", "").replace("[1, 2, 4]", "[1]")
    (folder / "conf/sweep.yaml").write_text(text + "".join(f"{key}: {value}\n" for key, value in lines.items()))


@pytest.mark.parametrize(
    ("program", "argument"),
    [
        ("src/train.py", "src/train.py"),
        ("../src/train.py", "src/train.py"),
        ("{folder}/src/train.py", "src/train.py"),
    ],
)
def test_program_in_the_working_directory_runs_from_the_snapshot(
    cli: Cli, folder: Path, program: str, argument: str
) -> None:
    project(folder, program=program.format(folder=folder))
    planned = json.loads(cli("plan", "conf/sweep.yaml", "--json").out)
    assert planned["trials"][0]["argv"][:3] == ["/usr/bin/env", "python", argument]
    sweep_id = cli("sweep", "conf/sweep.yaml").out.strip()
    (folder / "src/train.py").unlink()  # a later change has no effect
    assert cli("agent", sweep_id).code == 0
    assert "here:  src" in cli("logs", f"{sweep_id}/0").out


def test_renamed_program_gets_an_error(cli: Cli, folder: Path) -> None:
    project(folder, program=f"{folder}/src/train.py")
    message = f"program: {folder}/src/train.py is run as src/train.py, from the snapshot of {folder}"
    assert message in cli("sweep", "conf/sweep.yaml").err


@pytest.mark.parametrize(
    "lines",
    [
        {"command": "[python, -m, src.train]"},
        {"command": "[python, src/train.py]"},
        {"command": '["${env}", python, -m, "${program}"]', "program": "src.train"},
    ],
)
def test_command_finds_files_in_the_working_directory(cli: Cli, folder: Path, lines: dict[str, str]) -> None:
    project(folder, **lines)
    ran = cli("run", "conf/sweep.yaml")
    assert ran.code == 0, ran.err
    assert "here:  src" in cli("logs", f"{ran.out.strip()}/0").out


def test_command_finds_files_beside_the_config(cli: Cli, folder: Path) -> None:
    project(folder, command="[python, train.py]")
    ran = cli("run", "conf/sweep.yaml")
    assert "here: conf" in cli("logs", f"{ran.out.strip()}/0").out


def test_package_on_the_path_is_imported_from_the_snapshot(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lib/pack").mkdir(parents=True)
    (folder / "lib/pack/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{folder}/lib")  # `pip install -e .` does the same
    (folder / "train.py").write_text("import pack, smsweep; smsweep.log({'loss': 1}); print(pack.__file__)")
    ran = cli("run", "sweep.yaml", "--count", "1")
    assert cli("logs", f"{ran.out.strip()}/0").out.startswith(f"{folder}/.smsweep/jobs/")


def test_program_can_be_a_system_command(cli: Cli, folder: Path) -> None:
    project(folder, program="echo", command='["${program}", "@smsweep {\\"metrics\\": {\\"loss\\": 1}}"]')
    assert cli("run", "conf/sweep.yaml").code == 0


def test_program_can_be_a_python_folder(cli: Cli, folder: Path) -> None:
    project(folder, program="src")
    (folder / "src/train.py").rename(folder / "src/__main__.py")
    ran = cli("run", "conf/sweep.yaml")
    assert "here:  src" in cli("logs", f"{ran.out.strip()}/0").out


def test_program_that_the_command_ignores_is_not_checked(cli: Cli, folder: Path) -> None:
    project(folder, program="digits", command="[python, src/train.py]")
    ran = cli("run", "conf/sweep.yaml")
    assert "here:  src" in cli("logs", f"{ran.out.strip()}/0").out


def test_program_outside_both_folders_is_refused(
    cli: Cli, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "train.py"
    other.touch()
    project(folder, program=str(other))
    ended = cli("run", "conf/sweep.yaml")
    assert ended.code == 2
    assert f"program: {other} is outside {folder} and {folder}/conf" in ended.err
