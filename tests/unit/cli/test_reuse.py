"""`--reuse`: results of identical trials are copied from other sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.slow  # every test runs sweeps

WIDER = ("[1, 2, 4]", "[1, 2, 5]")


def trials(cli: Cli, sweep_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("trials", sweep_id, "--json").out)
    return found


def reasons(cli: Cli, *args: str) -> list[str]:
    sweep_id = cli("run", "sweep.yaml", "--reuse", "--quiet", *args).out.strip()
    shown = trials(cli, sweep_id)
    assert {trial["state"] for trial in shown} == {"finished"}
    return [trial["reason"] for trial in shown]


def widen(folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace(*WIDER))


@pytest.fixture(autouse=True)
def _apart(cli: Cli, folder: Path) -> None:
    """Exclude the configs from the source snapshot."""
    (folder / "code").mkdir()
    (folder / "train.py").rename(folder / "code" / "train.py")
    (folder / "job.yaml").write_text("source_dir: code\n")


@pytest.fixture
def known(cli: Cli) -> str:
    """The id of a sweep whose trials of 1, 2 and 4 have finished."""
    return cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet").out.strip()


def test_reuse_copies_the_result_of_an_identical_trial(cli: Cli, folder: Path, known: str) -> None:
    widen(folder)
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--reuse", "--quiet").out.strip()
    before, after = trials(cli, known), trials(cli, sweep_id)
    assert [trial["reason"] for trial in after] == [f"reused from {known}/0", f"reused from {known}/1", ""]
    assert [trial["metrics"] for trial in after[:2]] == [trial["metrics"] for trial in before[:2]]
    assert cli("logs", f"{sweep_id}/0").out == ""
    assert cli("logs", f"{sweep_id}/2").out == "trained with 5\n"


def test_reuse_ignores_configs_in_the_source(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").unlink()
    (folder / "code" / "train.py").rename(folder / "train.py")
    first = cli("run", "sweep.yaml", "--quiet").out.strip()
    widen(folder)
    assert reasons(cli) == [f"reused from {first}/0", f"reused from {first}/1", ""]
    (folder / "other.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 5]", "[2, 1]"))
    other = trials(cli, cli("run", "other.yaml", "--reuse", "--quiet").out.strip())
    assert all(trial["reason"].startswith("reused from ") for trial in other)
    with (folder / "train.py").open("a") as script:
        script.write("# changed\n")
    assert reasons(cli) == ["", "", ""]


def test_reuse_needs_the_flag(cli: Cli, known: str) -> None:
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet").out.strip()
    assert [trial["reason"] for trial in trials(cli, sweep_id)] == ["", "", ""]


def test_reuse_flag_of_a_sweep_applies_to_its_agents(cli: Cli, known: str) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml", "--reuse").out.strip()
    cli("agent", sweep_id)
    assert trials(cli, sweep_id)[0]["reason"] == f"reused from {known}/0"


def test_reuse_flag_of_an_agent_applies(cli: Cli, known: str) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    cli("agent", sweep_id, "--reuse")
    assert trials(cli, sweep_id)[0]["reason"] == f"reused from {known}/0"


def test_reuse_compares_the_source(cli: Cli, folder: Path, known: str) -> None:
    with (folder / "code" / "train.py").open("a") as script:
        script.write("# better\n")
    assert reasons(cli, "--job", "job.yaml") == ["", "", ""]


@pytest.mark.parametrize(
    ("line", "is_same"), [("environment: {A: b}", False), ("tags: {a: b}", True), ("budget: {trials: 9}", True)]
)
def test_reuse_compares_job_fields_that_affect_results(
    cli: Cli, folder: Path, known: str, line: str, is_same: bool
) -> None:
    (folder / "other.yaml").write_text(f"source_dir: code\n{line}\n")
    assert [bool(reason) for reason in reasons(cli, "--job", "other.yaml")] == [is_same] * 3


def test_reuse_runs_failed_trials_again(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[1, 13]"))
    first = cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet").out.strip()
    second = cli("run", "sweep.yaml", "--job", "job.yaml", "--reuse", "--quiet").out.strip()
    one, thirteen = trials(cli, second)
    assert one["reason"] == f"reused from {first}/0"
    assert thirteen["state"] == "failed"


def test_reuse_ignores_trials_of_a_replaced_job_config(cli: Cli, folder: Path) -> None:
    first = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    (folder / "other.yaml").write_text("source_dir: code\nenvironment: {A: b}\n")
    cli("agent", first, "--job", "other.yaml")
    assert reasons(cli, "--job", "job.yaml") == ["", "", ""]


def test_reused_result_names_its_origin(cli: Cli, known: str) -> None:
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "--reuse", "--quiet").out.strip()
    assert cli("why", f"{sweep_id}/1").out == (f"{sweep_id}/1 finished without an error\nreused from {known}/1\n")
