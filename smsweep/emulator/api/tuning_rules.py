"""Rules of CreateHyperParameterTuningJob that its model does not contain, with SageMaker's messages if known.

Sources: the SageMaker Developer Guide (automatic model tuning, warm start), and messages in issues of users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.config_files.tuning_job import KINDS, OBJECTIVE, n_combinations
from smsweep.emulator.jobs.builtin_algorithms import has_own_metrics

Request = Mapping[str, Any]
MAX_CHANGES = 10  # of hyperparameters in a warm start
NO_METRIC = (
    "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
    "definitions."
)
TOO_FEW = (
    "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
    "combinations for the provided ranges [{n}] must be equal or greater than the value of MaxNumberOfJobs, "
    "[{wanted}]. Provide additional ranges."
)
OTHER_NAMES = (
    "The set of tunable plus static HyperParameter names is not the same across current and parent tuning "
    "jobs. Please ensure this set is constant when warm starting. Note that previously static HyperParameters "
    "can be tuned in warm start jobs and vice versa."
)
OTHER_FIELDS = (
    "Only the following fields in TrainingJobDefinition are allowed to change: [algorithmSpecification, "
    "inputDataConfig, outputDataConfig, staticHyperParameters, roleArn, resourceConfig, stoppingCondition, "
    "vpcConfig, enableManagedSpotTraining, checkpointConfig]."
)
FROZEN = (  # fields that are not in that list
    "Environment",
    "EnableInterContainerTrafficEncryption",
    "EnableNetworkIsolation",
    "RetryStrategy",
)


def broken_rules(request: Request) -> Iterator[str]:
    """Yield a message for each rule that a request breaks.

    Args:
        request: A request that `read_tuning_job` accepts.
    """
    config, definitions = request["HyperParameterTuningJobConfig"], _definitions(request)
    for definition in definitions:
        algorithm = definition["AlgorithmSpecification"]
        has_metrics = bool({"MetricDefinitions", "AlgorithmName"} & algorithm.keys()) or has_own_metrics(algorithm)
        # `transfer_learning_tuner` of SDK 2.x sends no definitions. No source has SageMaker's answer.
        if not has_metrics and "WarmStartConfig" not in request:
            yield NO_METRIC
        yield from _wrong_ranges(_ranges(request, definition))
    if len(definitions) > 1 and config.get("TrainingJobEarlyStoppingType") == "Auto":
        yield "TrainingJobEarlyStoppingType: Auto is not available with several training job definitions"
    wanted = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if wanted is not None and config["Strategy"] != "Grid" and len(definitions) == 1:
        n = n_combinations(_ranges(request, definitions[0]))
        if n is not None and n < wanted:
            yield TOO_FEW.format(n=float(n), wanted=wanted)


def broken_warm_start_rules(request: Request, parent: Request) -> Iterator[str]:
    """Yield a message for each rule of warm starts that a request breaks.

    Args:
        request: A request that `read_tuning_job` accepts. Warm starts have one training job definition.
        parent: The request of an earlier tuning job.
    """
    (definition,), name = _definitions(request), parent["HyperParameterTuningJobName"]
    for other in _definitions(parent):
        if _objective(request, definition) != _objective(parent, other):
            yield f"WarmStartConfig: the objective metric must be the same as that of the parent {name}."
        ranges, before = _kinds(_ranges(request, definition)), _kinds(_ranges(parent, other))
        static, static_before = _static(definition), _static(other)
        if ranges.keys() | static.keys() != before.keys() | static_before.keys():
            yield OTHER_NAMES
            continue
        for changed in sorted(key for key in ranges.keys() & before.keys() if ranges[key] != before[key]):
            yield (
                f"WarmStartConfig: the hyperparameter {changed} is {ranges[changed]}, but {before[changed]} in "
                f"the parent {name}; the type must not change."
            )
        n_changes = _n_changes(static, static_before, _ranges(parent, other))
        if n_changes > MAX_CHANGES:
            yield (
                f"WarmStartConfig: {n_changes} changes from tunable to static hyperparameters, and of static "
                f"values, since the parent {name}; the maximum is {MAX_CHANGES}."
            )
        if any((definition.get(key) or None) != (other.get(key) or None) for key in FROZEN):
            yield OTHER_FIELDS


def _definitions(request: Request) -> Sequence[Request]:
    single = request.get("TrainingJobDefinition")
    return [single] if single is not None else request["TrainingJobDefinitions"]


def _ranges(request: Request, definition: Request) -> Mapping[str, Sequence[Request]]:
    config = request["HyperParameterTuningJobConfig"]
    return definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}


def _objective(request: Request, definition: Request) -> Request:
    shared = request["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
    objective: Request = definition.get("TuningObjective") or shared
    return objective


def _static(definition: Request) -> Mapping[str, str]:
    return {name: text for name, text in definition.get("StaticHyperParameters", {}).items() if name != OBJECTIVE}


def _kinds(ranges: Mapping[str, Sequence[Request]]) -> Mapping[str, str]:
    """Return the type of each tuned hyperparameter."""
    return {item["Name"]: kind for field, kind in KINDS.items() for item in ranges.get(field, ())}


def _n_changes(
    static: Mapping[str, str], before: Mapping[str, str], ranges: Mapping[str, Sequence[Request]]
) -> int:
    """Return the number of changes that count in a warm start. Each value of a category counts.

    Args:
        static: Static hyperparameters of the new tuning job.
        before: Those of the parent.
        ranges: The ranges of the parent.
    """
    sizes = {item["Name"]: len(item["Values"]) for item in ranges.get("CategoricalParameterRanges", ())}
    now_static = sum(sizes.get(name, 1) for name in _kinds(ranges).keys() & static.keys())
    changed = [name for name in static.keys() & before.keys() if static[name] != before[name]]
    return now_static + sum(1 if _is_number(static[name]) and _is_number(before[name]) else 2 for name in changed)


def _is_number(text: str) -> bool:
    try:
        float(text.strip('"'))
    except ValueError:
        return False
    return True


def _wrong_ranges(ranges: Mapping[str, Sequence[Request]]) -> Iterator[str]:
    """Yield the problems of ranges with one value, and of choices with the same value twice."""
    for field in ("IntegerParameterRanges", "ContinuousParameterRanges"):
        for item in ranges.get(field, ()):
            if float(item["MinValue"]) == float(item["MaxValue"]):
                yield (
                    f"{field}: {item['Name']}: MinValue must be less than MaxValue; use a static hyperparameter "
                    "for one value"
                )
    for item in ranges.get("CategoricalParameterRanges", ()):
        counts: Counter[str] = Counter(item["Values"])
        twice = sorted(value for value, count in counts.items() if count > 1)
        if twice:
            yield f"CategoricalParameterRanges: {item['Name']}: duplicate values: {', '.join(twice)}"
