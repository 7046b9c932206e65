"""The keys of a job.yaml: the arguments of the SageMaker estimator, and smsweep's own."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from smsweep.core.job import LOCAL, parse_place
from smsweep.core.resources import is_share, parse_memory
from smsweep.errors import UsageError
from smsweep.util.sections import Count, Positive, Section, Text, Whole, expected, is_number

InputMode = Literal["File", "Pipe", "FastFile"]
HookEvent = Literal["end", "failure"]

# Valid values in `secrets`: a reference, never the secret itself.
SECRET_REFERENCES = (
    re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@!-]+(#[\w.-]+)?\Z"),
    re.compile(r"arn:aws[a-z-]*:ssm:[a-z0-9-]+:\d{12}:parameter/[\w/.-]+\Z"),
    re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z"),
)
_REFERENCE_FORMS = (
    "an ARN of Secrets Manager (with #key for one key of a JSON secret), an ARN of an SSM parameter, "
    "or env:NAME for a variable of the agent's own environment"
)


def _secret_reference(value: Any) -> Any:
    if not isinstance(value, str) or not any(form.match(value) for form in SECRET_REFERENCES):
        # the value is not shown: it may be the secret itself
        raise PydanticCustomError(
            "hidden", "not a reference to a secret; give {forms}", {"forms": _REFERENCE_FORMS}
        )
    return value


def _environment_value(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise expected("text")
    return value


def _tag_mapping(value: Any) -> Any:
    """Convert the API's list of {Key, Value} to a mapping."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(tag, dict) and tag.keys() == {"Key", "Value"} for tag in value):
        raise expected("a mapping, or a list of {Key: ..., Value: ...}")
    if len({str(tag["Key"]) for tag in value}) < len(value):
        raise expected("each Key once")
    return {str(tag["Key"]): tag["Value"] for tag in value}


def _channel_mapping(value: Any) -> Any:
    return {"training": value} if isinstance(value, str) else value  # the SDK's name for the only channel


def _price(value: Any) -> Any:
    """Check a price per hour: a number, or `aws` for AWS's price list."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value != "aws" and not (is_number and 0 < value < float("inf")):
        raise expected("dollars above 0 for an hour of one instance, or aws to ask AWS's price list")
    return value


def _hook_url(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return value
    if not isinstance(value, str) or not any(form.match(value) for form in SECRET_REFERENCES):
        # the value is not shown: with a webhook's address anyone can write to it
        raise PydanticCustomError(
            "hidden", "not a webhook; give http://..., https://..., {forms}", {"forms": _REFERENCE_FORMS}
        )
    return value


def _notify_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _condition_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


EnvironmentValue = Annotated[str, BeforeValidator(_environment_value)]
PricePerHour = Annotated[float | Literal["aws"], BeforeValidator(_price)]
SecretReference = Annotated[str, BeforeValidator(_secret_reference)]


class InputSection(Section):
    """One data channel, in S3 or on a file system. A plain string is its s3_uri."""

    s3_uri: Text | None = None
    file_system_id: Text | None = None
    file_system_type: Literal["EFS", "FSxLustre"] | None = None
    directory_path: Text | None = None
    file_system_access_mode: Literal["ro", "rw"] = "ro"
    content_type: Text | None = None
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    input_mode: InputMode | None = None
    compression: Literal["None", "Gzip"] | None = None
    record_wrapping: Literal["None", "RecordIO"] | None = None
    s3_data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"] = "S3Prefix"
    attribute_names: list[Text] | None = None
    instance_groups: list[Text] | None = None
    shuffle_seed: Whole | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_uri(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"s3_uri": value}
        if (
            isinstance(value, dict) and "s3_data" in value and "s3_uri" not in value
        ):  # TrainingInput's name of the key
            return {"s3_uri" if key == "s3_data" else key: item for key, item in value.items()}
        return value


class MetricDefinitionSection(Section):
    """A metric in printed lines, in the form of the SDK or of the API."""

    name: Text = Field(alias="Name", description="the metric's name")
    regex: Text = Field(alias="Regex", description="a regular expression with one group around the number")


class InstanceGroupSection(Section):
    """One group of a cluster with several instance types."""

    instance_group_name: Text = Field(description="the group's name")
    instance_type: Text = Field(description="such as ml.m5.xlarge")
    instance_count: Count = Field(description="how many machines")


class LaunchSection(Section):
    """A kind of distributed launch, enabled or disabled."""

    enabled: bool = False
    custom_mpi_options: Text | None = Field(None, description="further options for mpirun, in one string")


class MpiSection(LaunchSection):
    """Processes that mpirun starts."""

    processes_per_host: Count | None = Field(None, description="how many processes per host")


class DistributionSection(Section):
    """How the script is started on several processes or hosts, as in the SDK's frameworks."""

    torch_distributed: LaunchSection | None = None
    pytorchddp: LaunchSection | None = None
    mpi: MpiSection | None = None
    smdistributed: dict[str, Any] | None = None
    parameter_server: LaunchSection | None = None
    multi_worker_mirrored_strategy: LaunchSection | None = None


