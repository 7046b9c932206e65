"""Objects that are no estimators, and arguments that do not go together; the SDK itself is not needed for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import ConfigError, JobError, UsageError
from smsweep.sagemaker_sdk.compiled import Source, find_source, job_template
from smsweep.sagemaker_sdk.registry import template
from smsweep.services.sweeps.estimators import EstimatorJob, compile_estimator


def test_another_object_is_refused_by_its_type() -> None:
    with pytest.raises(UsageError, match="expected an Estimator or a ModelTrainer of the SageMaker SDK, got dict"):
        template({})


def test_asking_about_an_object_does_not_load_the_sdk() -> None:
    with pytest.raises(UsageError):
        template(object())
    assert not any(name.startswith("smsweep.sagemaker_sdk.v") for name in sys.modules)


def test_an_estimator_and_a_job_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="not both"):
        compile_estimator(object(), None, {})


def test_inputs_need_an_estimator() -> None:
    with pytest.raises(UsageError, match="inputs: belong to an estimator"):
        compile_estimator(None, "s3://data", None)


def test_what_an_estimator_cannot_run_is_told_before_there_is_a_sweep(
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


def test_a_value_that_no_request_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="no variables of a pipeline"):
        job_template({"RoleArn": object()}, {}, Source())


def test_what_says_nothing_is_left_out() -> None:
    compiled = job_template({"Tags": [], "VpcConfig": None, "ResourceConfig": {"KmsKey": None}}, {}, Source())
    assert compiled.request == {}


def test_without_a_script_or_a_folder_there_is_no_source() -> None:
    assert find_source(None, None) == Source()


def test_a_source_may_be_named_by_paths_absolute_or_not(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    script = tmp_path / "lib" / "train.py"
    script.write_text("")
    expected = Source(folder=str(tmp_path), program="lib/train.py")
    assert find_source(tmp_path, Path("lib/train.py")) == expected
    assert find_source(str(tmp_path), str(script)) == expected
    assert find_source(tmp_path, "lib/../lib/train.py") == expected
    assert find_source(None, script) == Source(folder=str(script.parent), program="train.py")


def test_a_script_outside_the_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "train.py").write_text("")
    for program in ("../train.py", str(tmp_path / "train.py")):
        with pytest.raises(ConfigError, match="has no file"):
            find_source(tmp_path / "source", program)
