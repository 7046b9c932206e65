"""`hydra/launcher=smsweep`: the jobs of a multirun as trials, with Hydra itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from smsweep.api.api import Api, ApiRun
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, extract
from tests.support.account import wait_until
from tests.support.markdown import ROOT, blocks
from tests.support.walkthrough import walk
from tools.environments import oracle

pytestmark = pytest.mark.oracle

CONFIG = """\
defaults: [_self_, {model/size: small}]
lr: 0.1
returns: loss
twice: ${twice:${lr}}
hydra:
  launcher: {parallel: 2}
"""
TRAIN = """\
import json, logging, os, sys, time
from pathlib import Path
import hydra
import smsweep
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
RESULTS = {
    "nothing": lambda loss: None,
    "logged": lambda loss: smsweep.log({"loss": loss}),
    "loss": lambda loss: loss,
    "pair": lambda loss: (loss, {"size": 1}),
    "text": lambda loss: "done",
    "object": lambda loss: object(),
    "error": lambda loss: None if loss > 1 else fail(loss),
    "wait": lambda loss: wait_for(Path("go")) or loss,
}

def wait_for(file):
    while not file.exists():
        time.sleep(0.1)

def fail(loss):
    raise ValueError(f"{loss} is too small")

@hydra.main(version_base=None, config_path="conf", config_name="config")
def train(cfg):
    logging.getLogger(__name__).info("training")
    job = HydraConfig.get()
    facts = {
        "cwd": os.getcwd(), "out": job.runtime.output_dir, "num": job.job.num, "layers": cfg.model.size.layers,
        "variable": os.environ.get("VARIABLE"), "params": dict(smsweep.config), "pid": os.getpid(),
    }
    Path(job.runtime.output_dir, "facts.json").write_text(json.dumps(facts))
    return RESULTS[cfg.returns](cfg.twice)

if __name__ == "__main__":
    train()
    print(json.dumps({"smsweep": "smsweep.services" in sys.modules}))
"""
# Launches two jobs, and then one job whose lr depends on their results.
SWEEPER = """\
import json
from dataclasses import dataclass
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

@dataclass
class StepsConf:
    _target_: str = "hydra_plugins.steps.Steps"

ConfigStore.instance().store(group="hydra/sweeper", name="steps", node=StepsConf)

