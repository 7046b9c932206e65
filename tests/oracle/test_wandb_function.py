"""`wandb.agent(id, function=train)` as `smsweep.agent(id, function=train)`, with `wandb.init()` in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.wandb_server import fake_wandb
from tools.environments import oracle

pytestmark = pytest.mark.oracle

SCRIPT = """
import json, os
import wandb  # before the agent starts, as in a notebook
import smsweep

def train():
    with wandb.init(config={"lr": 9, "opt": {"momentum": 0.5}}) as run:
        seen.append([run.id, run.sweep_id, run.config.lr, dict(run.config.opt)])
        wandb.log({"loss": wandb.config.lr, "val": {"acc": 1}})
        run.summary["best"] = 2
        if wandb.config.lr == 0.2:
            raise ValueError("too high")

def reports_itself():
    with smsweep.init() as trial, wandb.init(mode="offline", config={"lr": 9}) as run:
        seen.append([run.sweep_id, run.config.lr])
        run.log({"theirs": 1})
        trial.log({"ours": 1})

def ran(function, **options):
    seen.clear()
    parameters = {"lr": {"values": [0.1, 0.2]}, "opt": {"parameters": {"name": {"value": "adam"}}}}
    sweep = smsweep.sweep({"name": "nets", "method": "grid", "parameters": parameters})
    smsweep.agent(sweep, function=function, **options)
    runs = smsweep.Api().sweep(sweep).runs
    return {"sweep": sweep, "seen": list(seen), "runs": [[r.state, r.summary, r.trial.reason] for r in runs]}

seen, before = [], dict(os.environ)
answers = {"one": ran(train), "itself": ran(reports_itself, count=1), "processes": ran(train, parallel=2)}
answers["threads"] = ran(train, parallel=2, backend="inline")
with wandb.init(mode="offline") as run:
    run.log({"x": 1})
    answers["after"] = [run.sweep_id, dict(run.config)]
answers["left"] = {name: value for name, value in os.environ.items() if value != before.get(name)}
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("function")
    home = oracle("wandb").python.parents[1]
    packages = next(home.glob("lib/python*/site-packages"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SMSWEEP"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environ, "PYTHONPATH": str(packages), "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout.partition("ANSWERS")[2])
    output["folders"] = sorted(
        path.name[-10:] for path in Path(folder).glob(".smsweep/jobs/*/ml/output/data/wandb/o*")
    )
    return dict(output)


def test_run_of_function_belongs_to_trial(answers: dict[str, Any]) -> None:
    sweep = answers["one"]["sweep"]
    assert answers["one"]["seen"] == [
        [f"{sweep}-{number}", sweep, lr, {"name": "adam", "momentum": 0.5}] for number, lr in enumerate([0.1, 0.2])
    ]
    assert answers["one"]["runs"] == [
        ["finished", {"loss": 0.1, "val.acc": 1, "best": 2}, ""],
        ["failed", {"loss": 0.2, "val.acc": 1, "best": 2}, "ValueError: too high"],
    ]
    assert {f"{sweep}-0", f"{sweep}-1"} <= set(answers["folders"])  # where `smsweep wandb sync` finds them


def test_function_that_reports_to_smsweep_keeps_its_wandb_runs(answers: dict[str, Any]) -> None:
    assert answers["itself"]["seen"] == [[None, 9]]
    assert [summary for _, summary, _ in answers["itself"]["runs"]] == [{"ours": 1}]


def test_parallel_functions_have_one_wandb_run_each(answers: dict[str, Any]) -> None:
    assert [
        (state, summary, reason.split("\n")[0]) for state, summary, reason in answers["processes"]["runs"]
    ] == [
        ("finished", {"loss": 0.1, "val.acc": 1, "best": 2}, ""),
        ("failed", {"loss": 0.2, "val.acc": 1, "best": 2}, "ValueError: too high (exit code 1)"),
    ]


def test_function_with_wandb_init_is_refused_in_parallel_threads(answers: dict[str, Any]) -> None:
    states = {(state, reason.partition(" works ")[0]) for state, _, reason in answers["threads"]["runs"]}
    assert states == {("failed", "RuntimeError: wandb.init() in a function")}


def test_afterwards_wandb_is_as_before(answers: dict[str, Any]) -> None:
    assert answers["after"] == [None, {}]
    assert set(answers["left"]) <= {"WANDB_SERVICE"}  # W&B's own


PRINTS = """
import {module} as wandb

def train():
    with wandb.init() as run:
        run.log({{"loss": run.config.lr}})
        if run.config.lr == 0.2:
            raise ValueError("too high")

sweep_id = wandb.sweep({{"method": "grid", "parameters": {{"lr": {{"values": [0.1, 0.2]}}}}}}, project="nets")
wandb.agent(sweep_id, train, count=2)
"""


def printed(module: str, folder: Path, **environ: str) -> list[str]:
    """Run the script. Return its lines about the sweep and the runs, with ids replaced by SWEEP and RUN."""
    python = oracle("wandb").python if module == "wandb" else sys.executable
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "SMSWEEP"))}
    done = subprocess.run(
        [str(python), "-c", PRINTS.format(module=module)],
        env={**kept, "HOME": str(folder), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "ValueError: too high" in done.stderr
    lines = [line.removeprefix(f"{module}: ") for line in (done.stdout + done.stderr).splitlines()]
    about = ("Create sweep", "Agent Starting Run", "\t", "ERROR Run", "Sweep Agent")
    sweep_id = re.search("ID: (.+)", done.stdout)
    assert sweep_id
    return [
        re.sub(rf"run\d|{sweep_id[1]}-\d", "RUN", line).replace(sweep_id[1], "SWEEP")
        for line in lines
        if line.startswith(about)
    ]


def test_script_prints_what_wandb_prints(tmp_path: Path) -> None:
    with fake_wandb() as server:
        theirs = printed("wandb", tmp_path, **server.environ)
    ours = printed("smsweep", tmp_path)
    assert theirs[:3] == ["Create sweep with ID: SWEEP", "Agent Starting Run: RUN with config:", "\tlr: 0.1"]
    assert ours == [
        *(line.replace("errored: ", "errored: ValueError: ") for line in theirs),
        "Sweep Agent: Exiting.",
    ]


def test_wandb_silent_silences_script(tmp_path: Path) -> None:
    environ = {**os.environ, "WANDB_SILENT": "true", "SMSWEEP_DIR": str(tmp_path)}
    script = PRINTS.format(module="smsweep").replace("0.1, 0.2", "0.1")
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
