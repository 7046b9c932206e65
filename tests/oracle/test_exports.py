"""Exports, read by the programs that they are for."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tools.environments import oracle

HERE = Path(__file__).parent
pytestmark = [pytest.mark.oracle, pytest.mark.slow]

Data = dict[str, Any]
# Replacements for metric names that MLflow refuses: see ODD in exports_sweep.py.
ODD_NAMES = {"_", "__/up", "_.x", "root", "a/b", "a/_/b", "a_b", "l" * 250}


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    folder: Path
    python: Path
    one: str  # id of the sweep with one metric
    two: str  # id of the sweep with two metrics
    trials: list[Data]  # JSON export of the first sweep
    read: Data  # output of ask_exports.py

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "-m", "smsweep.cli.main", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("exports")
    found = oracle("exports")
    ran = subprocess.run(
        [str(found.python), str(HERE / "exports_sweep.py")],
        cwd=folder, capture_output=True, text=True, timeout=200, input="null",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    ids = json.loads(ran.stdout.splitlines()[-1])
    studies = [f"kinds-{ids['one']}", ids["two"]]
    read = found.ask(HERE / "ask_exports.py", {"folder": str(folder), "studies": studies})
    trials = json.loads((folder / "trials.json").read_text())
    return Made(folder=folder, python=found.python, trials=trials, read=read, **ids)


def flat(trial: Data) -> Data:
    """Return the params of a trial with flat names."""
    opt = trial["params"]["opt"]
    return {
        **{name: value for name, value in trial["params"].items() if name != "opt"},
        "opt.name": opt["name"],
        "opt.momentum": opt["momentum"],
    }


def test_export_sweep_has_all_tested_cases(created: Made) -> None:
    assert {trial["state"] for trial in created.trials} == {"finished", "failed"}


def test_parquet_has_columns_of_csv_with_types(created: Made) -> None:
    with (created.folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    types = created.read["parquet"]["types"]
    assert list(types) == list(rows[0])
    assert (types["number"], types["objective"], types["started_at"]) == (
        "int64",
        "double",
        "timestamp[us, tz=UTC]",
    )
    kinds = {name: types[f"params.{name}"] for name in ("lr", "layers", "flag", "act", "mixed", "shape")}
    assert kinds == {
        "lr": "double", "layers": "int64", "flag": "bool", "act": "string", "mixed": "string", "shape": "string",
    }  # fmt: skip


def test_parquet_has_values_of_json(created: Made) -> None:
    for row, trial in zip(created.read["parquet"]["rows"], created.trials, strict=True):
        assert (row["number"], row["objective"], row["params.lr"]) == (
            trial["number"], trial["objective"], trial["params"]["lr"],
        )  # fmt: skip
        assert datetime.fromisoformat(row["ended_at"]) == datetime.fromisoformat(trial["ended_at"])
        assert row["metrics.broken"] == trial["metrics"]["broken"] == "NaN"
        assert row["params.act"] == trial["params"]["act"]  # the text is not a formula
        assert json.loads(row["params.shape"]) == trial["params"]["shape"]
    assert created.read["parquet"]["about"]["id"] == created.one


def test_csv_has_numbers_of_json_and_no_formulas(created: Made) -> None:
    with (created.folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["params.lr"]) for row in rows] == [trial["params"]["lr"] for trial in created.trials]
    assert [float(row["objective"]) for row in rows] == [trial["objective"] for trial in created.trials]
    cells = [cell for row in rows for cell in row.values()]
    assert "'=relu" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


def test_study_has_trials_with_states_values_and_curves(created: Made) -> None:
    study = created.read["studies"][0]
    states = {"finished": "COMPLETE", "failed": "FAIL"}
    assert [trial["state"] for trial in study["trials"]] == [states[trial["state"]] for trial in created.trials]
    for found, trial in zip(study["trials"], created.trials, strict=True):
        assert found["values"] == ([trial["objective"]] if trial["state"] == "finished" else None)
        assert [step for step, _ in found["curve"]] == [0, 1, 2, 3, 4]
        assert found["curve"][-1][1] == trial["metrics"]["loss"]
        assert found["attributes"]["metrics.acc"] == trial["metrics"]["acc"]
        assert datetime.fromisoformat(found["start"]) == datetime.fromisoformat(trial["started_at"])
    assert (study["directions"], study["metrics"]) == (["MINIMIZE"], ["loss"])
    assert study["attributes"]["id"] == created.one


def test_study_has_closest_distributions(created: Made) -> None:
    trials = created.read["studies"][0]["trials"]
    found = trials[0]["distributions"]
    assert found["lr"] == "FloatDistribution(high=1.0, log=True, low=0.0001, step=None)"
    assert found["wide"] == "FloatDistribution(high=2.5, log=False, low=-2.5, step=None)"
    assert found["layers"] == "IntDistribution(high=8, log=False, low=1, step=1)"
    assert found["batch"] == "IntDistribution(high=128, log=False, low=16, step=16)"
    assert found["keep"] == "FloatDistribution(high=0.9, log=False, low=0.1, step=0.05)"
    assert found["flag"] == "CategoricalDistribution(choices=(True, False))"
    assert found["act"] == "CategoricalDistribution(choices=('=relu', 'tanh', None))"
    assert found["mixed"] == """CategoricalDistribution(choices=('1', 'true', '"1"', '0.5'))"""
    for trial, ours in zip(trials, created.trials, strict=True):
        numbers = ("lr", "wide", "layers", "batch", "keep", "noise", "size", "opt.momentum", "flag", "act")
        assert [trial["params"][name] for name in numbers] == pytest.approx([flat(ours)[name] for name in numbers])


def test_study_of_two_metrics_has_two_directions(created: Made) -> None:
    study = created.read["studies"][1]
    assert (study["directions"], study["metrics"]) == (["MINIMIZE", "MAXIMIZE"], ["loss", "acc"])
    assert all(len(trial["values"]) == 2 for trial in study["trials"] if trial["state"] == "COMPLETE")


def test_mlflow_has_experiment_with_run_per_trial(created: Made) -> None:
    found = created.read["mlflow"]
    assert (found["name"], found["tags"]["smsweep.export"]) == (f"kinds-{created.one}", "complete")
    runs = {run["name"].rpartition("-")[2]: run for run in found["runs"]}
    for trial in created.trials:
        run = runs[str(trial["number"])]
        assert run["status"] == trial["state"].upper()
        assert float(run["params"]["lr"]) == trial["params"]["lr"]
        assert run["params"]["opt.momentum"] == str(trial["params"]["opt"]["momentum"])
        assert run["metrics"]["objective"] == trial["objective"]
        assert run["metrics"]["acc"] == trial["metrics"]["acc"]
        assert run["metrics"].keys() >= ODD_NAMES
        assert [step for step, _ in run["loss"]] == [0, 1, 2, 3, 4]
        assert run["loss"][-1][1] == trial["metrics"]["loss"]


def test_tensorboard_has_scalars_and_params(created: Made) -> None:
    for trial in created.trials:
        found = created.read["events"][str(trial["number"])]
        assert [step for step, _ in found["loss"]] == [0, 1, 2, 3, 4]
        assert found["loss"][-1][1] == pytest.approx(trial["metrics"]["loss"])  # TensorBoard stores 32 bits
        assert found["params"]["lr"] == trial["params"]["lr"]
        assert found["params"]["flag"] is trial["params"]["flag"]
        assert found["params"]["act"] == str(trial["params"]["act"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "trials.csv"], "trials.csv: exists"),
        (["--to", "trials.parquet"], "trials.parquet: exists"),
        (["--format", "optuna", "--to", "study.db"], "exists already"),
        (["--format", "mlflow", "--to", "mlflow.db"], "exists already"),
        (["--format", "tensorboard", "--to", "runs"], "exists"),
    ],
)
def test_existing_study_is_replaced_only_with_flag(created: Made, words: list[str], message: str) -> None:
    refused = created.cli("export", created.one, *words)
    assert (refused.returncode, message in refused.stderr) == (2, True)
    assert "--force" in refused.stderr
    assert created.cli("export", created.one, *words, "--force").returncode == 0


def test_unrelated_file_is_not_overwritten(created: Made) -> None:
    before = (created.folder / "mlflow.db").read_bytes()
    for place in ("mlflow.db", "trials.csv", str(created.folder / ".smsweep" / "store.db")):
        refused = created.cli("export", created.one, "--format", "optuna", "--to", place, "--force")
        assert (refused.returncode, refused.stdout) == (2, "")
    assert (created.folder / "mlflow.db").read_bytes() == before


def test_optuna_dashboard_shows_study(created: Made) -> None:
    program = created.python.with_name("optuna-dashboard")
    with served([str(program), "sqlite:///study.db", "--host", "127.0.0.1", "--port"], created.folder) as url:
        (found,) = [
            study for study in get(f"{url}/api/studies")["study_summaries"] if "kinds" in study["study_name"]
        ]
        shown = get(f"{url}/api/studies/{found['study_id']}")
    trials = {trial["number"]: trial for trial in shown["trials"]}
    for ours in created.trials:
        theirs = trials[ours["number"]]
        assert theirs["state"] == {"finished": "Complete", "failed": "Fail"}[ours["state"]]
        assert {param["name"] for param in theirs["params"]} == set(flat(ours))
        assert [each["step"] for each in theirs["intermediate_values"]] == [0, 1, 2, 3, 4]
        assert "metrics.acc" in {attribute["key"] for attribute in theirs["user_attrs"]}
    assert "lr" in {param["name"] for param in shown["union_search_space"]}


def test_tensorboard_shows_params_and_metric(created: Made) -> None:
    program = created.python.with_name("tensorboard")
    logs = created.folder / "runs" / f"kinds-{created.one}"
    command = [str(program), "--logdir", str(logs), "--host", "127.0.0.1", "--load_fast=false", "--port"]
    with served(command, created.folder) as url:
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        wanted = {"experimentName": "x", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 100}
        path = f"{url}/data/plugin/hparams/session_groups"
        wait_for(lambda: len(found_groups(path, wanted)) == len(created.trials), 60)  # the reader is asynchronous
        groups = found_groups(path, wanted)
        experiment = get(f"{url}/data/plugin/hparams/experiment", {"experimentName": "x", "hparamsLimit": 0})
    assert {info["name"] for info in experiment["hparamInfos"]} == set(flat(created.trials[0]))
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == ["loss"]
    found = {group["name"].rpartition("-")[2]: group["hparams"] for group in groups}
    assert {number: params["lr"] for number, params in found.items()} == {
        str(trial["number"]): trial["params"]["lr"] for trial in created.trials
    }


@contextmanager
def served(command: list[str], folder: Path) -> Iterator[str]:
    """Start a server, and wait until it responds. The command ends with the option for its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([*command, str(port)], cwd=folder, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(url) or server.poll() is not None, 60)
        assert server.poll() is None, (folder / "server.log").read_text()
        yield url
    finally:
        server.terminate()
        server.wait(10)


def found_groups(url: str, wanted: Data) -> list[Data]:
    try:
        return list(get(url, wanted).get("sessionGroups", []))
    except urllib.error.HTTPError:  # not read yet
        return []


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait_for(is_so: Callable[[], bool], timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.2)


def get(url: str, body: Data | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
