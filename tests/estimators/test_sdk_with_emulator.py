"""Tests of programs for the SageMaker SDK with the emulator, whose jobs are processes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.account import open_account
from tools.environments import oracle

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

HERE = Path(__file__).parent
BUCKET = "chosen-bucket"
CONFIG = f"""\
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      Session:
        DefaultS3Bucket: {BUCKET}
"""


def run_in_sdk(sdk: int, argv: list[str], folder: Path, environ: dict[str, str]) -> str:
    """Run Python in the environment of an SDK, with a configuration file that names BUCKET. Return its output."""
    (folder / "sdk.yaml").write_text(CONFIG)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(folder / "sdk.yaml"),
        "BUCKET": BUCKET,
        **environ,
    }
    done = subprocess.run(
        [str(oracle(f"sagemaker{sdk}").python), *argv],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metrics_of_an_isolated_script_are_rows_of_training_job_analytics(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.py").write_text("print('loss=0.5')\nprint('loss=0.25')\n")
    with open_account(tmp_path / "emulator", os.environ) as account:
        out = run_in_sdk(
            2, [str(HERE / "run_sealed.py"), str(HERE / "analytics_v2.py")], tmp_path, account.emulator.environ
        )
    (line,) = [line for line in out.splitlines() if line.startswith("ROWS ")]
    rows = json.loads(line.removeprefix("ROWS "))
    assert {name for name, _ in rows} == {"test loss"}
    assert all(0.25 <= value <= 0.5 for _, value in rows)  # one row per minute, with the mean


def test_default_bucket_of_sdk_3_is_the_one_of_its_configuration_file(tmp_path: Path) -> None:
    program = "from sagemaker.core.helper.session_helper import Session; print(Session().default_bucket())"
    with open_account(tmp_path / "emulator", os.environ) as account:
        out = run_in_sdk(3, ["-c", program], tmp_path, account.emulator.environ)
        assert [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]] == [BUCKET]
    assert out.splitlines()[-1] == BUCKET