def _gpus(value: Any) -> Any:
    if not is_share(value):
        raise expected("a whole number of GPUs, or a fraction below 1 such as 0.5")
    return float(value)


def _memory(value: Any) -> Any:
    n_bytes = parse_memory(value)
    if n_bytes is None:
        raise expected("GiB such as 16, or a size such as 16g or 512m")
    return n_bytes


class ResourcesSection(Section):
    """What one trial needs of this machine, with a backend that runs jobs on this machine."""

    gpus: Annotated[float, BeforeValidator(_gpus), WithJsonSchema({"type": "number", "minimum": 0})] | None = (
        Field(None, description="GPUs for the trial alone, or a fraction below 1 of a GPU that trials share")
    )
    cpus: Count | None = Field(None, description="CPU cores for the trial alone")
    memory: Annotated[int, BeforeValidator(_memory), WithJsonSchema({"type": ["number", "string"]})] | None = (
        Field(None, description="GiB, or a size such as 512m; the limit of a container")
    )


class BudgetSection(Section):
    """Hard limits of a sweep."""

    usd: Positive | None = Field(None, description="dollars")
    hours: Positive | None = Field(None, description="hours of training, over all trials")
    trials: Count | None = Field(None, description="trials")


class ConfirmSection(Section):
    """Repeats of the best trials with new seeds, when the search is over."""

    top: Count = Field(5, description="number of best trials that are repeated")
    repeats: Count = Field(3, description="repeats of each of them on average, and at most top * repeats in all")
    trials: Count | None = Field(None, description="maximum number of repeats in all, instead of repeats")


def _allowed(value: Any) -> Any:
    """Check the values under which a parameter exists: a value, a list of values, or a range of numbers."""
    if isinstance(value, dict):
        bounds = list(value.values())
        is_range = bounds and value.keys() <= {"min", "max"} and all(map(is_number, bounds))
        if not is_range:
            raise expected("a value, a list of values, or a range of numbers with the keys min, max or both")
        if len(bounds) == 2 and value["min"] > value["max"]:
            raise expected("a range whose min is at most its max")
    elif value is None or value == []:
        raise expected("a value, or a list of values; for null write [null]")
    return value


AllowedValues = Annotated[
    Any,
    BeforeValidator(_allowed),
    WithJsonSchema({"not": {"type": "null"}, "description": "a value, a list of values, or a range {min, max}"}),
]


class ConditionSection(Section):
    """A parameter that exists only if other parameters have certain values."""

    when: Annotated[dict[str, AllowedValues], Field(min_length=1)] = Field(
        description="name other parameters, each with a value, a list of values, or a range {min, max}"
    )