class Steps(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        context = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        self.launcher = Plugins.instance().instantiate_launcher(**context)

    def sweep(self, arguments):
        results = list(self.launcher.launch([["lr=1", *arguments], ["lr=0.5", *arguments]], initial_job_idx=0))
        best = min(job._return_value if isinstance(job._return_value, float) else 9 for job in results)
        results += self.launcher.launch([[f"lr={best / 4}", *arguments]], initial_job_idx=2)
        print(json.dumps([
            [job.status.name, str(job._return_value) if job.status.name == "FAILED" else job._return_value,
             job.overrides, job.cfg.lr, job.hydra_cfg.hydra.job.num, job.working_dir, job.task_name]
            for job in results
        ]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a task function, its configs and a sweeper."""
    sizes = tmp_path / "conf" / "model" / "size"
    sizes.mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (sizes / "small.yaml").write_text("layers: 1\n")
    (sizes / "large.yaml").write_text("layers: 9\n")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "hydra_plugins" / "steps").mkdir(parents=True)
    (tmp_path / "hydra_plugins" / "steps" / "__init__.py").write_text(SWEEPER)
    for name in ("SMSWEEP_STORE", "SMSWEEP_BACKEND", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*overrides: str, launcher: str = "smsweep") -> Sequence[str]:
    python = str(oracle("hydra").python)
    return [python, "train.py", "--multirun", f"hydra/launcher={launcher}", "hydra.sweep.dir=out", *overrides]


def multirun(*overrides: str, returncode: int = 0, launcher: str = "smsweep") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*overrides, launcher=launcher), capture_output=True, text=True, timeout=280)
    assert done.returncode == returncode, done.stdout + done.stderr
    return done


def steps(*overrides: str, returncode: int = 0) -> list[list[Any]]:
    """Return the results of the jobs that the sweeper of the test launches."""
    done = multirun("hydra/sweeper=steps", *overrides, returncode=returncode)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("[["))
    results: list[list[Any]] = json.loads(line)
    return results


def runs() -> list[ApiRun]:
    """Return the trials of the only sweep."""
    (sweep,) = Api().sweeps()
    return sweep.runs


def facts(job: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((job / "facts.json").read_text())
    return document


def test_jobs_of_multirun_are_trials(folder: Path) -> None:
    subdir = "hydra.sweep.subdir=${hydra.job.num}-${hydra.job.override_dirname}"
    settings = ["hydra.job.chdir=true", "+hydra.job.env_set.VARIABLE=x", subdir, "hydra.launcher.project=demo"]
    multirun("lr=1,0.5", "model/size=small,large", "++note='two words'", *settings)
    names = [
        "lr=1,model/size=small",
        "lr=1,model/size=large",
        "lr=0.5,model/size=small",
        "lr=0.5,model/size=large",
    ]
    jobs = [folder / "out" / f"{n}-++note='two words',{name}" for n, name in enumerate(names)]
    seen = [facts(job) for job in jobs]
    assert [each["cwd"] for each in seen] == [each["out"] for each in seen] == [str(job) for job in jobs]
    assert [each["num"] for each in seen] == [0, 1, 2, 3]
    assert [each["layers"] for each in seen] == [1, 9, 1, 9]
    assert {each["variable"] for each in seen} == {"x"}
    assert len({each["pid"] for each in seen}) == 4
    trials = runs()
    assert [run.config for run in trials] == [each["params"] for each in seen]
    assert trials[1].config == {"lr": 1, "model.size": "large", "note": "'two words'"}
    assert [run.summary for run in trials] == [{"return_value": value} for value in (2, 2, 1, 1)]
    sweep = trials[0].sweep
    assert (sweep.name, sweep.project, sweep.state, sweep.expected_run_count) == ("train", "demo", "finished", 4)
    assert "training" in (jobs[0] / "train.log").read_text()
    overrides = (jobs[1] / ".hydra" / "overrides.yaml").read_text().splitlines()
    assert overrides == ["- lr=1", "- model/size=large", "- ++note='two words'"]


def test_sweeper_gets_results_and_adds_trials_to_its_sweep(folder: Path) -> None:
    results = steps("hydra.launcher.metric=loss", "hydra.launcher.goal=maximize")
    assert [result[:2] for result in results] == [["COMPLETED", 2], ["COMPLETED", 1], ["COMPLETED", 0.5]]
    assert [result[2] for result in results] == [["lr=1"], ["lr=0.5"], ["lr=0.25"]]
    assert [result[3:5] for result in results] == [[1, 0], [0.5, 1], [0.25, 2]]
    assert {tuple(result[5:]) for result in results} == {(str(folder), "train")}
    trials = runs()
    assert [run.config for run in trials] == [{"lr": 1}, {"lr": 0.5}, {"lr": 0.25}]
    assert [run.summary for run in trials] == [{"loss": 2}, {"loss": 1}, {"loss": 0.5}]
    best = trials[0].sweep.best_run()
    assert (best and best.id, trials[0].sweep.state) == (trials[0].id, "finished")
    assert [facts(folder / "out" / str(n))["num"] for n in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("returns", "expected"),
    [("nothing", None), ("logged", 2), ("pair", [2, {"size": 1}]), ("text", "done"), ("object", None)],
)
def test_result_of_job_comes_back(folder: Path, returns: str, expected: object) -> None:
    metric = ["hydra.launcher.metric=loss"] if returns == "logged" else []
    assert steps(f"returns={returns}", *metric)[0][:2] == ["COMPLETED", expected]


def test_failed_job_is_a_failed_result(folder: Path) -> None:
    status, reason, *_ = steps("returns=error")[1]
    assert status == "FAILED"
    label = runs()[1].trial.label
    assert reason.startswith(f"trial {label} failed: ValueError: 1.0 is too small (exit code 1)\nTraceback")
    assert [run.state for run in runs()] == ["finished", "failed", "finished"]


def test_multirun_with_failed_job_fails(folder: Path) -> None:
    done = multirun("returns=error", "lr=0.1,1", returncode=1)
    assert "Error executing job with overrides: ['returns=error', 'lr=0.1']" in done.stderr
    assert "failed: ValueError: 0.2 is too small" in done.stderr
    assert "smsweep logs" in done.stderr
    assert [run.state for run in runs()] == ["failed", "finished"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("backend=inline", "hydra.launcher.backend: inline runs all jobs in this process"),
        ("job={repeats: 3}", "job.yaml: repeats: Hydra's sweeper chooses all jobs"),
        ("parallel=0", "parallel: expected a whole number above 0, got 0"),
        ("goal=most", "metric.goal"),
        ("on=[nowhere]", "--on nowhere: there is no backend nowhere"),
    ],
)
def test_invalid_setting_creates_nothing(folder: Path, setting: str, message: str) -> None:
    done = multirun("lr=1,2", f"hydra.launcher.{setting}", "hydra.launcher.metric=loss", returncode=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not Workspace().has_store


def test_multirun_at_places_has_their_slots(folder: Path) -> None:
    multirun("lr=1,2", "hydra.launcher.on=[local:2]")
    assert {run.trial.place_name for run in runs()} == {"local"}


def test_other_launcher_does_not_import_smsweep(folder: Path) -> None:
    text = TRAIN.replace("import smsweep\n", "").replace("dict(smsweep.config)", "{}")
    (folder / "train.py").write_text(text)
    (folder / "conf" / "config.yaml").write_text(CONFIG.partition("hydra:")[0])
    done = multirun("lr=1", launcher="basic")
    assert done.stdout.splitlines()[-1] == '{"smsweep": false}'


def test_repeated_trial_keeps_the_output_of_its_job(folder: Path) -> None:
    multirun("lr=1,2")
    trial = runs()[1].trial.label
    before = facts(folder / "out" / "1")
    smsweep = oracle("hydra").python.with_name("smsweep")
    done = subprocess.run([smsweep, "reproduce", trial, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "equal"
    assert facts(folder / "out" / "1") == before
    (again,) = (path for path in folder.glob("home/jobs/*/**/facts.json"))
    assert facts(again.parent)["params"] == {"lr": 2}


# Calls a function as a job of a container does, which has neither the plug-in nor the folders of this machine.
CALL = """
import sys
sys.modules["hydra_plugins"] = None
from smsweep.runtime.job.function_call import main
main([])
"""


def test_job_needs_nothing_of_this_machine(folder: Path) -> None:
    multirun("lr=1,2", "model/size=large", "hydra.job.chdir=true")
    (run, _) = runs()
    (folder / "out").rename(folder / "moved")
    (folder / "conf").rename(folder / "other")
    extract(bundle_path(Workspace().bundles_dir, run.sweep.sweep.source_hash), folder / "source")
    variables = {
        "SMSWEEP_SWEEP_ID": run.sweep.id,
        "SMSWEEP_TRIAL": "1",
        "SM_OUTPUT_DATA_DIR": str(folder / "data"),
    }
    done = subprocess.run(
        [str(oracle("hydra").python), "-c", CALL],
        cwd=folder / "source",
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = facts(folder / "data" / "1")
    assert (found["num"], found["layers"], found["cwd"]) == (1, 9, str(folder / "data" / "1"))
    assert not (folder / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_agent_continues_killed_multirun(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        command("returns=wait", "lr=1,2,3"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until(lambda: all((folder / "out" / name / "facts.json").exists() for name in "01"))
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (-9 if number == signal.SIGKILL else 143), output
    (folder / "go").touch()
    (sweep,) = Api().sweeps()
    smsweep = str(oracle("hydra").python.with_name("smsweep"))
    agent = subprocess.run([smsweep, "agent", sweep.id], capture_output=True, text=True, timeout=200)
    assert agent.returncode == 0, agent.stderr
    assert [run.summary for run in runs()] == [{"return_value": value} for value in (2, 4, 6)]


def test_page_works_as_shown(tmp_path: Path) -> None:
    walk(blocks(ROOT / "docs" / "hydra.md"), tmp_path, oracle("hydra").python.parent)
