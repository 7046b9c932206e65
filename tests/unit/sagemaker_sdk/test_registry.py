"""Tests of unsupported objects and arguments. They do not need the SDK."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import ConfigError, JobError, UsageError
from smsweep.sagemaker_sdk.compiled import Source, find_source, job_template, template
from smsweep.services.sweeps.load import EstimatorJob, compile_estimator


def test_unsupported_object_is_refused_by_type() -> None:
    with pytest.raises(UsageError, match="expected an Estimator or a ModelTrainer of the SageMaker SDK, got dict"):
        template({})


def test_refusing_an_object_does_not_import_the_sdk() -> None:
    with pytest.raises(UsageError):
        template(object())
    assert not any(name.startswith("smsweep.sagemaker_sdk.v") for name in sys.modules)


def test_estimator_and_job_together_are_refused() -> None:
    with pytest.raises(UsageError, match="estimator and job cannot be combined"):
        compile_estimator(object(), None, {})


def test_inputs_without_estimator_are_refused() -> None:
    with pytest.raises(UsageError, match="inputs: need an estimator"):
        compile_estimator(None, "s3://data", None)


def test_unsupported_estimator_is_refused_before_the_sweep_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    config = {"method": "grid", "parameters": {"x": {"values": [1]}}}
    job = EstimatorJob(document={"instance_type": "ml.m5.large"}, program="", command=(), backend="sagemaker")
    with pytest.raises(UsageError, match="the sweep names no program"):
        smsweep.run(config, estimator=job)
    with pytest.raises(JobError, match="SageMaker: no role"):
        smsweep.run({**config, "program": "train.py"}, estimator=job)
    assert list(tmp_path.iterdir()) == []


def test_value_that_a_request_cannot_contain_is_refused() -> None:
    with pytest.raises(ConfigError, match="instead of pipeline variables"):
        job_template({"RoleArn": object()}, {}, Source())


def test_empty_fields_are_left_out() -> None:
    compiled = job_template({"Tags": [], "VpcConfig": None, "ResourceConfig": {"KmsKey": None}}, {}, Source())
    assert compiled.request == {}


def test_source_is_empty_without_script_and_folder() -> None:
    assert find_source(None, None) == Source()


def test_source_can_be_absolute_or_relative(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    script = tmp_path / "lib" / "train.py"
    script.write_text("")
    expected = Source(folder=str(tmp_path), program="lib/train.py")
    assert find_source(tmp_path, Path("lib/train.py")) == expected
    assert find_source(str(tmp_path), str(script)) == expected
    assert find_source(tmp_path, "lib/../lib/train.py") == expected
    assert find_source(None, script) == Source(folder=str(script.parent), program="train.py")


def test_script_outside_the_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "train.py").write_text("")
    for program in ("../train.py", str(tmp_path / "train.py")):
        with pytest.raises(ConfigError, match="has no file"):
            find_source(tmp_path / "source", program)
