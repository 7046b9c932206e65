"""A script for W&B runs as a trial with wandb and without a server, in old and new versions of wandb."""

from __future__ import annotations

import pytest

from tests.unit.runtime.jobs import Done, Job, finish

pytestmark = pytest.mark.oracle

SCRIPT = """
import json, wandb
run = wandb.init(config={"lr": 1.0, "epochs": 2, "opt": {"name": "sgd", "m": 0.5}}, project="other", id="other")
run.config.lr = 7
run.config.update({"opt": {"m": 7}}, allow_val_change=True)
run.config.setdefaults({"lr": 8, "extra": 1})
for epoch in range(3):
    wandb.log({"loss": 1 / (epoch + 1), "val": {"acc": epoch}, "table": wandb.Table(columns=["a"], data=[[1]])})
wandb.summary["best"] = 1
print(json.dumps([run.id, run.project, run.sweep_id, run.group, run.name, dict(run.config)]))
run.finish()
"""
DIES = """
import os, wandb
run = wandb.init()
run.log({"loss": 0.5})
run.log({"loss": 0.25}, commit=False)
os.kill(os.getpid(), 9)
"""
FOLDS = """
import multiprocessing, os, wandb

def fold(index):
    for name in list(os.environ):
        if name.startswith("WANDB_") and name not in ("WANDB_MODE", "WANDB_DIR"):
            del os.environ[name]
    run = wandb.init(group="folds", name=f"fold-{index}", reinit=True)
    run.log({"accuracy": index})
    run.finish()

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=fold, args=(1,))
    process.start()
    process.join()
    run = wandb.init()
    run.log({"accuracy": 0.5})
    run.finish()
"""

SETTINGS = """
import wandb
run = wandb.init(settings=wandb.Settings(run_id="other", project="other"))
print("called", run.project, run.id)
run.finish()
wandb.init(settings=wandb.Settings(console="off")).finish()
"""
DISABLED = """
import wandb
run = wandb.init(mode=MODE, config={"lr": 1.0, "epochs": 2, "opt": {"name": "sgd", "m": 0.5}})
run.log({"loss": run.config.lr, "m": wandb.config["opt"]["m"], "epochs": run.config["epochs"]})
print("opt is", run.config["opt"]["name"])
run.finish()
"""


def run(job: Job, script: str) -> Done:
    job.trial({"train.py": script}, {"lr": 1e-5, "opt": {"name": "adam"}}, project="digits", name="first-7")
    return finish(job.start(), timeout_s=120)


def reported(done: Done) -> list[tuple[str, str]]:
    """Return the reported records as ('"step": 0', '"metrics": ...'), without times."""
    lines = [line.partition(', "time": ')[::2] for line in done.out.splitlines() if line.startswith("@smsweep {")]
    return [(head.removeprefix("@smsweep {"), rest.partition(", ")[2]) for head, rest in lines if rest]


def test_run_config_names_metrics_and_summary_equal_trial(wandb_job: Job) -> None:
    done = run(wandb_job, SCRIPT)
    assert done.code == 0, done.out
    assert reported(done)[:3] == [
        ('"step": 0', '"metrics": {"loss": 1.0, "val.acc": 0}}'),
        ('"step": 1', '"metrics": {"loss": 0.5, "val.acc": 1}}'),
        ('"step": 2', '"metrics": {"loss": 0.3333333333333333, "val.acc": 2}}'),
    ]
    assert '"summary": {"best": 1}}' in done.out
    config = '{"lr": 1e-05, "epochs": 2, "opt": {"name": "adam", "m": 0.5}, "extra": 1}'
    assert f'["s1-7", "digits", "s1", "s1", "first-7", {config}]\n' in done.out


@pytest.mark.parametrize("place", ["argument", "variable"])
def test_script_runs_without_wandb(wandb_job: Job, place: str) -> None:
    if place == "variable":
        wandb_job.environ["WANDB_MODE"] = "disabled"
    done = run(wandb_job, DISABLED.replace("MODE", '"disabled"' if place == "argument" else "None"))
    assert done.code == 0, done.out
    assert reported(done) == [('"step": 0', '"metrics": {"loss": 1e-05, "m": 0.5, "epochs": 2}}')]
    assert "opt is adam\n" in done.out


def test_logged_values_survive_kill(wandb_job: Job) -> None:
    done = run(wandb_job, DIES)
    assert done.code == 128 + 9
    assert reported(done) == [
        ('"step": 0', '"metrics": {"loss": 0.5}}'),
        ('"step": 1', '"metrics": {"loss": 0.25}}'),
    ]


def test_additional_runs_of_script_do_not_belong_to_trial(wandb_job: Job) -> None:
    done = run(wandb_job, FOLDS)
    assert (done.code, reported(done)) == (0, [('"step": 0', '"metrics": {"accuracy": 0.5}}')]), done.out


def test_offline_run_has_no_sweep_id_unknown_to_wandb(wandb_job: Job) -> None:
    """Otherwise `wandb sync` ends with "sweep s1 not found"."""
    done = run(
        wandb_job, "import os, wandb; wandb.init().finish(); print('had', os.environ.get('WANDB_SWEEP_ID'))"
    )
    files = list(wandb_job.ml.glob("output/data/wandb/offline-run-*-s1-7/run-s1-7.wandb"))
    assert ("had None" in done.out, [b"\x62\x02s1" in file.read_bytes() for file in files]) == (True, [False])


def test_sweep_sets_run_name_over_wandb_settings(wandb_job: Job) -> None:
    done = run(wandb_job, SETTINGS)
    assert (done.code, "called digits s1-7\n" in done.out) == (0, True), done.out
    assert done.out.count("is ignored in a sweep") == 2  # id and project
