"""`smsweep wandb import` and `smsweep export --format wandb`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from tests.support.wandb_server import FakeRun, fake_wandb
from tests.unit.cli.conftest import Cli


def run_of(value: object, loss: float | None, state: str = "finished") -> FakeRun:
    return FakeRun(
        sweep="wbsweep1",
        state=state,
        config={"a": {"value": value}, "_wandb": {"value": {"v": 1}}},
        summary={} if loss is None else {"loss": loss, "_runtime": 3},
    )


def test_wandb_import_skips_cells_that_ran_on_wandb(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((folder / "sweep.yaml").read_text())
    runs = {"r0": run_of(1, 10.0), "r1": run_of(4, None, "failed"), "r2": run_of(2, None, "running")}
    with fake_wandb(sweep=config, sweep_id="wbsweep1", runs=runs) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        ended = cli("wandb", "import", "team/digits/wbsweep1", "--json")
    assert ended.code == 0, ended.err
    created = json.loads(ended.out)
    assert created["prior_runs"] == 2
    assert "team/digits/wbsweep1: not ended yet: 1 of 3 runs" in ended.err
    cli("agent", created["id"])
    trials = json.loads(cli("trials", created["id"], "--json").out)
    assert [trial["params"]["a"] for trial in trials] == [2]


def test_wandb_import_without_a_key_explains_how_to_get_one(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert "run `wandb login`" in cli("wandb", "import", "team/digits/wbsweep1").err


def test_wandb_export_has_the_columns_of_wandb(cli: Cli, ran: str) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("export", ran, "--format", "wandb").out)))
    assert list(rows[0])[:7] == ["Name", "State", "Created", "Runtime", "Sweep", "ID", "a"]
    assert (rows[0]["ID"], rows[0]["Sweep"], rows[0]["State"]) == (f"{ran}-0", ran, "finished")


def test_wandb_export_works_as_prior_runs(cli: Cli, ran: str, folder: Path) -> None:
    (folder / "runs.csv").write_text(cli("export", ran, "--format", "wandb").out)
    ended = cli("run", "sweep.yaml", "-R", "runs.csv", "--json")
    assert json.loads(ended.out)["trials"] == {}


def test_param_with_the_name_of_a_metric_survives_the_round_trip(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(
        "import smsweep\n"
        "smsweep.init()\n"
        "smsweep.log({'loss': 1.0, 'lr': 0.0, 'Name': 7.0})\n"  # like the end of a learning rate schedule
    )
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\n"
        "parameters: {lr: {values: [0.5]}, State: {values: [3]}}\n"
    )
    ran = json.loads(cli("run", "sweep.yaml", "--json").out)["id"]
    (folder / "runs.csv").write_text(cli("export", ran, "--format", "wandb").out)
    (row,) = csv.DictReader(io.StringIO((folder / "runs.csv").read_text()))
    assert (row["State"], row["lr"], row["config.lr"], row["config.State"]) == ("finished", "0.0", "0.5", "3")
    assert row["summary.Name"] == "7.0" != row["Name"]
    ended = cli("run", "sweep.yaml", "-R", "runs.csv", "--json")
    assert json.loads(ended.out)["trials"] == {}
