"""Tests of users' tuners of SDK 2.x and 3.x against the emulator, with only AWS_ENDPOINT_URL and keys set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.estimators.test_unmodified_sdk import run_program
from tests.support.account import BUCKET, open_account

pytestmark = [pytest.mark.oracle]

TRAIN = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--lr", type=float)
parser.add_argument("--hidden", type=int)
parser.add_argument("--optimizer")
args, _ = parser.parse_known_args()
assert args.optimizer in ("sgd", "adam"), args.optimizer
assert os.path.exists(os.environ["SM_CHANNEL_TRAINING"] + "/a.csv")
for epoch in range(args.epochs):
    print(f"Test Accuracy: {args.hidden * 10 + epoch}")
with open(os.environ["SM_MODEL_DIR"] + "/weights", "w") as file:
    file.write("1")
"""


def run_tuner(sdk: int, work: Path, folder: Path) -> dict[str, Any]:
    """Run a tuner's program, and return its results."""
    (work / "source").mkdir(parents=True)
    (work / "source" / "train.py").write_text(TRAIN)
    with open_account(folder, os.environ) as account:
        account.s3.put_object(Bucket=BUCKET, Key="data/a.csv", Body=b"1,2")
        done = run_program(sdk, account, "image", work, program=f"tuner_v{sdk}.py")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_unmodified_tuner_of_sdk_2_runs_its_training_jobs(tmp_path: Path) -> None:
    result = run_tuner(2, tmp_path / "work", tmp_path / "emulator")
    assert result["status"] == "Completed"
    assert len(result["values"]) == 3
    assert {"lr", "hidden", "optimizer", "FinalObjectiveValue"} <= set(result["columns"])
    assert result["best"] == result["best_of_attached"]
    assert int(result["hyperparameters"]["hidden"]) * 10 + 1 == max(result["values"])
    assert result["model"].endswith(f"{result['best']}/output/model.tar.gz")
    assert result["child"] == "Stopped"
    assert result["parents"]["WarmStartType"] == "TransferLearning"
    assert result["ranges"] == ["hidden", "lr", "optimizer"]


def test_unmodified_tuner_of_sdk_3_runs_its_training_jobs(tmp_path: Path) -> None:
    result = run_tuner(3, tmp_path / "work", tmp_path / "emulator")
    assert (result["status"], result["completed"]) == ("Completed", 3)
    assert result["value"] == int(result["hidden"]) * 10 + 1
    assert result["best"].startswith("third-")
