"""Parsed job template of a stored sweep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.config_files.job_yaml import parse_job, parse_stored_job
from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.services.sweeps.create import sweep
from smsweep.services.workspace import Workspace

CONFIG = {"program": "train.py", "method": "random", "parameters": {"lr": {"min": 0.0, "max": 1.0}}}
JOB = {
    "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
    "role": "arn:aws:iam::123456789012:role/train",
    "instance_type": "ml.m5.large",
    "inputs": {"training": "file://data"},
    "repeats": 2,
    "stop_if": ["loss > 10"],
}
PROGRAM = """
import sys
from smsweep.services.workspace import Workspace
with Workspace().store() as store:
    (sweep,) = store.list_sweeps()
    print(sweep.job.repeats, sweep.job.request["ResourceConfig"]["InstanceType"])
print([name for name in sys.modules if name.partition(".")[0] in ("botocore", "boto3")])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "store"))
    (tmp_path / "train.py").write_text("print('loss=1')\n")
    (tmp_path / "data").mkdir()
    return tmp_path


def test_stored_sweep_has_job_template_of_its_job_yaml(folder: Path) -> None:
    sweep_id = sweep(CONFIG, job=JOB)
    with Workspace().store() as store:
        stored = store.get_sweep(sweep_id)
    assert stored.job == parse_job(JOB).template
    assert stored.job.repeats == 2
    assert stored.job.document["inputs"] == {"training": f"file://{folder / 'data'}"}


def test_sweep_without_job_yaml_has_empty_job_template(folder: Path) -> None:
    sweep_id = sweep(CONFIG)
    with Workspace().store() as store:
        assert store.get_sweep(sweep_id).job == JobTemplate()


def test_loading_sweep_does_not_import_botocore(folder: Path) -> None:
    sweep(CONFIG, job=JOB)
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["2 ml.m5.large", "[]"]


def test_stored_job_yaml_that_breaks_a_rule_raises() -> None:
    with pytest.raises(ConfigError, match=r"job\.yaml:1: entry_point"):
        parse_stored_job("entry_point: train.py\n")
