"""Descriptions of tuning jobs as requests."""

from __future__ import annotations

import copy

from smsweep.aws.tuning_jobs import as_request
from tests.unit.config_files.test_tuning_job import a_request


def test_description_becomes_the_request_again() -> None:
    request = a_request()
    described = copy.deepcopy(request)
    algorithm = described["TrainingJobDefinition"]["AlgorithmSpecification"]
    algorithm["MetricDefinitions"].append({"Name": "ObjectiveMetric", "Regex": "loss=([0-9.]+)"})  # as on AWS
    described |= {"HyperParameterTuningJobStatus": "Completed", "CreationTime": 1585397644.0}
    assert as_request(described) == request


def test_own_metric_with_the_name_of_the_added_metric_is_kept() -> None:
    request = a_request()
    own = {"Name": "ObjectiveMetric", "Regex": "objective=([0-9.]+)"}
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"].append(own)
    assert as_request(copy.deepcopy(request)) == request


def test_instance_types_of_a_description_replace_its_first_machine() -> None:
    request = a_request()
    resources = request["TrainingJobDefinition"].pop("ResourceConfig")
    request["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = {"InstanceConfigs": [resources]}
    described = copy.deepcopy(request)
    described["TrainingJobDefinition"]["ResourceConfig"] = resources
    assert as_request(described) == request
