"""A script written for W&B, run as a trial with W&B itself and no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracles import oracle
from tests.unit.runtime.jobs import Job

pytestmark = pytest.mark.oracle

SCRIPT = """
import json, wandb
run = wandb.init(config={"lr": 1.0, "epochs": 2, "opt": {"name": "sgd", "m": 0.5}}, project="other", id="other")
run.config.lr = 7
for epoch in range(3):
    wandb.log({"loss": 1 / (epoch + 1), "val": {"acc": epoch}, "table": wandb.Table(columns=["a"], data=[[1]])})
wandb.summary["best"] = 1
print(json.dumps([run.id, run.project, run.sweep_id, run.group, run.name, dict(run.config)]))
run.finish()
"""


def test_config_names_metrics_and_summary_are_the_trials(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.environ["PATH"] = f"{oracle('wandb').python.parent}:{job.environ['PATH']}"
    job.trial({"train.py": SCRIPT}, {"lr": 1e-5, "opt": {"name": "adam"}}, project="digits", name="first-7")
    done = job.run()
    lines = [line.partition(', "time": ')[::2] for line in done.out.splitlines() if line.startswith(("[", "@"))]
    assert done.code == 0
    assert [(head, rest.partition(", ")[2]) for head, rest in lines[:3]] == [
        ('@smsweep {"step": 0', '"metrics": {"loss": 1.0, "val.acc": 0}}'),
        ('@smsweep {"step": 1', '"metrics": {"loss": 0.5, "val.acc": 1}}'),
        ('@smsweep {"step": 2', '"metrics": {"loss": 0.3333333333333333, "val.acc": 2}}'),
    ]
    assert '"summary": {"best": 1}}' in done.out
    config = '{"lr": 1e-05, "epochs": 2, "opt": {"name": "adam", "m": 0.5}}'
    assert f'["s1-7", "digits", "s1", "s1", "first-7", {config}]\n' in done.out
