"""Estimators of the SageMaker SDK 2.x: Estimator, PyTorch, HuggingFace, SKLearn, XGBoost and their like."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from sagemaker.estimator import EstimatorBase, _TrainingJob

from smsweep.core.distributed_launch import launch
from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.sagemaker_sdk.compiled import (
    DEFAULT_CHANNEL,
    Source,
    find_source,
    job_template,
    refuse,
    translated,
)

# Settings by which the SDK starts or packs the script itself -> what to do instead.
ELSEWHERE = {
    "container_entry_point": "smsweep starts the job itself; the sweep's command says what it starts",
    "container_arguments": "smsweep starts the job itself; the sweep's command says what it starts",
    "dependencies": "put the folders below source_dir",
    "git_config": "check the repository out and name its folder as source_dir",
    "compiler_config": "only AWS's toolkit starts that compiler, and in a sweep smsweep starts the script",
    "training_recipe_file": "a recipe brings a program of its own; give a script as entry_point",
}
# Of hyperparameters that AWS's toolkit keeps from the script: the SDK's own words to it, and what `fit` leaves.
FOR_THE_TOOLKIT = "sagemaker_"
MODEL_DIR = "model_dir"  # TensorFlow's: None until a job's name is known, below whose output it then lies
NO_OUTPUT = "s3://smsweep"  # stands for the output_path that a trial's backend chooses


def template(estimator: EstimatorBase, inputs: Any = None) -> JobTemplate:
    """Return what `fit(inputs)` would send, less the SDK's own launch of the script. Raises ConfigError."""
    for key, what_to_do in ELSEWHERE.items():
        if getattr(estimator, key, None):
            raise refuse(key, what_to_do)
    request = _request(estimator, {DEFAULT_CHANNEL: inputs} if isinstance(inputs, str) else inputs)
    if request["OutputDataConfig"] == {"S3OutputPath": NO_OUTPUT}:
        del request["OutputDataConfig"]
    # The SDK adds these unasked, with an output path in them.
    if not estimator.debugger_hook_config and not estimator.rules:
        request.pop("DebugHookConfig", None)
    if estimator.profiler_config is None and not estimator.disable_profiler and not estimator.rules:
        request.pop("ProfilerConfig", None)
    if NO_OUTPUT in str({**request, "HyperParameters": {}}):
        raise ConfigError("estimator.output_path: missing; its key and format, and what a hook writes, go with it")
    params = {name: _decoded(value) for name, value in (copy.copy(estimator).hyperparameters() or {}).items()}
    fitted = getattr(estimator, "_current_job_name", None)
    if params.get(MODEL_DIR, "") is None or (fitted and f"/{fitted}/" in str(params.get(MODEL_DIR))):
        del params[MODEL_DIR]
    if getattr(estimator, "entry_point", None):
        params = {name: value for name, value in params.items() if not name.startswith(FOR_THE_TOOLKIT)}
    made = job_template(request, params, _source(estimator))
    try:
        command = launch(getattr(estimator, "distribution", None) or {}, made.request.get("ResourceConfig", {}))
    except ValueError as err:
        raise refuse("distribution", str(err)) from err
    return replace(made, command=command)


def _source(estimator: EstimatorBase) -> Source:
    return find_source(getattr(estimator, "source_dir", None), getattr(estimator, "entry_point", None))


def _request(estimator: EstimatorBase, inputs: Any) -> dict[str, Any]:
    """Return the CreateTrainingJob request of an estimator without a source, so that nothing is uploaded.

    The three calls are those that the SDK makes for AWS Batch. They change the estimator: it is a copy that they
    get, which shares only what holds connections.
    """
    session = estimator.sagemaker_session
    shared = (session, getattr(estimator, "tensorboard_app", None))
    own = copy.deepcopy(estimator, {id(part): part for part in shared})
    own.source_dir = own.entry_point = None
    own.output_path = own.output_path or NO_OUTPUT
    with translated():
        own.prepare_workflow_for_training(job_name="smsweep")
        request: dict[str, Any] = session.get_train_request(**_TrainingJob.get_train_args(own, inputs, None))
    return request


def _decoded(value: Any) -> Any:
    """Return a hyperparameter as the user gave it: a framework writes it as JSON, a plain Estimator does not."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
