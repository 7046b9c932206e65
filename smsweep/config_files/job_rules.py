"""Rules between the keys of a job.yaml, and arguments of the SDK that job.yaml does not have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from smsweep.aws.request_rules import LONGEST_RUN_S, may_be_machine
from smsweep.config_files.document import Path, Problems
from smsweep.config_files.job_models import InputSection
from smsweep.config_files.job_request import local_path
from smsweep.config_files.yaml_reader import read_scalar
from smsweep.core.condition import parse_condition, parse_outcome_constraint
from smsweep.core.job import DEFAULT_MAX_RUN_S
from smsweep.core.line_regex import LineRegex
from smsweep.core.regex_syntax import RegexError, nested_quantifier
from smsweep.errors import ConfigError, SpaceError
from smsweep.space.expression import parse_expression

# Arguments that users of the SDK may try -> what to do instead.
UNSUPPORTED_KEYS = {
    "entry_point": "use `program` in sweep.yaml to name the script",
    "hyperparameters": "put fixed values into sweep.yaml: parameters: {epochs: {value: 3}}",
    "dependencies": "put the folders below source_dir",
    "git_config": "check out the repository and set source_dir to its folder",
    "container_entry_point": "use `command` in sweep.yaml, or entrypoint: image and the API's field under request",
    "container_arguments": "use `command` in sweep.yaml, or entrypoint: image and the API's field under request",
    "job_name": "smsweep names the jobs, so that it can find them again",
    "base_job_name": "smsweep names the jobs, so that it can find them again",
    "code_location": "smsweep uploads the source once per sweep, next to its other files",
    "model_uri": "name it as a channel: inputs: {model: s3://...}",
    "model_channel_name": "name it as a channel: inputs: {model: s3://...}",
    "container_log_level": "only the SDK's toolkit reads it; use an environment variable for the script",
    "model_dir": "it is a param: parameters: {model_dir: {value: ...}} in sweep.yaml",
    "training_recipe": "a recipe has its own program; use `program` in sweep.yaml to name a script",
    "rules": "put the API's fields for it under request: {DebugRuleConfigurations: [...]}",
    "debugger_hook_config": "put the API's fields for it under request: {DebugHookConfig: {...}}",
    "profiler_config": "put the API's fields for it under request: {ProfilerConfig: {...}}",
    "disable_profiler": "no profiler runs without request: {ProfilerConfig: {...}}",
    "tensorboard_output_config": "put the API's fields for it under request: {TensorBoardOutputConfig: {...}}",
    "instance_placement_config": "put the API's fields for it under request: {ResourceConfig: {...}}",
}

# Fields under `request:` that only smsweep sets -> why.
OWNED = {
    ("TrainingJobName",): "smsweep names the jobs, so that it can find them again",
    ("AlgorithmSpecification", "ContainerEntrypoint"): "smsweep starts the job itself",
    ("AlgorithmSpecification", "ContainerArguments"): "smsweep starts the job itself",
    ("ServerlessJobConfig",): "such a job runs a recipe of AWS, not a script",
}

# Keys that do nothing if the image runs its own program -> why.
NOT_OF_IMAGES = {
    "distribution": "smsweep starts no script that it could distribute; remove it",
    "in_place": "the job has no source; remove it",
    "secrets": "smsweep's program in a job fetches them, and this job has none; let the image fetch them",
    "secrets_env": "the job has no source; remove it",
    "source_dir": "the job has no source; remove it",
}

TOO_OLD = ("py2", "py27", "py35", "py36")  # versions of Python that the runtime does not support

ON_FILE_SYSTEM = {"file_system_id", "file_system_type", "directory_path", "file_system_access_mode"}
ANYWHERE = {"content_type", "input_mode"}
IN_S3 = InputSection.model_fields.keys() - ON_FILE_SYSTEM - ANYWHERE | {"s3_data"}
OWN_CHANNEL = "is the name of smsweep's own channel; rename yours"

# Variables with such names hold a secret, whatever the value.
_SECRET_NAME = re.compile(
    r"(API_?KEY|SECRET|SECRET_KEY|SECRET_ACCESS_KEY|PASSWORD|PASSWD|TOKEN|PRIVATE_KEY)\Z", re.I
)
_MLFLOW_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:mlflow-(tracking-server|app)/[\w-]+")
_SECRET_HEADER = re.compile(r"authorization|token|key|secret|password|cookie", re.I)
_RESERVED_TAGS = ("aws:", "smsweep:")


def check_rules(data: Mapping[str, Any], folder: FilePath, problems: Problems) -> None:
    """Add the errors of keys that do not fit together. data: the document, whose values may have any type."""
    for key, why in UNSUPPORTED_KEYS.items():
        if key in data:
            problems.add((key,), f"is not allowed in job.yaml; {why}")
    runs_image = data.get("entrypoint") == "image"
    _check_request(data.get("request"), problems, runs_image=runs_image)
    _check_image(data, problems)
    if runs_image:
        _check_entrypoint(data, problems)
    _check_machines(data, problems)
    _check_times(data, problems)
    _check_pairs(data, problems)
    _check_inputs(data.get("inputs"), folder, problems)
    _check_names(data, problems)
    _check_metric_definitions(data, problems)
    _check_conditions(data, "stop_if", (), parse_condition, problems)
    if isinstance(search := data.get("search"), dict):
        _check_conditions(search, "outcome_constraints", ("search",), parse_outcome_constraint, problems)
    _check_constraints(data.get("search"), problems)
    _check_notify(data.get("notify"), problems)
    _check_tracking(data.get("tracking"), problems)


def _check_image(data: Mapping[str, Any], problems: Problems) -> None:
    framework, image = data.get("framework"), data.get("image_uri")
    if isinstance(image, str) and may_be_machine(image):
        problems.add(("image_uri",), f"{image} is an instance type, not an image; use instance_type")
    if "image_uri" in data and "framework" in data:
        problems.add(("framework",), "cannot be combined with image_uri; keep one of the two")
    if data.get("py_version") in TOO_OLD:
        problems.add(("py_version",), "a job needs Python 3.8 or newer; name a later framework_version")
    if framework is None:
        for key in (
            "framework_version",
            "py_version",
            "transformers_version",
            "pytorch_version",
            "tensorflow_version",
        ):
            if key in data:
                problems.add((key,), "needs framework, such as framework: pytorch")
    elif framework == "huggingface":
        for key in ("transformers_version", "py_version"):
            if key not in data:
                problems.add((key,), "missing; framework huggingface needs it")
        if ("pytorch_version" in data) == ("tensorflow_version" in data):
            problems.add(("framework",), "huggingface needs one of pytorch_version and tensorflow_version")
    else:
        needed = (
            ("framework_version", "py_version")
            if framework in ("pytorch", "tensorflow")
            else ("framework_version",)
        )
        for key in needed:
            if key not in data:
                problems.add((key,), f"missing; framework {framework} needs it")


def _check_entrypoint(data: Mapping[str, Any], problems: Problems) -> None:
    """Add the errors of a job whose image runs its own program."""
    request = data.get("request")
    algorithm = request.get("AlgorithmSpecification") if isinstance(request, dict) else None
    named = algorithm if isinstance(algorithm, dict) else {}
    framework = data.get("framework")
    if framework not in (None, "xgboost"):
        problems.add(
            ("entrypoint",), f"the images of {framework} run a script; remove entrypoint, and name a program"
        )
    elif not (framework or "image_uri" in data or named.keys() & {"TrainingImage", "AlgorithmName"}):
        problems.add(("entrypoint",), "needs an image; add image_uri")
    for key, why in NOT_OF_IMAGES.items():
        if data.get(key) not in (None, False):
            problems.add((key,), f"has no effect with entrypoint: image; {why}")


def _check_machines(data: Mapping[str, Any], problems: Problems) -> None:
    machine = data.get("instance_type")
    if isinstance(machine, str) and (problem := instance_type_problem(machine)):
        problems.add(("instance_type",), problem)
    if "instance_groups" in data:
        for key in ("instance_type", "instance_count"):
            if key in data:
                problems.add((key,), "cannot be combined with instance_groups, which set it for each group")
        if "keep_alive_period_in_seconds" in data:
            problems.add(("keep_alive_period_in_seconds",), "has no effect with instance_groups; remove it")
    elif "instance_type" not in data:
        for key in ("instance_count", "keep_alive_period_in_seconds"):
            if key in data:
                problems.add((key,), "needs instance_type, such as instance_type: ml.m5.xlarge")


def instance_type_problem(machine: str) -> str:
    """Return what is wrong with the name of an instance type; "" if it can be valid."""
    if machine in ("local", "local_gpu"):
        return "is set when the agent starts, with --backend docker; remove the key"
    return (
        "" if may_be_machine(machine) else f"expected a type such as ml.m5.xlarge, got {machine!r}{_ml(machine)}"
    )


def _ml(machine: str) -> str:
    return f"; did you mean ml.{machine}?" if may_be_machine(f"ml.{machine}") else ""


def _check_times(data: Mapping[str, Any], problems: Problems) -> None:
    is_spot = data.get("use_spot_instances") is True
    max_run, max_wait = data.get("max_run", DEFAULT_MAX_RUN_S), data.get("max_wait")
    if is_spot and max_wait is None:
        problems.add(
            ("max_wait",), "missing; set the longest time to wait for a spot machine and run together, in seconds"
        )
    if max_wait is not None and not is_spot:
        problems.add(("max_wait",), "needs spot machines; add use_spot_instances: true, or remove it")
    if isinstance(max_run, int) and isinstance(max_wait, int) and max_wait < max_run:
        problems.add(
            ("max_wait",),
            f"{max_wait} is less than max_run {max_run}; max_wait includes max_run, so raise max_wait",
        )
    if isinstance(max_run, int) and max_run > LONGEST_RUN_S:
        problems.add(
            ("max_run",), f"{max_run} seconds are more than the API's limit of 28 days ({LONGEST_RUN_S:,})"
        )
    if is_spot and data.get("keep_alive_period_in_seconds"):
        problems.add(("keep_alive_period_in_seconds",), "has no effect on spot machines; remove one of the two")
    if is_spot and not data.keys() & {"checkpoint_local_path", "checkpoint_s3_uri"}:
        problems.warn(
            ("use_spot_instances",),
            "an interrupted trial restarts from the beginning unless it saves checkpoints to "
            "/opt/ml/checkpoints; if it does, add checkpoint_local_path: /opt/ml/checkpoints",
        )


def _check_pairs(data: Mapping[str, Any], problems: Problems) -> None:
    source_dir = data.get("source_dir")
    if data.get("in_place") is True and data.get("secrets_env") is True:
        problems.add(("secrets_env",), "has no effect with in_place; use `secrets:`, or remove one of the two")
    if isinstance(source_dir, str) and "://" in source_dir:
        problems.add(("source_dir",), f"expected a folder, got {source_dir!r}; smsweep uploads the source itself")
    search, places = data.get("search"), data.get("places")
    places = [place for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    has_price = any("price_per_hour" in place for place in (data, *places))
    if isinstance(search, dict) and search.get("cost") == "dollars" and not has_price:
        problems.add(("search", "cost"), "dollars needs price_per_hour: a number, or aws for AWS's own list")
    confirm = data.get("confirm")
    if confirm is not None and data.get("repeats") not in (None, 1):
        problems.add(
            ("confirm",), "cannot be combined with repeats, which repeat every trial; keep one of the two"
        )
    if isinstance(confirm, dict) and {"repeats", "trials"} <= confirm.keys():
        problems.add(("confirm", "repeats"), "cannot be combined with trials; keep one of the two")
    for key, other in (("subnets", "security_group_ids"), ("security_group_ids", "subnets")):
        if key in data and other not in data:
            problems.add((key,), f"needs {other}; add it")


def _check_inputs(inputs: Any, folder: FilePath, problems: Problems) -> None:
    for channel, value in inputs.items() if isinstance(inputs, dict) else [("", inputs)]:
        path = ("inputs", channel) if channel else ("inputs",)
        uri = value.get("s3_uri", value.get("s3_data")) if isinstance(value, dict) else value
        if channel == "smsweep":
            problems.add(path, OWN_CHANNEL)
        if isinstance(value, dict):
            _check_place(path, value, problems)
        if not isinstance(uri, str):
            continue
        if not uri.startswith(("s3://", "file://")):
            problems.add(
                path, f"expected s3://... or file://..., got {uri!r}; a folder on this machine is file://{uri}"
            )
        elif uri.startswith("file://") and not local_path(uri, folder).exists():
            problems.warn(path, f"{local_path(uri, folder)} does not exist on this machine")


def _check_place(path: Path, channel: Mapping[str, Any], problems: Problems) -> None:
    if "file_system_id" in channel:
        for key in ("file_system_type", "directory_path"):
            if key not in channel:
                problems.add((*path, key), "missing; file_system_id needs it")
        for key in sorted(channel.keys() & IN_S3):
            problems.add(
                (*path, key), "is for data in S3, but the channel has file_system_id; remove one of the two"
            )
    elif not {"s3_uri", "s3_data"} & channel.keys():
        problems.add((*path, "s3_uri"), "missing; give the location of the data: s3://... or file://...")


def _check_paths(path: Path, value: Any, problems: Problems) -> None:
    """Add an error for relative paths in raw fields, because they have no defined base folder."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _check_paths((*path, key), item, problems)
    is_relative = isinstance(value, str) and value.startswith("file://") and not value.startswith("file:///")
    if is_relative and path[-1] in ("S3Uri", "S3OutputPath"):
        keys = "inputs, output_path and checkpoint_s3_uri may be relative to this file"
        problems.add(path, f"expected s3://... or file:///..., got {value!r}; {keys}")


