"""`smsweep diff` on real sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.cli.commands.diff import _change
from tests.unit.cli.conftest import SWEEP, Cli

pytestmark = pytest.mark.slow


def diff_of(cli: Cli, a: str, b: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("diff", a, b, "--json").out)
    return found


def named(pairs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {pair["name"]: {key: value for key, value in pair.items() if key != "name"} for pair in pairs}


@pytest.fixture
def other(cli: Cli, ran: str, folder: Path) -> str:
    """The id of a sweep whose config, job.yaml and source differ from `ran`."""
    (folder / "sweep.yaml").write_text(
        SWEEP.replace("[1, 2, 4]", "[5, null]").replace("method: grid", "method: random\nrun_cap: 1")
    )
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("10 / a", "20 / a"))
    (folder / "extra.py").write_text("x = 1\n")
    (folder / "data.bin").write_bytes(b"\x00\xff")
    (folder / "job.yaml").write_text("max_run: 77\nenvironment: {LEVEL: low}\n")
    return cli("run", "sweep.yaml", "--job", "job.yaml", "--seed", "1", "--quiet").out.strip()


def test_diff_of_trials_shows_only_params_and_metrics(cli: Cli, ran: str) -> None:
    found = diff_of(cli, f"{ran}/0", f"{ran}/2")
    assert named(found["params"]) == {"a": {"a": 1, "b": 4, "delta": 3}}
    assert named(found["metrics"])["loss"] == {"a": 10, "b": 2.5, "delta": -7.5}
    assert (found["kind"], found["is_same"], found["source"]["is_same"]) == ("trial", False, True)
    assert found["config"] == found["job"] == found["request"] == found["environment"] == []
    assert found["same"]["config"] > 3


def test_diff_of_a_trial_with_itself_is_empty(cli: Cli, ran: str) -> None:
    assert diff_of(cli, f"{ran}/1", f"{ran}/1")["is_same"]
    assert cli("diff", f"{ran}/1", f"{ran}/1", "--exit-code").code == 0


def test_diff_of_sweeps_compares_keys_and_files(cli: Cli, ran: str, other: str) -> None:
    found = diff_of(cli, ran, other)
    assert named(found["config"])["run_cap"] == {"b": 1}
    assert named(found["config"])["method"] == {"a": "grid", "b": "random"}
    assert named(found["job"]) == {"max_run": {"b": 77}, "environment.LEVEL": {"b": "low"}}
    files = {file["name"]: file for file in found["source"]["files"]}
    assert {name: file["change"] for name, file in files.items()} == {
        **dict.fromkeys(("data.bin", "extra.py", "job.yaml"), "added"),
        "train.py": "changed",  # a sweep config is not a part of the source
    }
    assert '-smsweep.log({"loss": 10 / a})' in files["train.py"]["diff"]
    assert '+smsweep.log({"loss": 20 / a})' in files["train.py"]["diff"]
    assert files["data.bin"]["diff"] is None


def test_diff_of_trials_of_two_sweeps_compares_requests(cli: Cli, ran: str, other: str) -> None:
    request = named(diff_of(cli, f"{ran}/0", f"{other}/0")["request"])
    assert request["StoppingCondition.MaxRuntimeInSeconds"] == {"a": 86400, "b": 77, "delta": -86323}
    assert request["Environment.LEVEL"] == {"b": "low"}
    assert not [name for name in request if "CheckpointConfig" in name or "JobName" in name]


def test_diff_prints_a_table_and_a_patch(cli: Cli, ran: str, other: str) -> None:
    output = cli("diff", ran, other).out
    assert "M train.py  +1 -1" in output
    assert '+smsweep.log({"loss": 20 / a})' in output
    assert "\x1b[" not in output
    assert '+smsweep.log({"loss": 20 / a})' not in cli("diff", ran, other, "--stat").out
    assert cli("diff", ran, other, "--exit-code").code == 1


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [(2.0, 3.0, "+1 (+50.0%)"), (1.0, 178.725, "+177.725"), (0.0, 3.0, "+3"), (4.0, 1.0, "-3 (-75.0%)")],
)
def test_change_has_a_percentage_only_if_it_is_readable(a: float, b: float, shown: str) -> None:
    assert _change({"name": "loss", "a": a, "b": b, "delta": b - a}) == shown


def test_diff_names_a_missing_snapshot(cli: Cli, ran: str, other: str, folder: Path) -> None:
    for bundle in (folder / ".smsweep" / "bundles").iterdir():
        bundle.unlink()
    found = diff_of(cli, ran, other)["source"]
    assert (found["is_same"], found["files"], len(found["missing"])) == (False, None, 2)
    assert found["missing"][0] in cli("diff", ran, other).out


def test_secrets_are_masked(cli: Cli, ran: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "trained with" in cli("diff", ran, other).out
    monkeypatch.setenv("API_TOKEN", "trained with")
    assert "trained with" not in cli("diff", ran, other).out + cli("diff", ran, other, "--json").out


@pytest.mark.parametrize(
    ("other", "message"), [("SWEEP/0", "of a kind"), ("zzzz9999", "zzzz9999"), ("?!", "not a sweep id")]
)
def test_diff_refuses_different_kinds(cli: Cli, ran: str, other: str, message: str) -> None:
    ended = cli("diff", ran, other.replace("SWEEP", ran))
    assert (ended.code, message in ended.err, ended.out) == (2, True, "")


def test_from_python(ran: str) -> None:
    found = smsweep.Api().diff(f"{ran}/0", f"{ran}/1")
    assert [pair["name"] for pair in found["params"]] == ["a"]
