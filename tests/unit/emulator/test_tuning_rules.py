"""Tests of the rules of CreateHyperParameterTuningJob that are not in the API model."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from smsweep.config_files.tuning_job import n_combinations, read_tuning_job
from smsweep.emulator.api.tuning_rules import (
    NO_METRIC,
    OTHER_FIELDS,
    OTHER_NAMES,
    broken_rules,
    broken_warm_start_rules,
)
from tests.unit.config_files.test_tuning_job import a_definition, a_range, a_request, floats, integers

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
CHOICE = {"CategoricalParameterRanges": [{"Name": "c", "Values": ["red", "blue"]}]}


def broken(request: dict[str, Any]) -> list[str]:
    read_tuning_job(request)
    return list(broken_rules(request))


def with_jobs(ranges: dict[str, Any], jobs: int, **config: Any) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 1}
    return a_request(ranges, ResourceLimits=limits, **config)


def with_several_definitions(**config: Any) -> dict[str, Any]:
    request = a_request(**config)
    objective = request["HyperParameterTuningJobConfig"].pop("HyperParameterTuningJobObjective")
    ranges = request["HyperParameterTuningJobConfig"].pop("ParameterRanges")
    del request["TrainingJobDefinition"]
    request["TrainingJobDefinitions"] = [
        a_definition(DefinitionName=name, TuningObjective=objective, HyperParameterRanges=ranges)
        for name in ("one", "two")
    ]
    return request


@pytest.mark.parametrize(
    ("ranges", "n"),
    [
        (integers("1", "3"), 3),
        (integers("1", "1000", "Logarithmic"), 1000),
        ({**integers("1", "3"), **CHOICE}, 6),
        ({**integers("1", "3"), **floats("0", "1")}, None),
        ({**CHOICE, "AutoParameters": [{"Name": "p", "ValueHint": "1"}]}, None),
    ],
)
def test_combinations_of_ranges_are_counted(ranges: dict[str, Any], n: int | None) -> None:
    assert n_combinations(ranges) == n


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband"])
def test_more_training_jobs_than_combinations_are_refused(strategy: str) -> None:
    assert broken(with_jobs(integers("1", "3"), 10, Strategy=strategy)) == [
        "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
        "combinations for the provided ranges [3.0] must be equal or greater than the value of MaxNumberOfJobs, "
        "[10]. Provide additional ranges."
    ]
    assert broken(with_jobs(integers("1", "3"), 3, Strategy=strategy)) == []
    assert broken(with_jobs({**integers("1", "3"), **floats("0", "1")}, 10, Strategy=strategy)) == []


def test_grid_has_its_own_rule_for_the_number_of_training_jobs() -> None:
    assert broken(with_jobs(CHOICE, 2, Strategy="Grid")) == []


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        (integers("4", "4"), "IntegerParameterRanges: n: MinValue must be less than MaxValue"),
        (floats("0.5", "0.50"), "ContinuousParameterRanges: x: MinValue must be less than MaxValue"),
        (
            {"CategoricalParameterRanges": [{"Name": "c", "Values": ["red", "blue", "red"]}], **floats("0", "1")},
            "CategoricalParameterRanges: c: duplicate values: red",
        ),
    ],
)
def test_range_with_one_value_and_duplicate_values_are_refused(ranges: dict[str, Any], words: str) -> None:
    (message,) = broken(with_jobs(ranges, 1))
    assert message.startswith(words)


def test_choice_of_one_value_is_accepted() -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "c", "Values": ["red"]}], **floats("0", "1")}
    assert broken(a_request(ranges)) == []


def test_objective_of_an_own_image_needs_a_metric_definition() -> None:
    request = a_request()
    del request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert broken(request) == [NO_METRIC]
    parents = [{"HyperParameterTuningJobName": "parent"}]
    warm_start = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"}
    assert (
        broken({**request, "WarmStartConfig": warm_start}) == []
    )  # as transfer_learning_tuner of SDK 2.x sends it
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = IMAGE
    assert broken(request) == []


def test_early_stopping_of_several_definitions_is_refused() -> None:
    assert broken(with_several_definitions()) == []
    (message,) = broken(with_several_definitions(TrainingJobEarlyStoppingType="Auto"))
    assert message.startswith("TrainingJobEarlyStoppingType")


PARENT = a_request({**integers("1", "900"), **floats("0", "1"), **CHOICE})
PARENT["TrainingJobDefinition"]["StaticHyperParameters"] = {"epochs": "9", "optimizer": "adam"}


def against_parent(child: dict[str, Any], parent: dict[str, Any] = PARENT) -> list[str]:
    return list(broken_warm_start_rules({**child, "HyperParameterTuningJobName": "child"}, parent))


def a_child(ranges: dict[str, Any] | None = None, **static: str) -> dict[str, Any]:
    """Return the request of the parent with other ranges and other static hyperparameters."""
    child = copy.deepcopy(PARENT)
    if ranges is not None:
        child["HyperParameterTuningJobConfig"]["ParameterRanges"] = ranges
    child["TrainingJobDefinition"]["StaticHyperParameters"] |= static
    return child


def test_warm_start_may_change_ranges_scales_and_roles_of_hyperparameters() -> None:
    assert against_parent(a_child({**integers("7", "8", "Linear"), **floats("0.5", "0.9"), **CHOICE})) == []
    assert against_parent(a_child({**integers("1", "900"), **CHOICE}, x="0.5")) == []
    child = a_child({**integers("1", "900"), **floats("0", "1"), **CHOICE})
    ranges = child["HyperParameterTuningJobConfig"]["ParameterRanges"]
    ranges["IntegerParameterRanges"] = [*ranges["IntegerParameterRanges"], a_range("epochs", "1", "20")]
    del child["TrainingJobDefinition"]["StaticHyperParameters"]["epochs"]
    assert against_parent(child) == []


def test_warm_start_ignores_the_static_hyperparameter_of_the_objective() -> None:
    assert against_parent(a_child(_tuning_objective_metric="loss")) == []


@pytest.mark.parametrize(
    "child",
    [a_child(layers="3"), a_child({**integers("1", "900"), **floats("0", "1")}), a_child(floats("0", "1"))],
)
def test_warm_start_with_other_names_of_hyperparameters_is_refused(child: dict[str, Any]) -> None:
    assert against_parent(child) == [OTHER_NAMES]


def test_warm_start_with_another_type_of_a_hyperparameter_is_refused() -> None:
    ranges = {"ContinuousParameterRanges": [a_range("x", "0", "1"), a_range("n", "1", "9")], **CHOICE}
    (message,) = against_parent(a_child(ranges))
    assert message.startswith(
        "WarmStartConfig: the hyperparameter n is continuous, but integer in the parent tune"
    )


@pytest.mark.parametrize("changed", [{"MetricName": "accuracy"}, {"Type": "Maximize"}])
def test_warm_start_with_another_objective_is_refused(changed: dict[str, str]) -> None:
    child = a_child()
    child["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] |= changed
    (message,) = against_parent(child)
    assert message.startswith("WarmStartConfig: the objective metric must be the same")


def many(n: int, value: str) -> dict[str, str]:
    return {f"p{number}": value for number in range(n)}


@pytest.mark.parametrize(
    ("before", "static", "n_changes"),
    [
        (many(10, "1"), many(10, "2"), 10),  # a number counts once
        (many(11, "1"), many(11, "2"), 11),
        (many(5, "red"), many(5, "blue"), 10),  # both texts count
        (many(6, "red"), many(6, "blue"), 12),
        (many(4, "red"), {**many(4, "blue"), "c": "red"}, 10),  # and all values of a choice that is static now
        (many(4, "red"), {**many(4, "blue"), "c": "red", "x": "0.5"}, 11),
    ],
)
def test_warm_start_has_at_most_ten_changes(
    before: dict[str, str], static: dict[str, str], n_changes: int
) -> None:
    parent, child = copy.deepcopy(PARENT), a_child(None, **static)
    parent["TrainingJobDefinition"]["StaticHyperParameters"] |= before
    ranges = child["HyperParameterTuningJobConfig"]["ParameterRanges"]
    for field, items in list(ranges.items()):
        ranges[field] = [item for item in items if item["Name"] not in static]
    messages = against_parent(child, parent)
    assert len(messages) == (n_changes > 10)
    assert all(f"{n_changes} changes" in message for message in messages)


@pytest.mark.parametrize(
    ("changed", "is_refused"),
    [
        ({"Environment": {"A": "1"}}, True),
        ({"RetryStrategy": {"MaximumRetryAttempts": 2}}, True),
        ({"EnableNetworkIsolation": True}, True),
        ({"EnableNetworkIsolation": False, "Environment": {}}, False),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, False),
        ({"OutputDataConfig": {"S3OutputPath": "s3://other/out"}}, False),
    ],
)
def test_warm_start_may_change_some_fields_of_its_training_jobs(
    changed: dict[str, Any], *, is_refused: bool
) -> None:
    child = a_child()
    child["TrainingJobDefinition"] |= changed
    assert against_parent(child) == [OTHER_FIELDS] * is_refused