def _check_request(request: Any, problems: Problems, *, runs_image: bool) -> None:
    """Add the errors of raw fields that smsweep sets itself. runs_image: the user chooses the image's program."""
    _check_paths(("request",), request, problems)
    for (field, *rest), why in OWNED.items():
        if runs_image and rest:
            continue
        section = request.get(field) if isinstance(request, dict) else None
        if section is not None and (not rest or (isinstance(section, dict) and rest[0] in section)):
            problems.add(("request", field, *rest), f"is not allowed in job.yaml; {why}")
    channels = request.get("InputDataConfig") if isinstance(request, dict) else None
    for index, channel in enumerate(channels if isinstance(channels, list) else ()):
        if isinstance(channel, dict) and channel.get("ChannelName") == "smsweep":
            problems.add(("request", "InputDataConfig", index, "ChannelName"), OWN_CHANNEL)


def _check_names(data: Mapping[str, Any], problems: Problems) -> None:
    secrets, tags, request = (data.get(key) for key in ("secrets", "tags", "request"))
    raw = request if isinstance(request, dict) else {}
    _check_environment(("environment",), data.get("environment"), secrets, problems)
    _check_isolation(data, problems)
    if isinstance(request, dict):
        _check_environment(("request", "Environment"), request.get("Environment"), secrets, problems)
    for name in secrets if isinstance(secrets, dict) else ():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            problems.add(("secrets", name), "cannot name an environment variable; use letters, digits and _")
    for path, name in [*_tag_names(("tags",), tags), *_tag_names(("request", "Tags"), raw.get("Tags"))]:
        if name.startswith(_RESERVED_TAGS):
            problems.add(path, f"tags that begin with {name.partition(':')[0]}: are reserved; choose another name")


