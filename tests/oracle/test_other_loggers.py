"""Scripts that log to TensorBoard or MLflow run as trials with the real libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.test_command_wandb_run import reported, run
from tests.unit.runtime.jobs import Job
from tools.environments import oracle

pytestmark = pytest.mark.oracle

TENSORBOARD = """
from tensorboardX import SummaryWriter
with SummaryWriter("logs") as writer:
    for step in (1, 2):
        writer.add_scalar("train/loss", 1 / step, step)
    writer.add_scalar("val/loss", 0.75, global_step=1)
    writer.add_scalar("once", 3)
"""
MLFLOW = """
import mlflow
mlflow.set_tracking_uri("file:./mlruns")
with mlflow.start_run():
    mlflow.log_param("lr", 0.1)
    mlflow.log_metric("loss", 0.5, step=3)
    mlflow.log_metrics({"a": 1, "b": 2.5}, step=4)
    mlflow.log_metric("once", 7)
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    job.environ["PATH"] = f"{oracle('loggers').python.parent}:{job.environ['PATH']}"
    job.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # its newest versions recommend a database
    return job


def test_summary_writer_scalars_are_reported_with_their_steps(job: Job) -> None:
    done = run(job, TENSORBOARD)
    assert done.code == 0, done.out
    assert reported(done) == [
        ('"step": 1', '"metrics": {"train/loss": 1.0}}'),
        ('"step": 2', '"metrics": {"train/loss": 0.5}}'),
        ('"step": 1', '"metrics": {"val/loss": 0.75}}'),
    ]
    assert '"metrics": {"once": 3}}' in done.out


def test_metrics_of_mlflow_are_reported(job: Job) -> None:
    done = run(job, MLFLOW)
    assert done.code == 0, done.out
    assert reported(done) == [
        ('"step": 3', '"metrics": {"loss": 0.5}}'),
        ('"step": 4', '"metrics": {"a": 1, "b": 2.5}}'),
    ]
    assert '"metrics": {"once": 7}}' in done.out
