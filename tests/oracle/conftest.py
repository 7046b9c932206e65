from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.jobs import Job
from tools.environments import oracle

WANDB_VERSIONS = ("wandb-0.16", "wandb-0.19", "wandb-0.23", "wandb")  # 0.31 is the newest


@pytest.fixture(params=WANDB_VERSIONS)
def wandb_job(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    """A job whose `python` has this version of wandb, without a W&B account."""
    job = Job(tmp_path)
    job.environ["PATH"] = f"{oracle(request.param).python.parent}:{job.environ['PATH']}"
    return job