def _tag_names(path: Path, tags: Any) -> Iterator[tuple[Path, str]]:
    """Yield path and name of each tag. Values of a wrong type are reported by the model."""
    if isinstance(tags, dict):
        yield from (((*path, name), name) for name in tags)
    for index, tag in enumerate(tags if isinstance(tags, list) else ()):
        if isinstance(tag, dict) and isinstance(tag.get("Key"), str):
            yield (*path, index, "Key"), tag["Key"]


def _check_isolation(data: Mapping[str, Any], problems: Problems) -> None:
    secrets, request = data.get("secrets"), data.get("request")
    raw = request.get("EnableNetworkIsolation") if isinstance(request, dict) else None
    if isinstance(secrets, dict) and True in (raw, data.get("enable_network_isolation")):
        for name, reference in secrets.items():
            if str(reference).startswith("arn:"):
                problems.add(
                    ("secrets", name), "cannot be fetched by a job with network isolation; remove one of the two"
                )


def _check_environment(path: Path, environment: Any, secrets: Any, problems: Problems) -> None:
    for name, value in environment.items() if isinstance(environment, dict) else ():
        if isinstance(secrets, dict) and name in secrets and value is not None:
            problems.add((*path, name), "is also under secrets; keep one of the two")
        elif _SECRET_NAME.search(name) and isinstance(value, str) and isinstance(read_scalar(value[:50]), str):
            problems.add(
                (*path, name),
                "has the name of a secret, and all users who may describe the job can read it; move it to secrets",
            )


