"""Read a CreateHyperParameterTuningJob request as searches (for the emulator), or as sweep.yaml and job.yaml.

Each training job definition of a tuning job is one search. Features that a sweep does not have raise an error.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

from smsweep.config_files.job_request import PLACES
from smsweep.core.sweep import EarlyTerminate, Goal, Metric, SweepConfig
from smsweep.errors import ConfigError, SpaceError
from smsweep.space.choices import Categorical, Constant
from smsweep.space.distribution import Distribution
from smsweep.space.normal import QLogUniformValues
from smsweep.space.numeric import IntUniform, LogUniformValues, ReverseLogUniformValues, Uniform
from smsweep.space.space import SearchSpace

METHODS = {"Bayesian": "bayes", "Random": "random", "Grid": "grid", "Hyperband": "random"}
GOALS = {"Minimize": Goal.MINIMIZE, "Maximize": Goal.MAXIMIZE}
ETA = 3  # of Hyperband
MEDIAN_FROM = 2  # number of values before the first check of early stopping
# Keys of static hyperparameters with the number of epochs. Source: the API model, HyperbandStrategyConfig.
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MAX_EPOCHS = 20_000  # API: the largest MaxResource
DECADES = 100  # Auto: a range with this ratio of its bounds has a logarithmic scale
HINT_FACTOR = 10  # AutoParameters: the range goes from a tenth of the hint to ten times the hint
TOOLKIT = "sagemaker_"  # prefix of the hyperparameters that the SDK adds for AWS's toolkit
AUTOTUNE_JOBS = 100  # number of training jobs of Autotune without a limit
MAX_CHOICES = 30  # API: values of a categorical range
MAX_RANGES = 30  # API: ranges of all kinds
MAX_PREFERENCES = 5  # API: instance types of a training job; a tuning job has six
OBJECTIVE = "_tuning_objective_metric"  # hyperparameter that SageMaker adds to each training job
KINDS = {  # field of ParameterRanges -> type of its hyperparameters
    "IntegerParameterRanges": "integer",
    "ContinuousParameterRanges": "continuous",
    "CategoricalParameterRanges": "categorical",
    "AutoParameters": "automatic",
}
JOB_FIELDS = (
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)  # of a training job definition, with the same names and values in CreateTrainingJob
OTHER_SHAPE = ("inputs", "tags", "instance_groups", "disable_output_compression")  # keys of job.yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One training job definition of a tuning job, as a search."""

    name: str = ""  # DefinitionName; "" for the only definition
    config: SweepConfig  # method, space, metric and stopping rule; the values of a choice are texts
    request: Mapping[str, Any]  # CreateTrainingJob without name and tags; HyperParameters has the static ones
    max_resource: int | None = None  # Hyperband stops a training job at this number of objective values


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningJob:
    """A CreateHyperParameterTuningJob request as values."""

    name: str
    strategy: str  # Bayesian, Random, Grid or Hyperband
    definitions: tuple[Definition, ...]
    max_jobs: int | None = None  # maximum number of training jobs; None if only other limits end the tuning job
    max_parallel: int = 1
    max_runtime_s: int | None = None  # of the tuning job
    max_not_improving: int | None = None  # the tuning job ends after this number of jobs without an improvement
    ends_on_convergence: bool = False
    seed: int | None = None
    parents: tuple[str, ...] = ()  # names of earlier tuning jobs
    warm_start_type: str = ""  # IdenticalDataAndAlgorithm or TransferLearning; "" without parents
    is_autotuned: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