def _confidence(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise expected("a probability above 0 and below 1, such as 0.8")
    return float(value)


class BeliefSection(Section):
    """Where the optimum of a parameter is expected."""

    around: Any = Field(description="a value of the parameter")
    confidence: Annotated[float, BeforeValidator(_confidence)] = Field(
        description="the probability that the optimum is near this value"
    )


class SearchSection(Section):
    """Settings of the search that sweep.yaml cannot express."""

    cost: Literal["time", "dollars"] | None = Field(
        None, description="method bayes: find good params at a low total cost, in instance time or in dollars"
    )
    distinct: bool | None = Field(
        None, description="method random: true to try each assignment of a finite space once before it repeats any"
    )
    conditions: dict[str, ConditionSection] | None = Field(
        None, description="parameters, or groups of them, that exist only if other parameters have certain values"
    )
    constraints: Annotated[list[Text], BeforeValidator(_condition_list)] | None = Field(
        None, description="expressions that all params meet, such as layers * width <= 4096"
    )
    start_points: list[dict[str, Any]] | None = Field(
        None, description="params of the first trials; the search method chooses missing values"
    )
    beliefs: dict[str, BeliefSection] | None = Field(
        None, description="methods random and bayes: where the optimum of a parameter is expected"
    )
    outcome_constraints: Annotated[list[Text], BeforeValidator(_condition_list)] | None = Field(
        None, description="what the metrics of a usable trial meet, such as latency <= 50"
    )


class NotifySection(Section):
    """A webhook or command to notify when the sweep ends or its first trial fails. A plain string is its url."""

    url: Annotated[Text, BeforeValidator(_hook_url)] | None = None
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    events: Annotated[list[HookEvent], BeforeValidator(_condition_list), Field(min_length=1)] | None = None
    headers: dict[str, Text] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


class TrackingSection(Section):
    """Servers to which agents write the trials while the sweep runs."""

    mlflow: Text | None = Field(
        None, description="http://..., https://..., sqlite:///..., or the ARN of an MLflow server on SageMaker"
    )


class RetriesSection(Section):
    """How often a trial is retried, by the class of its failure."""

    crashed: Whole = Field(1, description="its job was lost and its result is unknown")
    capacity: Whole = Field(10, description="no machine was available")
    internal: Whole = Field(2, description="an internal error of SageMaker")
    user: Whole = Field(0, description="the script failed")
    oom: Whole = Field(0, description="memory ran out")
    disk: Whole = Field(0, description="the disk was full")
    timeout: Whole = Field(0, description="it reached max_run or max_wait")
    external: Whole = Field(0, description="its job was stopped from outside smsweep")


class AgentSection(Section):
    """How the agent of `--detach` runs as a training job."""

    image_uri: Text | None = Field(
        None, description="an image with Python 3.10 or newer (default: an image of AWS)"
    )
    role: Text | None = Field(None, description="the agent's role; `smsweep iam --of agent` prints its policy")
    instance_type: Text | None = Field(None, description="default: ml.t3.medium")
    max_run: Count | None = Field(None, description="seconds (default: five days); then another agent continues")
    use_spot_instances: bool | None = None
    price_per_hour: Positive | None = Field(None, description="dollars per hour of its machine")
    store: SecretReference | None = Field(None, description="a reference to the URL of a PostgreSQL store")


def _place(value: Any) -> Any:
    """Convert the short form of a place, as `--on` accepts it, and the name `local` of the backend process."""
    if isinstance(value, dict) and value.get("backend") == LOCAL:
        return {"name": LOCAL, **value, "backend": "process"}
    if not isinstance(value, str):
        return value
    try:
        spec = parse_place(value)
    except UsageError as err:
        raise PydanticCustomError("problem", "{text}", {"text": str(err), "key": ""}) from err
    slots = {} if spec.slots is None else {"slots": spec.slots}
    return {"backend": spec.backend, "name": spec.name, **slots, **spec.overlay}


class PlaceSection(Section):
    """A place where trials run. Its further keys replace those of job.yaml at this place."""

    model_config = ConfigDict(extra="allow")

    backend: Text = Field(description="such as process, docker, slurm or sagemaker")
    name: Text | None = None
    slots: Count | None = None
    give_up_after: Positive | None = None
    region: Annotated[list[Text], BeforeValidator(_condition_list), Field(min_length=1)] | None = None
    instance_type: Annotated[list[Text], BeforeValidator(_condition_list), Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _place(value)


class JobSection(Section):
    """How the job of a trial runs."""

    image_uri: Text | None = None
    entrypoint: Literal["image"] | None = None
    framework: Literal["huggingface", "pytorch", "sklearn", "tensorflow", "xgboost"] | None = None
    framework_version: Text | None = None
    py_version: Text | None = None
    transformers_version: Text | None = None
    pytorch_version: Text | None = None
    tensorflow_version: Text | None = None
    role: Text | None = None
    instance_type: Text | None = None
    instance_count: Count | None = None
    instance_groups: Annotated[list[InstanceGroupSection], Field(min_length=1)] | None = None
    volume_size: Count | None = None
    volume_kms_key: Text | None = None
    keep_alive_period_in_seconds: Whole | None = None
    training_plan: Text | None = None
    max_run: Count | None = None
    max_wait: Count | None = None
    use_spot_instances: bool | None = None
    max_retry_attempts: Count | None = None
    checkpoint_s3_uri: Text | None = None
    checkpoint_local_path: Text | None = None
    inputs: Annotated[dict[str, InputSection], BeforeValidator(_channel_mapping)] | None = None
    input_mode: InputMode | None = None
    output_path: Text | None = None
    output_kms_key: Text | None = None
    disable_output_compression: bool | None = None
    source_dir: Text | None = None
    in_place: bool | None = None
    distribution: DistributionSection | None = None
    environment: dict[str, EnvironmentValue] | None = None
    tags: Annotated[dict[str, EnvironmentValue], BeforeValidator(_tag_mapping)] | None = None
    metric_definitions: list[MetricDefinitionSection] | None = None
    subnets: list[Text] | None = None
    security_group_ids: list[Text] | None = None
    enable_network_isolation: bool | None = None
    encrypt_inter_container_traffic: bool | None = None
    enable_sagemaker_metrics: bool | None = None
    enable_remote_debug: bool | None = None
    enable_session_tag_chaining: bool | None = None
    enable_infra_check: bool | None = None
    training_repository_access_mode: Literal["Platform", "Vpc"] | None = None
    training_repository_credentials_provider_arn: Text | None = None
    secrets: dict[str, SecretReference] | None = None
    secrets_env: bool | None = None
    repeats: Count | None = None
    confirm: ConfirmSection | None = None
    search: SearchSection | None = None
    stop_if: Annotated[list[Text], BeforeValidator(_condition_list)] | None = None
    price_per_hour: PricePerHour | None = None
    resources_per_trial: ResourcesSection | None = None
    budget: BudgetSection | None = None
    retries: RetriesSection | None = None
    tracking: TrackingSection | None = None
    notify: Annotated[list[NotifySection], BeforeValidator(_notify_list)] | None = None
    places: Annotated[list[PlaceSection], Field(min_length=1)] | None = None
    sbatch: dict[str, EnvironmentValue] | None = None
    agent: AgentSection | None = None
    request: dict[str, Any] | None = None