def _check_metric_definitions(data: Mapping[str, Any], problems: Problems) -> None:
    _check_regexes(("metric_definitions",), data.get("metric_definitions"), problems)
    request = data.get("request")
    algorithm = request.get("AlgorithmSpecification") if isinstance(request, dict) else None
    if isinstance(algorithm, dict):  # the metric definitions of an estimator
        path = ("request", "AlgorithmSpecification", "MetricDefinitions")
        _check_regexes(path, algorithm.get("MetricDefinitions"), problems)


def _check_regexes(place: Path, definitions: Any, problems: Problems) -> None:
    for index, definition in enumerate(definitions if isinstance(definitions, list) else ()):
        regex = definition.get("Regex") if isinstance(definition, dict) else None
        if not isinstance(regex, str):
            continue
        path = (*place, index, "Regex")
        try:
            LineRegex(regex)
        except RegexError as err:
            problems.add(path, f"{regex!r} {err}")
            continue
        if nested := nested_quantifier(regex):
            problems.warn(
                path,
                f"{nested!r} repeats a group that contains a repetition; remove one of the two: smsweep needs "
                "linear time for it, but other engines may need exponential time, and SageMaker uses the same "
                "regex for the graphs of its console",
            )


def _check_conditions(
    section: Mapping[str, Any], key: str, path: Path, parse: Callable[[str], object], problems: Problems
) -> None:
    conditions = section.get(key)
    for index, text in enumerate(
        [conditions] if isinstance(conditions, str) else conditions if isinstance(conditions, list) else ()
    ):
        try:
            if isinstance(text, str):
                parse(text)
        except ConfigError as err:
            problems.add((*path, key) if isinstance(conditions, str) else (*path, key, index), str(err))