def read_tuning_job(request: Mapping[str, Any]) -> TuningJob:
    """Read a CreateHyperParameterTuningJob request.

    Args:
        request: A request that conforms to the API model.

    Returns:
        The tuning job.

    Raises:
        ConfigError: With all problems. The first word of each is the field.
    """
    problems: list[str] = []
    config = request["HyperParameterTuningJobConfig"]
    single, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions", ())
    if (single is None) == (not several):
        problems.append("TrainingJobDefinition: give either TrainingJobDefinition or TrainingJobDefinitions")
    documents = [*([single] if single is not None else []), *several]
    is_autotuned = request.get("Autotune", {}).get("Mode") == "Enabled"
    definitions = [_definition(item, config, problems, is_autotuned=is_autotuned) for item in documents]
    names = [item.get("DefinitionName", "") for item in documents]
    if several and ("" in names or len(set(names)) < len(names)):
        problems.append("TrainingJobDefinitions: each definition needs its own DefinitionName")
    limits, criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    max_jobs = limits.get("MaxNumberOfTrainingJobs")
    problems += _limit_problems(config, definitions, is_autotuned=is_autotuned)
    warm_start = request.get("WarmStartConfig", {})
    problems += _warm_start_problems(warm_start, request["HyperParameterTuningJobName"], len(documents))
    if problems:
        raise ConfigError(problems)
    if max_jobs is None and is_autotuned and config["Strategy"] != "Grid":
        max_jobs = AUTOTUNE_JOBS
    converges = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence")
    return TuningJob(
        name=request["HyperParameterTuningJobName"],
        strategy=config["Strategy"],
        definitions=tuple(item for item in definitions if item is not None),
        max_jobs=max_jobs,
        max_parallel=limits["MaxParallelTrainingJobs"],
        max_runtime_s=limits.get("MaxRuntimeInSeconds"),
        max_not_improving=criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
        ends_on_convergence=(converges or ("Enabled" if is_autotuned else "Disabled")) == "Enabled",
        seed=config.get("RandomSeed"),
        parents=tuple(item["HyperParameterTuningJobName"] for item in _parents(warm_start)),
        warm_start_type=warm_start.get("WarmStartType", ""),
        is_autotuned=is_autotuned,
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
    )


