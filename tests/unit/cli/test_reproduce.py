"""`smsweep reproduce` on real trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import SWEEP, Cli

pytestmark = pytest.mark.slow

# Reports the same value, or the value in a file beside the sweep, like a script that depends on its environment.
DRIFTING = """
import argparse, os, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
drift = float(open(os.environ["DRIFT"]).read())
for step in range(3):
    smsweep.log({"loss": 10 / a * (1 + drift), "seed": os.environ.get("SMSWEEP_REPEAT", "-"), "aside": drift})
if drift > 5:
    raise SystemExit("too much drift")
"""


def verdict_of(cli: Cli, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("reproduce", *words, "--json", "-q").out)
    return found


@pytest.fixture
def drift(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "drift.txt"
    path.write_text("0")
    monkeypatch.setenv("DRIFT", str(path))
    (folder / "train.py").write_text(DRIFTING)
    return path


def test_reproduce_runs_the_snapshot(cli: Cli, ran: str, folder: Path) -> None:
    (folder / "train.py").write_text("raise SystemExit('another source')")
    ended = cli("reproduce", f"{ran}/2")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0].endswith(": equal")
    again = json.loads(cli("ls", "--json").out)[0]
    assert (again["state"], again["seed"]) == ("finished", json.loads(cli("show", ran, "--json").out)["seed"])
    (trial,) = json.loads(cli("trials", again["id"], "--json").out)
    assert (trial["params"], trial["metrics"]) == ({"a": 4}, {"loss": 2.5})


def test_reproduce_json_has_the_comparison(cli: Cli, ran: str) -> None:
    found = verdict_of(cli, f"{ran}/1")
    assert (found["trial"], found["verdict"], found["state"]) == (
        f"{ran}/1",
        "equal",
        {"a": "finished", "b": "finished"},
    )
    assert found["metrics"] == [
        {"name": "loss", "a": 5.0, "b": 5.0, "steps": 1, "largest": 0.0, "verdict": "equal"}
    ]
    assert (found["params"], found["facts"]) == ({"a": 2}, [])


@pytest.mark.parametrize(
    ("by", "verdict", "code"), [("0.001", "within tolerance", 0), ("0.5", "different", 1), ("9", "different", 1)]
)
def test_reproduce_reports_different_metrics(cli: Cli, drift: Path, by: str, verdict: str, code: int) -> None:
    sweep_id = cli("run", "sweep.yaml", "-q").out.strip()
    drift.write_text(by)
    ended = cli("reproduce", f"{sweep_id}/0", "--json", "-q")
    assert (json.loads(ended.out)["verdict"], ended.code) == (verdict, code)


def test_reproduce_uses_the_given_tolerance(cli: Cli, drift: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "-q").out.strip()
    drift.write_text("0.001")
    assert cli("reproduce", f"{sweep_id}/0", "--tolerance", "0", "-q").code == 1
    drift.write_text("0.5")
    assert cli("reproduce", f"{sweep_id}/0", "--tolerance", "0.6", "-q").code == 0


def test_reproduce_judges_only_the_metrics_of_the_sweep(cli: Cli, drift: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "-q").out.strip()
    drift.write_text("0.002")
    verdicts = {each["name"]: each["verdict"] for each in verdict_of(cli, f"{sweep_id}/0")["metrics"]}
    assert (verdicts["loss"], verdicts["aside"]) == ("within tolerance", "different")


def test_reproduce_of_a_failed_trial(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 4]", "[1, 13]"))
    sweep_id = cli("run", "sweep.yaml", "-q").out.strip()
    ended = cli("reproduce", f"{sweep_id}/1")
    assert (ended.code, ended.out.splitlines()[0].endswith(": equal")) == (0, True)


def test_reproduce_compares_a_stopped_trial_up_to_its_last_step(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(
        "import smsweep, sys, time\nfor step in range(8):\n    smsweep.log({'loss': step})\n    time.sleep(0.2)\n"
    )
    (folder / "job.yaml").write_text("stop_if: loss > 1\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "-q", "--count", "1").out.strip()
    assert cli("show", f"{sweep_id}/0", "--json").out.count('"stopped"') == 1
    found = verdict_of(cli, f"{sweep_id}/0")
    assert (found["verdict"], found["metrics"][0]["steps"] >= 3) == ("equal", True)


def test_reproduce_reports_different_steps(cli: Cli, drift: Path, folder: Path) -> None:
    (folder / "train.py").write_text(
        DRIFTING.replace("range(3)", "range(3 + int(drift))").replace("* (1 + drift)", "")
    )
    sweep_id = cli("run", "sweep.yaml", "-q").out.strip()
    drift.write_text("2")
    assert verdict_of(cli, f"{sweep_id}/0")["verdict"] == "different"


def test_reproduce_keeps_the_repeat_number(cli: Cli, drift: Path, folder: Path) -> None:
    (folder / "job.yaml").write_text("repeats: 3\nbudget: {trials: 9}\nnotify: env:NOBODY\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml", "-q").out.strip()
    found = verdict_of(cli, f"{sweep_id}/4")
    seeds = {each["name"]: (each["a"], each["b"]) for each in found["metrics"]}["seed"]
    assert (found["verdict"], seeds) == ("equal", ("1", "1"))


def test_reproduce_names_different_environments(cli: Cli, ran: str, folder: Path) -> None:
    around = folder / f".smsweep/jobs/smsweep-{ran}-0-0/ml/smsweep/environment.json"
    facts = json.loads(around.read_text())
    around.write_text(json.dumps({**facts, "python": "3.9.1", "packages": ["Left_Pad==1.0"]}))
    found = {fact["name"]: (fact["a"], fact["b"]) for fact in verdict_of(cli, f"{ran}/0")["facts"]}
    assert found["python"] == ("3.9.1", facts["python"])
    assert found["packages.left-pad"] == ("1.0", None)


MISTAKES = {
    "a sweep": ("SWEEP", "is a sweep; give a trial"),
    "no such trial": ("SWEEP/9", "9"),
    "a pending one": ("NEW/0", "wait"),
}


@pytest.mark.parametrize(("label", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_reproduce_refuses_trials_that_cannot_run_again(cli: Cli, ran: str, label: str, message: str) -> None:
    cli("retry", f"{ran}/0")
    new = cli("sweep", "sweep.yaml").out.strip()
    with Workspace().store() as store:
        store.add_trials(new, 0, [{"a": 1}])
    ended = cli("reproduce", label.replace("SWEEP", ran).replace("NEW", new))
    assert (ended.code, message in ended.err, ended.out) == (2, True, "")


def test_reproduce_refuses_a_trial_without_its_snapshot(cli: Cli, ran: str, folder: Path) -> None:
    for bundle in (folder / ".smsweep" / "bundles").iterdir():
        bundle.unlink()
    n_sweeps = len(json.loads(cli("ls", "--json").out))
    ended = cli("reproduce", f"{ran}/0")
    assert (ended.code, "where its sweep was created" in ended.err) == (2, True)
    assert len(json.loads(cli("ls", "--json").out)) == n_sweeps


def test_from_python(ran: str) -> None:
    found = smsweep.Api().run(f"{ran}/0").reproduce()
    assert (found["verdict"], found["trial"]) == ("equal", f"{ran}/0")


def test_reproduce_refuses_a_function_trial(cli: Cli, folder: Path) -> None:
    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"a": {"value": 1}}})
    smsweep.agent(sweep_id, function=lambda: None)
    ended = cli("reproduce", f"{sweep_id}/0")
    assert (ended.code, "Python function" in ended.err) == (2, True)
    ended = cli("logs", f"{sweep_id}/0")
    assert (ended.code, "Python function" in ended.err) == (2, True)
