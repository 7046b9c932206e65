"""Tests of users' programs for SDK 2.x and 3.x in containers, with only AWS_ENDPOINT_URL and keys set."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from docker import DockerClient

from tests.support.account import BUCKET, Account, open_account
from tests.support.training_toolkit import ensure_toolkit_image
from tools.docker_engine import IMAGE
from tools.environments import oracle

pytestmark = [pytest.mark.oracle, pytest.mark.docker]

HERE = Path(__file__).parent
TELEMETRY = "sm-pysdk-t-us-east-1.s3.us-east-1.amazonaws.com"  # the SDKs send telemetry to this host
TRAIN = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
args, _ = parser.parse_known_args()
with open(os.environ["SM_CHANNEL_TRAINING"] + "/a.csv") as file:
    data = file.read()
for epoch in range(args.epochs):
    print(f"{os.environ['TEAM']} epoch {epoch} of {data}")
with open(os.environ["SM_MODEL_DIR"] + "/weights", "w") as file:
    file.write(data)
"""


@pytest.mark.parametrize("sdk", [2, 3])
def test_unmodified_program_trains_prints_log_and_downloads_model(
    sdk: int, docker_engine: DockerClient, tmp_path: Path
) -> None:
    scratch, work = tmp_path / "image", tmp_path / "work"
    scratch.mkdir()
    (work / "source").mkdir(parents=True)
    (work / "source" / "train.py").write_text(TRAIN)
    # With SDK 2.x, AWS's toolkit in the image starts the script. SDK 3.x sends its own launcher.
    image = ensure_toolkit_image(docker_engine, scratch) if sdk == 2 else IMAGE
    with open_account(tmp_path / "endpoint", os.environ, backend="docker") as account:
        account.s3.put_object(Bucket=BUCKET, Key="data/a.csv", Body=b"1,2")
        done = run_program(sdk, account, image, work)
        calls = Counter(entry["action"] for entry in account.emulator.ledger.read())
    assert done.returncode == 0, done.stderr
    assert all(f"red epoch {epoch} of 1,2" in done.stdout + done.stderr for epoch in range(2))
    with tarfile.open(work / "model" / "model.tar.gz") as tar:
        weights = tar.extractfile("weights")
        assert weights is not None
        assert weights.read() == b"1,2"
    assert calls["CreateTrainingJob"] == 1
    assert json.loads(done.stderr.splitlines()[-1]) == ["127.0.0.1", TELEMETRY]


def run_program(
    sdk: int, account: Account, image: str, work: Path, program: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a user's program in the environment of an SDK. program: file of this folder; default: plain_vN.py."""
    python = str(oracle(f"sagemaker{sdk}").python)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        **account.emulator.environ,
        "IMAGE": image,
        "BUCKET": BUCKET,
    }
    return subprocess.run(
        [python, str(HERE / "run_sealed.py"), str(HERE / (program or f"plain_v{sdk}.py"))],
        cwd=work,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