def _parents(warm_start: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    parents: Sequence[Mapping[str, Any]] = warm_start.get("ParentHyperParameterTuningJobs", ())
    return [item for item in parents if "HyperParameterTuningJobName" in item]


def _limit_problems(
    config: Mapping[str, Any], definitions: Sequence[Definition | None], *, is_autotuned: bool
) -> Iterator[str]:
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    max_jobs, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if max_jobs is not None and parallel > max_jobs:
        yield (
            f"ResourceLimits.MaxParallelTrainingJobs: {parallel} must not be greater than MaxNumberOfTrainingJobs "
            f"({max_jobs})"
        )
    is_unlimited = max_jobs is None and limits.get("MaxRuntimeInSeconds") is None
    if is_unlimited and strategy != "Grid" and not is_autotuned:
        yield "ResourceLimits.MaxNumberOfTrainingJobs: missing; give it, or MaxRuntimeInSeconds"
    if strategy == "Grid" and max_jobs is not None and all(definitions):
        sizes = [item.config.space.grid_size for item in definitions if item is not None]
        size = sum(n for n in sizes if n is not None)
        if None not in sizes and max_jobs != size:
            yield (
                f"ResourceLimits.MaxNumberOfTrainingJobs: {max_jobs} must be the size of the grid ({size}); "
                "leave it out"
            )
    if "HyperbandStrategyConfig" in config.get("StrategyConfig", {}) and strategy != "Hyperband":
        yield f"StrategyConfig.HyperbandStrategyConfig: Strategy {strategy} does not use it; remove it"
    if strategy == "Hyperband" and config.get("TrainingJobEarlyStoppingType") == "Auto":
        yield "TrainingJobEarlyStoppingType: must be Off with Strategy Hyperband, which stops training jobs itself"


def _warm_start_problems(warm_start: Mapping[str, Any], name: str, n_definitions: int) -> Iterator[str]:
    names = [item["HyperParameterTuningJobName"] for item in _parents(warm_start)]
    if warm_start and len(names) < len(warm_start["ParentHyperParameterTuningJobs"]):
        yield "WarmStartConfig.ParentHyperParameterTuningJobs: each parent needs HyperParameterTuningJobName"
    if len(set(names)) < len(names) or name in names:
        yield "WarmStartConfig.ParentHyperParameterTuningJobs: list each other tuning job once"
    if warm_start and n_definitions > 1:
        yield "WarmStartConfig: not available with several training job definitions"


def _definition(
    document: Mapping[str, Any], config: Mapping[str, Any], problems: list[str], *, is_autotuned: bool
) -> Definition | None:
    """Return one definition; None, with its problems, if it is not valid."""
    name = document.get("DefinitionName", "")
    found: list[str] = []
    objective = document.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
    if objective is None:
        found.append("HyperParameterTuningJobObjective: missing; give Type and MetricName")
    target = config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue")
    ranges = document.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
    static = document.get("StaticHyperParameters", {})
    space = _space(ranges, found, is_autotuned=is_autotuned)
    tuned = {path[0] for path, _ in space.leaves}
    for both in sorted(tuned & static.keys()):
        found.append(f"ParameterRanges: {both} is a static hyperparameter, too; remove one of the two")
    strategy = config["Strategy"]
    if strategy == "Grid":
        for path, leaf in space.leaves:
            if not isinstance(leaf, (Categorical, Constant)):
                found.append(f"ParameterRanges: {path[0]}: Strategy Grid accepts only categorical ranges")
    definitions = document["AlgorithmSpecification"].get("MetricDefinitions")
    if objective is not None and definitions is not None:
        known = [item["Name"] for item in definitions]
        if objective["MetricName"] not in known:
            found.append(
                f"HyperParameterTuningJobObjective.MetricName: {objective['MetricName']} is not one of the metric "
                f"definitions ({', '.join(known) or 'there are none'})"
            )
    resource, max_resource = _hyperband(config, static, found)
    rule = resource if strategy == "Hyperband" else _early_stopping(config, is_autotuned=is_autotuned)
    found += _resource_problems(document)
    problems += [f"{name}: {text}" if name else text for text in found]
    if found or objective is None:
        return None
    metric = Metric(name=objective["MetricName"], goal=GOALS[objective["Type"]], target=target)
    return Definition(
        name=name,
        config=SweepConfig(
            method=METHODS[strategy],
            space=space,
            metric=metric,
            early_terminate=rule,
            run_cap=config["ResourceLimits"].get("MaxNumberOfTrainingJobs"),
        ),
        request=_training_job(document, objective["MetricName"]),
        max_resource=max_resource,
    )


def _training_job(document: Mapping[str, Any], metric_name: str) -> dict[str, Any]:
    request = {name: document[name] for name in JOB_FIELDS if name in document}
    request["AlgorithmSpecification"] = document["AlgorithmSpecification"]
    request["HyperParameters"] = {**document.get("StaticHyperParameters", {}), OBJECTIVE: metric_name}
    request["ResourceConfig"] = _resources(document)
    return request


def _resources(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ResourceConfig of the training jobs."""
    if "HyperParameterTuningResourceConfig" not in document:
        return dict(document.get("ResourceConfig", {}))
    resources = dict(document["HyperParameterTuningResourceConfig"])
    resources.pop("AllocationStrategy", None)  # Prioritized is the only value
    configs = resources.pop("InstanceConfigs", ())
    if len(configs) == 1 or (configs and document.get("EnableManagedSpotTraining")):
        resources |= configs[0]
        return resources
    if configs:
        resources["VolumeSizeInGB"] = max(item["VolumeSizeInGB"] for item in configs)
        resources["InstancePreferences"] = [
            {"InstanceType": item["InstanceType"], "InstanceCount": item["InstanceCount"]}
            for item in configs[:MAX_PREFERENCES]
        ]
    return resources


def _resource_problems(document: Mapping[str, Any]) -> Iterator[str]:
    if ("ResourceConfig" in document) == ("HyperParameterTuningResourceConfig" in document):
        yield "ResourceConfig: give either ResourceConfig or HyperParameterTuningResourceConfig"
    resources = document.get("HyperParameterTuningResourceConfig", {})
    if "InstanceConfigs" in resources and {"InstanceType", "InstanceCount", "VolumeSizeInGB"} & resources.keys():
        yield (
            "HyperParameterTuningResourceConfig.InstanceConfigs: cannot be combined with InstanceType, "
            "InstanceCount and VolumeSizeInGB"
        )


def _early_stopping(config: Mapping[str, Any], *, is_autotuned: bool) -> EarlyTerminate | None:
    default = "Auto" if is_autotuned else "Off"
    if config.get("TrainingJobEarlyStoppingType", default) != "Auto":
        return None
    return EarlyTerminate(type="median", options={"min_iter": MEDIAN_FROM})


def _hyperband(
    config: Mapping[str, Any], static: Mapping[str, str], problems: list[str]
) -> tuple[EarlyTerminate | None, int | None]:
    """Return the rule and MaxResource. The bands are MaxResource divided by powers of ETA."""
    if config["Strategy"] != "Hyperband":
        return None, None
    options = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    low, high = options.get("MinResource", 1), options.get("MaxResource")
    if high is None:
        texts = [static[name].strip('"') for name in EPOCHS if name in static]
        high = next((int(text) for text in texts if text.isdecimal()), None)
    if high is None:
        problems.append(
            "HyperbandStrategyConfig.MaxResource: missing; give it, or a static hyperparameter "
            f"{', '.join(EPOCHS[:-1])} or {EPOCHS[-1]}"
        )
        return None, None
    if not low <= high <= MAX_EPOCHS:
        problems.append(
            f"HyperbandStrategyConfig.MaxResource: {high} must be between MinResource ({low}) and {MAX_EPOCHS}"
        )
        return None, None
    n_bands = sum(high / ETA**k >= low for k in range(1, 11))
    if not n_bands:
        return None, high
    return EarlyTerminate(type="hyperband", options={"max_iter": high, "s": n_bands, "eta": ETA}), high


def _space(ranges: Mapping[str, Any], problems: list[str], *, is_autotuned: bool) -> SearchSpace:
    readers: Sequence[tuple[str, Callable[[Mapping[str, Any]], Distribution]]] = (
        ("IntegerParameterRanges", _integers),
        ("ContinuousParameterRanges", _floats),
        ("CategoricalParameterRanges", lambda item: _choice(item["Values"])),
        ("AutoParameters", _from_hint),
    )
    parameters: dict[str, Distribution | SearchSpace] = {}
    for kind, read in readers:
        for item in ranges.get(kind, ()):
            name = item["Name"]
            if name in parameters:
                problems.append(f"ParameterRanges: {name} has two ranges; keep one")
            try:
                parameters[name] = read(item)
            except (SpaceError, ValueError) as err:
                problems.append(f"{kind}: {name}: {err}")
    if "AutoParameters" in ranges and not is_autotuned:
        problems.append("AutoParameters: need Autotune with Mode Enabled")
    if not parameters and not problems:
        problems.append("ParameterRanges: missing; give at least one range")
    if len(parameters) > MAX_RANGES + len(ranges.get("AutoParameters", ())):
        problems.append(f"ParameterRanges: {len(parameters)} ranges; the maximum is {MAX_RANGES}")
    return SearchSpace(parameters)


def n_combinations(ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> int | None:
    """Return the number of combinations of valid ParameterRanges; None if it is not limited.

    SageMaker refuses a tuning job with more training jobs than combinations. Scales do not change the number.
    """
    if ranges.get("ContinuousParameterRanges") or ranges.get("AutoParameters"):
        return None
    whole = (
        int(item["MaxValue"]) - int(item["MinValue"]) + 1 for item in ranges.get("IntegerParameterRanges", ())
    )
    choices = (len(set(item["Values"])) for item in ranges.get("CategoricalParameterRanges", ()))
    return math.prod((*whole, *choices))


def _integers(item: Mapping[str, Any]) -> Distribution:
    low, high = (_integer(item, name) for name in ("MinValue", "MaxValue"))
    scale = item.get("ScalingType", "Auto")
    if scale == "ReverseLogarithmic":
        raise ValueError("ReverseLogarithmic is available only for continuous ranges; use Linear or Logarithmic")
    if low == high:
        return Constant(value=low)
    if scale == "Logarithmic" and low <= 0:
        raise ValueError(f"Logarithmic needs MinValue > 0, got {low}; use Linear")
    if scale == "Logarithmic" or (scale == "Auto" and low > 0 and high >= low * DECADES):
        return QLogUniformValues(min=low, max=high, q=1)
    return IntUniform(min=low, max=high)


def _integer(item: Mapping[str, Any], name: str) -> int:
    try:
        return int(item[name])
    except ValueError as err:
        raise ValueError(f"{name}: expected a whole number, got {item[name]!r}") from err


def _floats(item: Mapping[str, Any]) -> Distribution:
    low, high = (_float(item, name) for name in ("MinValue", "MaxValue"))
    scale = item.get("ScalingType", "Auto")
    if low == high:
        return Constant(value=low)
    if scale == "Auto":
        scale = _clear_scale(low, high)
    if scale == "Logarithmic":
        if low <= 0:
            raise ValueError(f"Logarithmic needs MinValue > 0, got {low}; use Linear")
        return LogUniformValues(min=low, max=high)
    if scale == "ReverseLogarithmic":
        return ReverseLogUniformValues(min=low, max=high)
    return Uniform(min=low, max=high)


def _float(item: Mapping[str, Any], name: str) -> float:
    try:
        value = float(item[name])
    except ValueError as err:
        raise ValueError(f"{name}: expected a number, got {item[name]!r}") from err
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {item[name]!r}")
    return value


def _clear_scale(low: float, high: float) -> str:
    """Return the scale that Auto selects for a continuous range."""
    if low > 0 and high >= low * DECADES:
        return "Logarithmic"
    is_reverse = 0 <= low < high < 1 and 1 - low >= (1 - high) * DECADES
    return "ReverseLogarithmic" if is_reverse else "Linear"


def _choice(values: Sequence[str]) -> Distribution:
    distinct = list(dict.fromkeys(values))
    return Constant(value=distinct[0]) if len(distinct) == 1 else Categorical(values=tuple(distinct))


def _from_hint(item: Mapping[str, Any]) -> Distribution:
    """Return the range of an automatic parameter: a tenth of the hint to ten times the hint."""
    hint = item["ValueHint"]
    if item["Name"].startswith(TOOLKIT):
        return Constant(value=hint)  # with `autotune`, SDK 2.x sends all hyperparameters
    if hint.lower() in ("true", "false"):
        return _choice([hint, hint.swapcase() if hint.islower() else str(hint != "True")])
    try:
        whole = int(hint)
    except ValueError:
        return _numeric_hint(hint)
    if whole > 0:
        return _integers({"MinValue": max(whole // HINT_FACTOR, 1), "MaxValue": whole * HINT_FACTOR})
    return IntUniform(min=whole * HINT_FACTOR, max=max(whole // HINT_FACTOR, 0) if whole else HINT_FACTOR)


def _numeric_hint(hint: str) -> Distribution:
    try:
        number = float(hint)
    except ValueError:
        return Constant(value=hint)  # not eligible for Autotune
    if not math.isfinite(number):
        return Constant(value=hint)
    if number <= 0:
        return Uniform(min=number * HINT_FACTOR, max=number / HINT_FACTOR if number else 1.0)
    high = number * HINT_FACTOR
    if number < 1:  # a share, such as a dropout rate, stays below 1
        high = min(high, 1 - (1 - number) / HINT_FACTOR)
    return LogUniformValues(min=number / HINT_FACTOR, max=high)


def parameter_text(value: Any) -> str:
    """Return a param as the text of a hyperparameter."""
    return value if isinstance(value, str) else repr(value)


def sweep_document(job: TuningJob) -> dict[str, Any]:
    """Return the sweep.yaml of a tuning job with one definition.

    Args:
        job: The tuning job. MaxParallelTrainingJobs, RandomSeed and the parents are options of a sweep's commands.

    Returns:
        The keys of sweep.yaml, without `program` and `command`. Values of choices are texts.

    Raises:
        ConfigError: The tuning job has a feature without a counterpart. The error names all of them.
    """
    problems = list(_without_counterpart(job))
    if problems:
        raise ConfigError([f"{job.name}: {text}" for text in problems])
    (definition,) = job.definitions
    config = definition.config
    metric = config.metric
    assert metric is not None
    document: dict[str, Any] = {"name": job.name, "method": config.method}
    document["metric"] = {"name": metric.name, "goal": metric.goal.value}
    if metric.target is not None:
        document["metric"]["target"] = metric.target
    document["parameters"] = {path[0]: _parameter(leaf) for path, leaf in config.space.leaves}
    if config.early_terminate is not None:
        document["early_terminate"] = {"type": config.early_terminate.type, **config.early_terminate.options}
    if job.max_jobs is not None:
        document["run_cap"] = job.max_jobs
    return document


def _without_counterpart(job: TuningJob) -> Iterator[str]:
    if len(job.definitions) > 1:
        names = ", ".join(item.name for item in job.definitions)
        yield f"TrainingJobDefinitions: a sweep has one training job; create one sweep for each of {names}"
    if job.max_runtime_s is not None:
        yield "ResourceLimits.MaxRuntimeInSeconds: a sweep has no such limit; use budget: {hours: ...} in job.yaml"
    if job.max_not_improving is not None:
        yield "BestObjectiveNotImproving: a sweep has no such criterion; use metric.target or run_cap"
    if job.ends_on_convergence and not job.is_autotuned:  # only a default of Autotune
        yield "ConvergenceDetected: a sweep has no such criterion; smsweep only reports a small expected gain"
    for definition in job.definitions:
        for path, leaf in definition.config.space.leaves:
            if isinstance(leaf, ReverseLogUniformValues):
                yield f"{path[0]}: W&B has no ReverseLogarithmic scale; use Linear, or search 1 - {path[0]}"


def _parameter(leaf: Distribution) -> dict[str, Any]:
    if isinstance(leaf, Constant):
        return {"value": leaf.value}
    if isinstance(leaf, Categorical):
        return {"values": list(leaf.values)}
    init = (item.name for item in fields(cast(Any, leaf)) if item.init)
    return {"distribution": leaf.kind, **{name: getattr(leaf, name) for name in init}}


def job_document(definition: Definition) -> dict[str, Any]:
    """Return the job.yaml of a definition. Fields without a key of job.yaml are below `request`."""
    rest = copy.deepcopy(dict(definition.request))
    rest["HyperParameters"].pop(OBJECTIVE, None)
    document: dict[str, Any] = {}
    for key, path in PLACES.items():
        parent = rest if len(path) == 1 else rest.get(path[0], {})
        if key not in OTHER_SHAPE and len(path) <= 2 and path[-1] in parent:
            document[key] = parent.pop(path[-1])
    left = {name: value for name, value in rest.items() if value not in ({}, [])}
    return {**document, **({"request": left} if left else {})}