def _check_tracking(tracking: Any, problems: Problems) -> None:
    uri = tracking.get("mlflow") if isinstance(tracking, dict) else None
    if not isinstance(uri, str):
        return
    path = ("tracking", "mlflow")
    if not (_MLFLOW_ARN.fullmatch(uri) or uri.startswith(("http://", "https://", "sqlite:////"))):
        problems.add(
            path,
            "expected http://..., https://..., sqlite:////PATH, or the ARN of an MLflow server on SageMaker",
        )
    elif "@" in uri.partition("://")[2].partition("/")[0]:  # the value is not shown, because it has a password
        problems.add(
            path,
            "has a user or a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        )
    elif "?" in uri or "#" in uri:  # the same for a token
        problems.add(
            path, "has a query or a fragment; name the server only, and set MLFLOW_TRACKING_TOKEN for a token"
        )


def _check_constraints(search: Any, problems: Problems) -> None:
    """Add the errors of constraints that are not valid expressions. The parameters are checked with the sweep."""
    constraints = search.get("constraints") if isinstance(search, dict) else None
    for index, text in enumerate([constraints] if isinstance(constraints, str) else constraints or ()):
        try:
            if isinstance(text, str):
                parse_expression(text)
        except SpaceError as err:
            path = ("search", "constraints")
            problems.add(path if isinstance(constraints, str) else (*path, index), str(err))


def _check_notify(hooks: Any, problems: Problems) -> None:
    listed = hooks if isinstance(hooks, list) else [hooks]
    for index, hook in enumerate(listed):
        path = ("notify", index) if isinstance(hooks, list) else ("notify",)
        if not isinstance(hook, dict):
            continue
        if ("url" in hook) == ("command" in hook):
            problems.add(path, "needs exactly one of url and command")
        if "headers" in hook and "command" in hook:
            problems.add((*path, "headers"), "works only with url; remove it")
        for name, value in hook["headers"].items() if isinstance(hook.get("headers"), dict) else ():
            if str(value).lower().startswith("env:aws_"):
                problems.add(
                    (*path, "headers", name),
                    f"{value} is a variable of AWS, which smsweep does not send to webhooks; use another variable",
                )
            if _SECRET_HEADER.search(str(name)) and not str(value).startswith(("env:", "arn:")):
                problems.add(
                    (*path, "headers", name), "has the name of a secret; give a reference to it, such as env:NAME"
                )
