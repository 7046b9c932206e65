"""Tests of a disk that became full although the script exited with code 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.core.failure_kind import DISK, classify
from smsweep.runtime.job.failure import MAX_CHARS, RESERVE
from tests.unit.runtime.jobs import Job

# Writes to /dev/full fail like writes to a full disk.
FILLS_THE_DISK = "import os; os.symlink('/dev/full', os.environ['SMSWEEP_ML_ROOT'] + '/output/success')"
SWALLOWS_IT = """
try:
    raise OSError(28, "No space left on device")
except OSError as err:
    print("checkpoint not saved:", err)
"""
LEAVES_A_MODEL = "import os; open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('1')\n"


def failure(job: Job) -> str:
    return (job.ml / "output" / "failure").read_text()


def test_full_disk_at_the_end_fails_the_job(job: Job) -> None:
    done = job.trial({"train.py": FILLS_THE_DISK}).run()
    assert done.code == 1
    assert "No space left on device" in failure(job)
    assert classify(failure(job), done.code) == DISK


def test_missing_model_after_full_disk_fails_the_job(job: Job) -> None:
    done = job.trial({"train.py": SWALLOWS_IT}).run()
    assert done.code == 1
    assert "checkpoint not saved: [Errno 28] No space left on device" in failure(job)
    assert classify(failure(job), done.code) == DISK


def test_lost_output_fails_the_job(job: Job) -> None:
    with Path("/dev/full").open("wb") as log:
        process = job.trial({"train.py": LEAVES_A_MODEL + "print('loss: 1')"}).start(stdout=log)
        process.communicate(timeout=30)
    assert process.returncode == 1
    assert "part of its output and metrics is lost" in failure(job)
    assert classify(failure(job), process.returncode) == DISK


def test_full_disk_message_with_a_model_does_not_fail_the_job(job: Job) -> None:
    assert job.trial({"train.py": SWALLOWS_IT + LEAVES_A_MODEL}).run().code == 0


@pytest.mark.parametrize("script", ["", LEAVES_A_MODEL])
def test_successful_job_writes_an_empty_success_file(job: Job, script: str) -> None:
    assert job.trial({"train.py": script}).run().code == 0
    assert (job.ml / "output" / "success").read_bytes() == b""
    assert not (job.ml / "output" / RESERVE).exists()


def test_failure_reason_is_written_on_a_full_disk(job: Job) -> None:
    script = f"import os; print(os.path.getsize(os.environ['SMSWEEP_ML_ROOT'] + '/output/{RESERVE}')); exit(3)"
    assert int(job.trial({"train.py": script}).run().out) > MAX_CHARS
    assert not (job.ml / "output" / RESERVE).exists()
