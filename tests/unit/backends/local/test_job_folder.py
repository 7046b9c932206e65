"""Folders of jobs."""

from __future__ import annotations

from pathlib import Path

from smsweep.backends.docker.backend import write_trees
from smsweep.backends.local.job_folder import JobFolder


def test_job_has_output_when_all_hosts_have_output(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    request = {"TrainingJobName": "job", "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}
    folder.create(request, lambda draft: write_trees(draft, request))
    assert not folder.has_output()
    folder.log("algo-1").write_text("up\n")
    assert not folder.has_output()
    folder.log("algo-2").write_text("up\n")
    assert folder.has_output()
