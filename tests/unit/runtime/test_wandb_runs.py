"""Tests that W&B's offline runs are complete in the job's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.jobs import Job

# The relevant effects of wandb.init(). The folder can be relative, like W&B's.
WANDB = {
    "wandb/__init__.py": "from wandb.sdk.wandb_init import init",
    "wandb/sdk/__init__.py": "",
    "wandb/sdk/wandb_init.py": """
import os
class Run:
    id, url = os.environ["WANDB_RUN_ID"], None
    def __init__(self, dir): self.dir = dir + "/wandb/offline-run-1-s1-7/files"
    def log(self, data): pass
def init(dir=None):
    run = Run(dir or os.environ["WANDB_DIR"])
    os.makedirs(run.dir)
    open(run.dir + "/../run-s1-7.wandb", "w").close()
    return run
""",
}


@pytest.mark.parametrize("arguments", ["", "dir='logs'", "dir='.'"])
def test_offline_run_is_copied_to_the_output(job: Job, arguments: str) -> None:
    job.trial({**WANDB, "train.py": f"import wandb; wandb.init({arguments})"}).run()
    runs = sorted(path.name for path in (job.ml / "output/data/wandb").glob("*/*"))
    assert runs == ["files", "run-s1-7.wandb"]


def test_linked_files_of_a_run_are_copied(job: Job, tmp_path: Path) -> None:
    script = """
import os, wandb
run = wandb.init(dir="logs")
open("model.bin", "w").write("weights")
os.symlink(os.path.abspath("model.bin"), run.dir + "/model.bin")
os.symlink("/nowhere", run.dir + "/debug.log")
"""
    job.trial({**WANDB, "train.py": script}).run()
    (files,) = (job.ml / "output/data/wandb").glob("*/files")
    assert [(path.name, path.is_symlink(), path.read_text()) for path in files.iterdir()] == [
        ("model.bin", False, "weights")
    ]
