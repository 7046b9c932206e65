"""Renders the CreateTrainingJob request of a trial. The request is the same for every backend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.aws.image_uris import algorithm_of_aws
from smsweep.core.confirm import is_repeat
from smsweep.core.job import (
    DEFAULT_MAX_RUN_S,
    MAX_HYPERPARAMETER_KEY,
    MAX_HYPERPARAMETER_VALUE,
    MAX_HYPERPARAMETERS,
    RUNTIME_CHANNEL,
    RUNTIME_ZIP,
    TAG_ATTEMPT,
    TAG_SWEEP,
    TAG_TRIAL,
    JobTemplate,
    Site,
    TrainingJobRequest,
    job_name,
)
from smsweep.core.repeats import repeat_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Params, Trial, flat_params
from smsweep.errors import JobRejected
from smsweep.runtime.job.secrets import PREFIX as SECRET_PREFIX
from smsweep.runtime.job.trial_document import KEY as TRIAL_KEY
from smsweep.runtime.job.trial_document import VERSION as TRIAL_VERSION
from smsweep.space.distribution import MISSING, Distribution
from smsweep.space.space import SearchSpace

REPEAT_VARIABLE = "SMSWEEP_REPEAT"  # which repetition of its assignment a script runs, for example as its seed
CONFIRMS_VARIABLE = "SMSWEEP_CONFIRMS"  # number of the trial that a script repeats; for `smsweep recover`


def training_job(template: JobTemplate, sweep: Sweep, trial: Trial, site: Site) -> TrainingJobRequest:
    """Return the request for the current attempt of a trial.

    Args:
        template: The request without the fields of a trial.
        sweep: The sweep of the trial.
        trial: The trial.
        site: The locations of the sweep's files.

    Returns:
        The keyword arguments of boto3's `create_training_job`.

    Raises:
        JobRejected: If the params exceed a limit of the SageMaker API.
    """
    request = dict(template.request)
    request["TrainingJobName"] = job_name(sweep.id, trial.number, trial.attempt)
    request["AlgorithmSpecification"] = _algorithm(template)
    if template.runs_image:
        request["HyperParameters"] = _plain_hyperparameters(template, trial)
    else:
        request["HyperParameters"] = _hyperparameters(template, sweep, trial)
        request["InputDataConfig"] = [
            _assets_channel(site, request["AlgorithmSpecification"]["TrainingInputMode"]),
            *request.get("InputDataConfig", ()),
        ]
    request["OutputDataConfig"] = {"S3OutputPath": site.output_uri, **request.get("OutputDataConfig", {})}
    request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUN_S})
    if _has_checkpoints(template, sweep, site):
        request["CheckpointConfig"] = _checkpoints(template, sweep, trial, site)
    if template.secrets:
        references = {f"{SECRET_PREFIX}{name}": reference for name, reference in template.secrets.items()}
        request["Environment"] = {**request.get("Environment", {}), **references}
    request["Tags"] = [*request.get("Tags", ()), *_tags(sweep, trial)]
    if template.repeats > 1 or template.confirm is not None or is_repeat(trial):
        repeat = str(repeat_of(trial, template.repeats))
        request["Environment"] = {**request.get("Environment", {}), REPEAT_VARIABLE: repeat}
    if trial.confirms is not None:
        request["Environment"] = {**request["Environment"], CONFIRMS_VARIABLE: str(trial.confirms)}
    return request


def _algorithm(template: JobTemplate) -> dict[str, Any]:
    algorithm = dict(template.request.get("AlgorithmSpecification", {}))
    algorithm.setdefault("TrainingInputMode", "File")
    if not template.runs_image:
        algorithm.setdefault(
            "ContainerEntrypoint", ["python3", f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{RUNTIME_ZIP}"]
        )
    if template.runs_image and algorithm_of_aws(algorithm.get("TrainingImage", "")):
        algorithm.pop("MetricDefinitions", None)  # SageMaker rejects others than the algorithm's own
    elif template.metric_definitions:
        algorithm["MetricDefinitions"] = [
            {"Name": name, "Regex": regex} for name, regex in template.metric_definitions
        ]
    return algorithm


def _assets_channel(site: Site, input_mode: str) -> dict[str, Any]:
    # The runtime needs files, whatever the input mode of the job. Leave the key out if the job has the same mode.
    mode = {} if input_mode == "File" else {"InputMode": "File"}
    return {
        "ChannelName": RUNTIME_CHANNEL,
        **mode,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": site.assets_uri + "/",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def _has_checkpoints(template: JobTemplate, sweep: Sweep, site: Site) -> bool:
    """Return True if job.yaml sets a checkpoint location or uses spot capacity, and always on this machine.

    In S3, checkpoints need permissions of the job's role, and requests. Trials that are promoted need checkpoints.
    """
    if sweep.config.early_terminate is not None and sweep.config.early_terminate.promotes:
        return True
    fields = template.request
    is_set = "CheckpointConfig" in fields or bool(fields.get("EnableManagedSpotTraining"))
    is_local = not site.checkpoint_uri.startswith("s3://")
    return is_set or (is_local and not template.runs_image)  # an image may not expect the folder


def _checkpoints(template: JobTemplate, sweep: Sweep, trial: Trial, site: Site) -> dict[str, Any]:
    # A shared prefix would mix the checkpoints of trials and restore another trial's.
    checkpoints = dict(template.request.get("CheckpointConfig", {}))
    base = str(checkpoints.get("S3Uri", site.checkpoint_uri)).rstrip("/")
    checkpoints["S3Uri"] = f"{base}/{sweep.id}/{trial.number}"
    checkpoints.setdefault("LocalPath", "/opt/ml/checkpoints")
    return checkpoints


def _tags(sweep: Sweep, trial: Trial) -> list[dict[str, str]]:
    pairs = ((TAG_SWEEP, sweep.id), (TAG_TRIAL, str(trial.number)), (TAG_ATTEMPT, str(trial.attempt)))
    return [{"Key": key, "Value": value} for key, value in pairs]


def _hyperparameters(template: JobTemplate, sweep: Sweep, trial: Trial) -> dict[str, str]:
    """Return the hyperparameters of a job: the trial as JSON, and its params, so that the console shows them.

    JSON that is too long for one value is split. Hyperparameters of the template are params of every trial, but
    params of the trial replace them. Names of AWS's toolkit (`sagemaker_...`) are not changed.
    """
    fixed: Mapping[str, str] = template.request.get("HyperParameters", {})
    platform = {name: text for name, text in fixed.items() if name.startswith("sagemaker_")}
    params = {name: _decoded(text) for name, text in fixed.items() if name not in platform} | dict(trial.params)
    command = sweep.config.command_with(template.command)
    carried = dict(_cut(_trial_document(sweep, trial, params, command))) | platform
    if len(carried) > MAX_HYPERPARAMETERS:
        raise JobRejected(
            f"trial {trial.label}: its params are too long for a training job: they need {len(carried)} "
            f"hyperparameters of {MAX_HYPERPARAMETER_VALUE} characters, the API accepts {MAX_HYPERPARAMETERS}; "
            "put the large value into a file of the source, and use the name of the file as the param"
        )
    for key, value in flat_params(params).items():
        # The API accepts no line breaks.
        is_line = isinstance(value, str) and value.splitlines() in ([], [value])
        text = value if is_line else json.dumps(value)
        fits = len(key) <= MAX_HYPERPARAMETER_KEY and len(text) <= MAX_HYPERPARAMETER_VALUE
        if fits and key not in carried and len(carried) < MAX_HYPERPARAMETERS:
            carried[key] = text
    return carried


def _plain_hyperparameters(template: JobTemplate, trial: Trial) -> dict[str, str]:
    """Return the hyperparameters of an image that runs its own program: each param as plain text.

    Raises JobRejected if the params exceed a limit of the API.
    """
    carried = dict(template.request.get("HyperParameters", {}))
    for name, value in flat_params(trial.params).items():
        if value is None:
            carried.pop(name, None)  # so that the program uses its own default
        else:
            carried[name] = plain_text(value)
    for name, text in carried.items():
        where = f"trial {trial.label}: param {name}"
        if len(name) > MAX_HYPERPARAMETER_KEY or len(text) > MAX_HYPERPARAMETER_VALUE:
            raise JobRejected(
                f"{where}: a hyperparameter has at most {MAX_HYPERPARAMETER_KEY} characters in its name and "
                f"{MAX_HYPERPARAMETER_VALUE} in its value; shorten it, or pass a file as a channel"
            )
        if text.splitlines() not in ([], [text]):
            raise JobRejected(f"{where}: a hyperparameter cannot have line breaks; remove them")
    if len(carried) > MAX_HYPERPARAMETERS:
        raise JobRejected(
            f"trial {trial.label}: {len(carried)} params, but a training job has at most {MAX_HYPERPARAMETERS} "
            "hyperparameters; remove some"
        )
    return carried


def plain_text(value: Any) -> str:
    """Return a param as the text of a plain hyperparameter, as the SageMaker SDK writes it: 0.1, adam, True."""
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def read_plain_params(carried: Mapping[str, str], space: SearchSpace) -> Params:
    """Return the params of a search space that plain hyperparameters contain.

    Args:
        carried: The hyperparameters of a job whose image runs its own program.
        space: The search space of the sweep, which tells numbers and texts apart.
    """
    values = [_read_plain(carried.get(".".join(path)), leaf) for path, leaf in space.leaves]
    return space.nest(space.flatten(space.nest(values)))  # without parameters that do not exist


def _read_plain(text: str | None, leaf: Distribution) -> Any:
    if leaf.size == 1:
        return leaf.value_at(0)
    if text is None:  # a null is not sent
        return MISSING if leaf.index_of(None) is None else None
    number = _decoded(text)
    candidates = (text, number, {"True": True, "False": False}.get(text))
    return next((value for value in candidates if leaf.index_of(value) is not None), number)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)  # the SDK writes JSON
    except ValueError:
        return text


def _trial_document(sweep: Sweep, trial: Trial, params: Params, command: Sequence[str]) -> str:
    config = sweep.config
    document = {
        "version": TRIAL_VERSION,
        "sweep_id": sweep.id,
        "number": trial.number,
        "attempt": trial.attempt,
        **_resume(trial),
        "name": f"{sweep.name or sweep.id}-{trial.number}",
        "project": sweep.project,
        "entity": sweep.entity,
        "program": config.program,
        "command": list(command),
        "params": params,
    }
    return json.dumps(document, separators=(",", ":"))


def _resume(trial: Trial) -> dict[str, int]:
    """Return the step at which a W&B run without an account resumes: after the points of earlier attempts."""
    steps = [stats.step for stats in trial.metrics.values() if stats.step is not None]
    return {"resume_step": max(steps) + 1} if trial.attempt and steps else {}


def _cut(text: str) -> Iterator[tuple[str, str]]:
    for index, start in enumerate(range(0, len(text), MAX_HYPERPARAMETER_VALUE)):
        key = TRIAL_KEY if index == 0 else f"{TRIAL_KEY}.{index}"
        yield key, text[start : start + MAX_HYPERPARAMETER_VALUE]
