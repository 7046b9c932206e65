"""What a job's folder tells of it."""

from __future__ import annotations

from pathlib import Path

from smsweep.backends.local.job_folder import JobFolder


def test_a_job_has_spoken_when_all_its_hosts_have(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.create(
        {"TrainingJobName": "job", "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}
    )
    assert not folder.has_spoken()
    folder.log("algo-1").write_text("up\n")
    assert not folder.has_spoken()
    folder.log("algo-2").write_text("up\n")
    assert folder.has_spoken()
