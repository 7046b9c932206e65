"""Tests of the conversion between CreateHyperParameterTuningJob requests and sweeps."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from smsweep.aws import request_model
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.config_files.tuning_job import (
    job_document,
    read_tuning_job,
    sweep_document,
)
from smsweep.config_files.tuning_job_request import tuning_job_request
from smsweep.core.sweep import Goal
from smsweep.errors import ConfigError
from smsweep.space.distribution import Distribution

ROLE = "arn:aws:iam::123456789012:role/trainer"


def a_range(name: str, low: str, high: str, scale: str = "") -> dict[str, str]:
    bounds = {"Name": name, "MinValue": low, "MaxValue": high}
    return {**bounds, "ScalingType": scale} if scale else bounds


def a_definition(**more: Any) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "StaticHyperParameters": {"epochs": "9"},
        **more,
    }


def a_request(ranges: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    document = {
        "HyperParameterTuningJobName": "tune",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges or {"ContinuousParameterRanges": [a_range("lr", "0.1", "0.2")]},
            **config,
        },
        "TrainingJobDefinition": a_definition(),
    }
    assert list(request_model.violations("CreateHyperParameterTuningJob", document)) == []
    return document


def leaf_of(ranges: dict[str, Any], **more: Any) -> Distribution:
    (definition,) = read_tuning_job({**a_request(ranges), **more}).definitions
    ((_, leaf),) = definition.config.space.leaves
    return leaf


def integers(*item: str) -> dict[str, Any]:
    return {"IntegerParameterRanges": [a_range("n", *item)]}


def floats(*item: str) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [a_range("x", *item)]}


@pytest.mark.parametrize(
    ("ranges", "kind"),
    [
        (integers("1", "9"), "int_uniform"),
        (integers("1", "900"), "q_log_uniform_values"),
        (integers("1", "900", "Linear"), "int_uniform"),
        (integers("1", "9", "Logarithmic"), "q_log_uniform_values"),
        (integers("4", "4"), "constant"),
        (floats("0.1", "0.9"), "uniform"),
        (floats("0.001", "0.9"), "log_uniform_values"),
        (floats("0.001", "0.9", "Linear"), "uniform"),
        (floats("0.1", "0.2", "Logarithmic"), "log_uniform_values"),
        (floats("0.5", "0.9", "ReverseLogarithmic"), "reverse_log_uniform_values"),
        (floats("0", "0.999", "Auto"), "reverse_log_uniform_values"),
        ({"CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}]}, "categorical"),
        ({"CategoricalParameterRanges": [{"Name": "c", "Values": ["a"]}]}, "constant"),
    ],
)
def test_range_becomes_distribution(ranges: dict[str, Any], kind: str) -> None:
    assert leaf_of(ranges).kind == kind


def test_integers_on_a_logarithmic_scale_are_whole_and_within_bounds() -> None:
    leaf, rng = leaf_of(integers("3", "700", "Logarithmic")), random.Random(0)
    drawn = [leaf.sample(rng) for _ in range(500)]
    assert {type(value) for value in drawn} == {int}
    assert 3 <= min(drawn) <= max(drawn) <= 700
    assert sum(value < 46 for value in drawn) == pytest.approx(250, abs=50)  # 46 is the geometric mean


def test_reverse_logarithmic_scale_explores_the_neighborhood_of_the_maximum() -> None:
    leaf = leaf_of(floats("0.9", "0.999", "ReverseLogarithmic"))
    assert leaf.ppf(0.5) == pytest.approx(0.99)
    assert [leaf.ppf(0.0), leaf.ppf(1.0)] == pytest.approx([0.9, 0.999])
    assert leaf.cdf(0.99) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("hint", "low", "high"),
    [("0.001", 0.0001, 0.01), ("0.9", 0.09, 0.99), ("32", 3, 320), ("0", 0, 10), ("-2.0", -20.0, -0.2)],
)
def test_automatic_parameter_gets_a_range_around_its_hint(hint: str, low: float, high: float) -> None:
    leaf: Any = leaf_of({"AutoParameters": [{"Name": "p", "ValueHint": hint}]}, Autotune={"Mode": "Enabled"})
    assert [leaf.min, leaf.max] == pytest.approx([low, high])


def test_automatic_parameter_of_text_keeps_its_hint() -> None:
    ranges = {"AutoParameters": [{"Name": "p", "ValueHint": "adam"}]}
    assert leaf_of(ranges, Autotune={"Mode": "Enabled"}).ppf(0.3) == "adam"


def test_automatic_parameter_of_the_toolkit_keeps_its_hint() -> None:
    ranges = {"AutoParameters": [{"Name": "sagemaker_container_log_level", "ValueHint": "20"}]}
    assert leaf_of(ranges, Autotune={"Mode": "Enabled"}).ppf(0.3) == "20"


def test_settings_of_a_tuning_job_become_values() -> None:
    request = a_request(
        TrainingJobEarlyStoppingType="Auto",
        RandomSeed=7,
        TuningJobCompletionCriteria={
            "TargetObjectiveMetricValue": 0.25,
            "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 5},
            "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
        },
        ResourceLimits={
            "MaxNumberOfTrainingJobs": 10,
            "MaxParallelTrainingJobs": 2,
            "MaxRuntimeInSeconds": 600,
        },
    )
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "TransferLearning",
    }
    request["TrainingJobDefinition"] |= {
        "Environment": {"A": "1"},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "EnableManagedSpotTraining": True,
    }
    job = read_tuning_job(request)
    assert (job.max_jobs, job.max_parallel, job.max_runtime_s, job.seed) == (10, 2, 600, 7)
    assert (job.max_not_improving, job.ends_on_convergence) == (5, True)
    assert (job.parents, job.warm_start_type) == (("parent",), "TransferLearning")
    (definition,) = job.definitions
    metric, rule = definition.config.metric, definition.config.early_terminate
    assert metric is not None
    assert (metric.name, metric.goal, metric.target) == ("loss", Goal.MINIMIZE, 0.25)
    assert rule is not None
    assert rule.type == "median"
    assert definition.request["HyperParameters"] == {"epochs": "9", "_tuning_objective_metric": "loss"}
    assert definition.request["Environment"] == {"A": "1"}
    assert definition.request["RetryStrategy"] == {"MaximumRetryAttempts": 2}


@pytest.mark.parametrize(
    ("strategy", "method"), [("Bayesian", "bayes"), ("Random", "random"), ("Hyperband", "random")]
)
def test_strategy_becomes_method(strategy: str, method: str) -> None:
    (definition,) = read_tuning_job(a_request(Strategy=strategy)).definitions
    assert definition.config.method == method


def test_hyperband_reads_its_largest_resource_from_the_epochs() -> None:
    (definition,) = read_tuning_job(a_request(Strategy="Hyperband")).definitions
    rule = definition.config.early_terminate
    assert definition.max_resource == 9
    assert rule is not None
    assert rule.options == {"max_iter": 9, "s": 2, "eta": 3}


def test_grid_needs_no_number_of_training_jobs() -> None:
    choices = [{"Name": name, "Values": ["a", "b", "c"]} for name in "xy"]
    request = a_request(
        {"CategoricalParameterRanges": choices}, Strategy="Grid", ResourceLimits={"MaxParallelTrainingJobs": 2}
    )
    (definition,) = read_tuning_job(request).definitions
    assert definition.config.space.grid_size == 9


def test_several_definitions_have_their_own_spaces_and_objectives() -> None:
    request = a_request()
    del request["TrainingJobDefinition"]
    ranges = request["HyperParameterTuningJobConfig"].pop("ParameterRanges")
    objective = request["HyperParameterTuningJobConfig"].pop("HyperParameterTuningJobObjective")
    request["TrainingJobDefinitions"] = [
        a_definition(DefinitionName=name, TuningObjective=objective, HyperParameterRanges=ranges)
        for name in ("one", "two")
    ]
    job = read_tuning_job(request)
    assert [item.name for item in job.definitions] == ["one", "two"]
    with pytest.raises(ConfigError, match="one, two"):
        sweep_document(job)


def test_instance_configs_become_instance_preferences() -> None:
    request = a_request()
    del request["TrainingJobDefinition"]["ResourceConfig"]
    request["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = {
        "AllocationStrategy": "Prioritized",
        "InstanceConfigs": [
            {"InstanceType": f"ml.m5.{size}", "InstanceCount": 1, "VolumeSizeInGB": 30}
            for size in ("xlarge", "2xlarge")
        ],
    }
    (definition,) = read_tuning_job(request).definitions
    preferences = definition.request["ResourceConfig"]["InstancePreferences"]
    assert [item["InstanceType"] for item in preferences] == ["ml.m5.xlarge", "ml.m5.2xlarge"]


@pytest.mark.parametrize(
    ("ranges", "config", "words"),
    [
        (integers("1", "9", "ReverseLogarithmic"), {}, "ReverseLogarithmic"),
        (integers("1.5", "9"), {}, "whole number"),
        (integers("9", "1"), {}, "swap them"),
        (floats("0", "1", "Logarithmic"), {}, "MinValue > 0"),
        (floats("0.5", "1.5", "ReverseLogarithmic"), {}, "max < 1"),
        (floats("0.5", "nan"), {}, "finite"),
        (integers("1", "9"), {"Strategy": "Grid"}, "categorical"),
        ({"AutoParameters": [{"Name": "p", "ValueHint": "1"}]}, {}, "Autotune"),
        ({"IntegerParameterRanges": [a_range("epochs", "1", "5")]}, {}, "static"),
        (None, {"ResourceLimits": {"MaxParallelTrainingJobs": 2}}, "MaxNumberOfTrainingJobs"),
        (None, {"ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 2}}, "greater than"),
        (None, {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off"),
        (None, {"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 3}}}, "does not use it"),
        (None, {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "acc"}}, "acc is not one"),
    ],
)
def test_invalid_tuning_job_is_refused(ranges: dict[str, Any] | None, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_tuning_job(a_request(ranges, **config))


def test_request_without_a_definition_is_refused() -> None:
    request = a_request()
    del request["TrainingJobDefinition"]
    with pytest.raises(ConfigError, match="give either"):
        read_tuning_job(request)


def test_tuning_job_becomes_a_sweep_and_a_job_that_smsweep_reads() -> None:
    ranges = {**integers("1", "900"), **floats("0.1", "0.9")}
    ranges["CategoricalParameterRanges"] = [{"Name": "c", "Values": ["a", "b"]}]
    job = read_tuning_job(a_request(ranges, Strategy="Hyperband"))
    sweep = parse_sweep(sweep_document(job)).config
    assert sweep.space == job.definitions[0].config.space
    assert (sweep.method, sweep.run_cap) == ("random", 10)
    template = parse_job(job_document(job.definitions[0])).template
    assert template.request["HyperParameters"] == {"epochs": "9"}
    assert template.metric_definitions == (("loss", "loss=([0-9.]+)"),)
    assert template.request["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert template.document["role"] == ROLE


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}},
            "Convergence",
        ),
        (
            {"ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 600}},
            "MaxRuntimeInSeconds",
        ),
    ],
)
def test_feature_without_a_counterpart_is_named(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep_document(read_tuning_job(a_request(**config)))


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Hyperband", "Grid"])
def test_sweep_becomes_the_same_tuning_job_again(strategy: str) -> None:
    choice = {"CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}]}
    others = {
        "IntegerParameterRanges": [
            a_range("i", "1", "9", "Linear"),
            a_range("j", "1", "99", "Logarithmic"),
        ],
        "ContinuousParameterRanges": [
            a_range("x", "0.1", "0.9", "Linear"),
            a_range("y", "0.1", "0.9", "Logarithmic"),
            a_range("z", "0.1", "0.9", "ReverseLogarithmic"),
        ],
    }
    request = a_request(
        choice if strategy == "Grid" else {**choice, **others},
        Strategy=strategy,
        TrainingJobEarlyStoppingType="Off" if strategy == "Hyperband" else "Auto",
        RandomSeed=3,
        TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.5},
    )
    if strategy == "Grid":
        del request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    if strategy == "Hyperband":
        request["HyperParameterTuningJobConfig"]["StrategyConfig"] = {
            "HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}
        }
    job = read_tuning_job(copy.deepcopy(request))
    (definition,) = job.definitions
    made = tuning_job_request(
        definition.config, definition.request, name="tune", max_parallel=job.max_parallel, seed=job.seed
    )
    assert made == request
    assert list(request_model.violations("CreateHyperParameterTuningJob", made)) == []


def exported(parameters: dict[str, Any], run_cap: int = 10) -> dict[str, Any]:
    """Return the ParameterRanges of a random sweep as a tuning job."""
    document = {"method": "random", "metric": {"name": "loss"}, "run_cap": run_cap, "parameters": parameters}
    job = {name: value for name, value in a_definition().items() if name != "StaticHyperParameters"}
    request = tuning_job_request(parse_sweep(document).config, job, name="tune")
    ranges: dict[str, Any] = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    return ranges


@pytest.mark.parametrize("kind", ["q_uniform", "q_log_uniform_values"])
def test_bounds_of_an_exported_integer_range_are_whole(kind: str) -> None:
    ranges = exported({"n": {"distribution": kind, "min": 1.0, "max": 30.0, "q": 1}})
    ((item,),) = ranges.values()
    assert (item["MinValue"], item["MaxValue"]) == ("1", "30")
    with pytest.raises(ConfigError, match=f"parameters.n: {kind} has no counterpart"):
        exported({"n": {"distribution": kind, "min": 1.5, "max": 30.5, "q": 1}})


def test_sweep_with_more_runs_than_combinations_has_no_tuning_job() -> None:
    parameters = {"n": {"min": 1, "max": 3}, "c": {"values": ["a", "b"]}}
    with pytest.raises(ConfigError, match=r"run_cap: 7 is more than the number of combinations \(6\)"):
        exported(parameters, 7)
    assert exported(parameters, 6)
    assert exported({**parameters, "x": {"min": 0.0, "max": 1.0}}, 7)


def test_sweep_without_a_counterpart_names_all_features() -> None:
    sweep = parse_sweep(
        {
            "method": "random",
            "parameters": {
                "a": {"distribution": "normal", "mu": 0.0, "sigma": 1.0},
                "b": {"parameters": {"c": {"min": 0.0, "max": 1.0}}},
            },
            "metric": {"name": "loss"},
            "early_terminate": {"type": "asha", "min_iter": 2},
        }
    ).config
    job = {
        **{name: value for name, value in a_definition().items() if name != "StaticHyperParameters"},
        "AlgorithmSpecification": {"TrainingImage": "image", "ContainerEntrypoint": ["python3"]},
    }
    with pytest.raises(ConfigError) as caught:
        tuning_job_request(sweep, job, name="tune")
    text = str(caught.value)
    for words in ("parameters.a", "parameters.b.c", "early_terminate", "run_cap", "ContainerEntrypoint"):
        assert words in text


def test_example_of_the_documentation_is_accepted() -> None:
    """The request of `Launch a Hyperparameter Tuning Job` in AWS's developer guide."""
    tuning = {
        "ParameterRanges": {
            "CategoricalParameterRanges": [],
            "ContinuousParameterRanges": [
                {"MaxValue": "1", "MinValue": "0", "Name": "eta"},
                {"MaxValue": "2", "MinValue": "0", "Name": "alpha"},
                {"MaxValue": "10", "MinValue": "1", "Name": "min_child_weight"},
            ],
            "IntegerParameterRanges": [{"MaxValue": "10", "MinValue": "1", "Name": "max_depth"}],
        },
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 3},
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"MetricName": "validation:auc", "Type": "Maximize"},
        "RandomSeed": 123,
    }
    source = {"S3DataDistributionType": "FullyReplicated", "S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}
    definition = {
        "AlgorithmSpecification": {"TrainingImage": "xgboost", "TrainingInputMode": "File"},
        "InputDataConfig": [
            {
                "ChannelName": name,
                "CompressionType": "None",
                "ContentType": "csv",
                "DataSource": {"S3DataSource": source},
            }
            for name in ("train", "validation")
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.c4.2xlarge", "VolumeSizeInGB": 10},
        "RoleArn": ROLE,
        "StaticHyperParameters": {"eval_metric": "auc", "num_round": "100", "objective": "binary:logistic"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 43200},
    }
    request = {
        "HyperParameterTuningJobName": "MyTuningJob",
        "HyperParameterTuningJobConfig": tuning,
        "TrainingJobDefinition": definition,
    }
    assert list(request_model.violations("CreateHyperParameterTuningJob", request)) == []
    job = read_tuning_job(request)
    kinds = {path[0]: leaf.kind for path, leaf in job.definitions[0].config.space.leaves}
    assert kinds == {
        "alpha": "uniform",
        "eta": "uniform",
        "max_depth": "int_uniform",
        "min_child_weight": "uniform",
    }
    assert (job.max_jobs, job.seed) == (20, 123)


TEXTS = ("", "0", "-1", "0.5", "1", "1e400", "-1e308", "1e308", "nan", "inf", "0x10", "1_0", "9" * 200, "a", '"a"')


def paths_to_texts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of the texts in a document."""
    if isinstance(value, str):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in paths_to_texts(item, (*path, key))]


@pytest.mark.parametrize("strategy", ["Bayesian", "Hyperband", "Grid"])
def test_strange_text_is_accepted_or_refused_with_a_reason(strategy: str) -> None:
    ranges = {**integers("1", "9"), **floats("0.1", "0.9")}
    ranges["CategoricalParameterRanges"] = [{"Name": "c", "Values": ["a", "b"]}]
    ranges["AutoParameters"] = [{"Name": "p", "ValueHint": "1"}]
    request = {**a_request(ranges, Strategy=strategy), "Autotune": {"Mode": "Enabled"}}
    for path in paths_to_texts(request):
        for text in TEXTS:
            changed = copy.deepcopy(request)
            parent: Any = changed
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = text
            if list(request_model.violations("CreateHyperParameterTuningJob", changed)):
                continue
            try:
                job = read_tuning_job(changed)
            except ConfigError as err:
                assert str(err), path
            else:
                for definition in job.definitions:
                    definition.config.space.ppf([0.5] * len(definition.config.space.leaves))
