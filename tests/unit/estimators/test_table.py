"""Objects that are no estimators, and arguments that do not go together; the SDK itself is not needed for that."""

from __future__ import annotations

import sys

import pytest

from smsweep.errors import ConfigError, UsageError
from smsweep.estimators.compiled import Source, find_source, job_template
from smsweep.estimators.table import template
from smsweep.sdk.estimators import compile_estimator


def test_another_object_is_refused_by_its_type() -> None:
    with pytest.raises(UsageError, match="expected an Estimator or a ModelTrainer of the SageMaker SDK, got dict"):
        template({})


def test_asking_about_an_object_does_not_load_the_sdk() -> None:
    with pytest.raises(UsageError):
        template(object())
    assert not any(name.startswith("smsweep.estimators.v") for name in sys.modules)


def test_an_estimator_and_a_job_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="not both"):
        compile_estimator(object(), None, {})


def test_inputs_need_an_estimator() -> None:
    with pytest.raises(UsageError, match="inputs: belong to an estimator"):
        compile_estimator(None, "s3://data", None)


def test_a_value_that_no_request_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="no variables of a pipeline"):
        job_template({"RoleArn": object()}, {}, Source())


def test_what_says_nothing_is_left_out() -> None:
    compiled = job_template({"Tags": [], "VpcConfig": None, "ResourceConfig": {"KmsKey": None}}, {}, Source())
    assert compiled.request == {}


def test_without_a_script_or_a_folder_there_is_no_source() -> None:
    assert find_source(None, None) == Source()
