"""A sweep as a CreateHyperParameterTuningJob request. Features that tuning jobs do not have raise an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smsweep.aws import request_model
from smsweep.config_files.tuning_job import (
    ETA,
    JOB_FIELDS,
    MAX_CHOICES,
    MAX_RANGES,
    METHODS,
    OBJECTIVE,
    n_combinations,
    parameter_text,
)
from smsweep.core.sweep import Goal, SweepConfig
from smsweep.errors import ConfigError
from smsweep.space.choices import Categorical, Constant
from smsweep.space.normal import QLogUniformValues, QUniform
from smsweep.space.numeric import IntUniform, LogUniformValues, ReverseLogUniformValues, Uniform
from smsweep.space.space import SearchSpace

REQUIRED = {  # field of a training job definition -> key of job.yaml
    "AlgorithmSpecification": "image_uri",
    "RoleArn": "role",
    "OutputDataConfig": "output_path",
    "StoppingCondition": "max_run",
    "ResourceConfig": "instance_type",
}
OWN_FIELDS = frozenset({"HyperParameters", "AlgorithmSpecification", "ResourceConfig", "Tags"})


def tuning_job_request(
    config: SweepConfig,
    job: Mapping[str, Any],
    *,
    name: str,
    max_parallel: int = 1,
    seed: int | None = None,
    parents: Sequence[str] = (),
    text_of: Callable[[Any], str] = parameter_text,
) -> dict[str, Any]:
    """Return the CreateHyperParameterTuningJob request of a sweep.

    Args:
        config: The sweep.
        job: A CreateTrainingJob request without its name. HyperParameters has the static hyperparameters.
        name: The name of the tuning job, at most 32 characters.
        max_parallel: Maximum number of training jobs at the same time.
        seed: RandomSeed; None for none.
        parents: Tuning jobs for a warm start with identical data and algorithm.
        text_of: Returns the text of a constant or a choice. AWS's framework images decode `json.dumps`.

    Returns:
        The request.

    Raises:
        ConfigError: The sweep or the job has a feature without a counterpart. The error names all of them.
    """
    problems: list[str] = []
    strategy, strategy_config, early_stopping = _strategy(config, problems)
    ranges = _ranges(config.space, problems, text_of, is_grid=strategy == "Grid")
    constants = {path[0]: text_of(leaf.value) for path, leaf in config.space.leaves if isinstance(leaf, Constant)}
    limits: dict[str, Any] = {"MaxParallelTrainingJobs": max_parallel}
    if strategy != "Grid":
        if config.run_cap is None:
            problems.append("run_cap: missing; a tuning job needs a limit")
        else:
            limits = {"MaxNumberOfTrainingJobs": config.run_cap, **limits}
            combinations = n_combinations(ranges)
            if combinations is not None and ranges and combinations < config.run_cap:
                problems.append(
                    f"run_cap: {config.run_cap} is more than the number of combinations ({combinations}), which a "
                    f"tuning job cannot have; lower it to {combinations}"
                )
    if config.metric is None:
        problems.append("metric: missing; a tuning job compares training jobs by one metric")
    definition = _training_job_definition(job, constants, problems)
    if problems:
        raise ConfigError([f"tuning job {name}: {text}" for text in problems])
    assert config.metric is not None
    tuning: dict[str, Any] = {
        "Strategy": strategy,
        **strategy_config,
        "HyperParameterTuningJobObjective": {
            "Type": "Minimize" if config.metric.goal is Goal.MINIMIZE else "Maximize",
            "MetricName": config.metric.name,
        },
        "ResourceLimits": limits,
        "ParameterRanges": ranges,
        "TrainingJobEarlyStoppingType": early_stopping,
    }
    if config.metric.target is not None:
        tuning["TuningJobCompletionCriteria"] = {"TargetObjectiveMetricValue": config.metric.target}
    if seed is not None:
        tuning["RandomSeed"] = seed
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": tuning,
        "TrainingJobDefinition": definition,
    }
    if parents:
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents],
            "WarmStartType": "IdenticalDataAndAlgorithm",
        }
    if "Tags" in job:
        request["Tags"] = job["Tags"]
    return request


def _strategy(config: SweepConfig, problems: list[str]) -> tuple[str, dict[str, Any], str]:
    """Return Strategy, StrategyConfig (or nothing) and TrainingJobEarlyStoppingType."""
    strategies = {method: strategy for strategy, method in METHODS.items() if strategy != "Hyperband"}
    strategy = strategies.get(config.method, "")
    if not strategy:
        problems.append(f"method: {config.method} has no counterpart; use bayes, random or grid")
    rule = config.early_terminate
    if rule is None:
        return strategy, {}, "Off"
    if rule.type == "median":
        return strategy, {}, "Auto"
    options = rule.options
    if rule.type == "hyperband" and config.method == "random" and "max_iter" in options:
        low = max(int(options["max_iter"] / options.get("eta", ETA) ** options.get("s", 1)), 1)
        resources = {"MinResource": low, "MaxResource": options["max_iter"]}
        return "Hyperband", {"StrategyConfig": {"HyperbandStrategyConfig": resources}}, "Off"
    problems.append(
        f"early_terminate: {rule.type} with method {config.method} has no counterpart; use median, or hyperband "
        "with max_iter, s and method random"
    )
    return strategy, {}, "Off"


def _ranges(
    space: SearchSpace, problems: list[str], text_of: Callable[[Any], str], *, is_grid: bool
) -> dict[str, Any]:
    ranges: dict[str, list[dict[str, Any]]] = {}
    for path, leaf in space.leaves:
        name = path[0]
        if len(path) > 1:
            problems.append(f"parameters.{'.'.join(path)}: nested parameters have no counterpart")
            continue
        if isinstance(leaf, Constant):
            continue
        if is_grid and not isinstance(leaf, Categorical) and 0 < (leaf.grid_size or 0) <= MAX_CHOICES:
            leaf = Categorical(values=tuple(leaf.grid_value(i) for i in range(leaf.grid_size or 0)))
        bounds = {"Name": name}
        if isinstance(leaf, (IntUniform, Uniform, LogUniformValues, ReverseLogUniformValues)):
            bounds |= {"MinValue": parameter_text(leaf.min), "MaxValue": parameter_text(leaf.max)}
        if isinstance(leaf, Categorical):
            if len(leaf.values) > MAX_CHOICES:
                problems.append(
                    f"parameters.{name}: {len(leaf.values)} values; a tuning job has at most {MAX_CHOICES}"
                )
            texts = [text_of(value) for value in leaf.values]
            ranges.setdefault("CategoricalParameterRanges", []).append({"Name": name, "Values": texts})
        elif type(leaf) is IntUniform or (isinstance(leaf, (QUniform, QLogUniformValues)) and _is_whole(leaf)):
            is_log = isinstance(leaf, QLogUniformValues)
            bounds |= {"MinValue": str(int(leaf.min)), "MaxValue": str(int(leaf.max))}  # 1.0 is no integer of AWS
            bounds["ScalingType"] = "Logarithmic" if is_log else "Linear"
            ranges.setdefault("IntegerParameterRanges", []).append(bounds)
        elif type(leaf) is Uniform:
            ranges.setdefault("ContinuousParameterRanges", []).append({**bounds, "ScalingType": "Linear"})
        elif isinstance(leaf, LogUniformValues) and not isinstance(leaf, QLogUniformValues):
            ranges.setdefault("ContinuousParameterRanges", []).append({**bounds, "ScalingType": "Logarithmic"})
        elif isinstance(leaf, ReverseLogUniformValues):
            ranges.setdefault("ContinuousParameterRanges", []).append(
                {**bounds, "ScalingType": "ReverseLogarithmic"}
            )
        else:
            problems.append(f"parameters.{name}: {leaf.kind} has no counterpart; use values, or min and max")
    if not ranges and not problems:
        problems.append("parameters: all are constants; a tuning job needs a range")
    n_ranges = sum(map(len, ranges.values()))
    if n_ranges > MAX_RANGES:
        problems.append(f"parameters: {n_ranges} ranges; a tuning job has at most {MAX_RANGES}")
    return dict(ranges)


def _is_whole(leaf: QUniform | QLogUniformValues) -> bool:
    """Return True if all values of a rounded distribution are whole numbers, the bounds included."""
    return leaf.q == 1 and leaf.min == int(leaf.min) and leaf.max == int(leaf.max)


def _training_job_definition(
    job: Mapping[str, Any], constants: Mapping[str, str], problems: list[str]
) -> dict[str, Any]:
    algorithm = job.get("AlgorithmSpecification", {})
    known = request_model.members("HyperParameterAlgorithmSpecification")
    foreign = [
        *(f"AlgorithmSpecification.{field_name}" for field_name in algorithm if field_name not in known),
        *(field_name for field_name in job if field_name not in {*JOB_FIELDS, *OWN_FIELDS}),
    ]
    problems += [
        f"{field_name}: training jobs of a tuning job cannot have it; remove it" for field_name in foreign
    ]
    problems += [f"{name}: missing; give {key} in job.yaml" for name, key in REQUIRED.items() if not job.get(name)]
    static = {**job.get("HyperParameters", {}), **constants}
    static.pop(OBJECTIVE, None)
    return {
        **({"StaticHyperParameters": static} if static else {}),
        "AlgorithmSpecification": {"TrainingInputMode": "File", **algorithm},
        **{field_name: job[field_name] for field_name in (*JOB_FIELDS, "ResourceConfig") if field_name in job},
    }
