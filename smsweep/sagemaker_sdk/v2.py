"""Estimators of the SageMaker SDK 2.x: Estimator, PyTorch, HuggingFace, SKLearn, XGBoost and others."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from sagemaker.amazon.amazon_estimator import AmazonAlgorithmEstimatorBase
from sagemaker.estimator import EstimatorBase, _TrainingJob
from sagemaker.tuner import HyperparameterTuner, _TuningJob

from smsweep.core.distributed_launch import launch
from smsweep.errors import ConfigError
from smsweep.sagemaker_sdk.compiled import (
    DEFAULT_CHANNEL,
    SdkTemplate,
    SdkTuner,
    Source,
    find_source,
    job_template,
    only_estimator,
    refuse,
    translated,
)

# Settings with which the SDK itself starts or packs the script -> what to do instead.
ELSEWHERE = {
    "dependencies": "put the folders below source_dir",
    "git_config": "check out the repository and set source_dir to its folder",
    "compiler_config": "only AWS's toolkit starts this compiler, but in a sweep smsweep starts the script",
    "training_recipe_file": "a recipe has its own program; set entry_point to a script",
}
# Settings that replace the image's own command -> what to do instead in an estimator with a script.
OF_IMAGES = dict.fromkeys(
    ("container_entry_point", "container_arguments"),
    "smsweep starts the script itself; use the sweep's `command`",
)
# Prefix of hyperparameters for AWS's toolkit, which does not pass them to the script.
FOR_THE_TOOLKIT = "sagemaker_"
MODEL_DIR = "model_dir"  # of TensorFlow: None until a job has a name, then a folder below the job's output
NO_OUTPUT = "s3://smsweep"  # placeholder for the output_path that a trial's backend chooses


def template(estimator: EstimatorBase, inputs: Any = None) -> SdkTemplate:
    """Return the request of `fit(inputs)` as a template, without the SDK's own launcher. Raises ConfigError."""
    has_script = bool(getattr(estimator, "entry_point", None))
    elsewhere = ELSEWHERE | (OF_IMAGES if has_script else {})
    for key, what_to_do in elsewhere.items():
        if getattr(estimator, key, None):
            raise refuse(key, what_to_do)
    request = _request(estimator, {DEFAULT_CHANNEL: inputs} if isinstance(inputs, str) else inputs)
    if request["OutputDataConfig"] == {"S3OutputPath": NO_OUTPUT}:
        del request["OutputDataConfig"]
    # The SDK adds these by default, with an output path.
    if not estimator.debugger_hook_config and not estimator.rules:
        request.pop("DebugHookConfig", None)
    if estimator.profiler_config is None and not estimator.disable_profiler and not estimator.rules:
        request.pop("ProfilerConfig", None)
    if NO_OUTPUT in str({**request, "HyperParameters": {}}):
        raise ConfigError("estimator.output_path: missing, but other settings for the output depend on it; set it")
    is_algorithm = isinstance(estimator, AmazonAlgorithmEstimatorBase)  # its inputs decide some hyperparameters
    declared = request["HyperParameters"] if is_algorithm else copy.copy(estimator).hyperparameters() or {}
    params = {name: _decoded(value) for name, value in declared.items()}
    fitted = getattr(estimator, "_current_job_name", None)
    if params.get(MODEL_DIR, "") is None or (fitted and f"/{fitted}/" in str(params.get(MODEL_DIR))):
        del params[MODEL_DIR]
    if has_script:
        params = {name: value for name, value in params.items() if not name.startswith(FOR_THE_TOOLKIT)}
    compiled = job_template(request, params, _source(estimator))
    try:
        command = launch(
            getattr(estimator, "distribution", None) or {}, compiled.request.get("ResourceConfig", {})
        )
    except ValueError as err:
        raise refuse("distribution", str(err)) from err
    return replace(compiled, command=command)


def tuner_parts(tuner: HyperparameterTuner) -> SdkTuner:
    """Return the parts of a tuner. Raises ConfigError if it has several estimators."""
    own = copy.copy(tuner)  # without an estimator, the SDK writes only the settings of the search
    estimator, definitions, instances = tuner.estimator, tuner.metric_definitions, tuner.instance_configs
    static = tuner.hyperparameters_to_keep_static
    if estimator is None:
        name = only_estimator(tuner.estimator_dict)
        estimator, definitions = tuner.estimator_dict[name], (tuner.metric_definitions_dict or {}).get(name)
        instances = (tuner.instance_configs_dict or {}).get(name)
        static = (tuner.hyperparameters_to_keep_static_dict or {}).get(name)
        own.objective_metric_name = tuner.objective_metric_name_dict[name]
        own._hyperparameter_ranges = tuner._hyperparameter_ranges_dict[name]
    own.estimator = own.estimator_dict = None
    own._hyperparameter_ranges_dict = None
    own.auto_parameters = own.auto_parameters_dict = None
    with translated():
        if tuner.autotune:
            fixed = tuner._prepare_static_hyperparameters(estimator, own._hyperparameter_ranges, False)
            fixed = {name: text for name, text in fixed.items() if not name.startswith(FOR_THE_TOOLKIT)}
            _, own.auto_parameters = tuner._prepare_auto_parameters(fixed, static)
        arguments = _TuningJob._get_tuner_args(own, None)
        arguments.pop("tags")  # the SDK would add tags that a file on this machine names
        session = estimator.sagemaker_session
        config = session._map_tuning_config(**arguments["tuning_config"])
    request = {
        "HyperParameterTuningJobConfig": config,
        "WarmStartConfig": arguments["warm_start_config"],
        "Autotune": {"Mode": "Enabled"} if tuner.autotune else None,
        "Tags": tuner.tags,
    }
    return SdkTuner(
        estimator=estimator,
        request=request,
        metric_definitions=tuple(definitions or ()),
        instance_configs=tuple(item.to_input_req() for item in instances or ()),
    )


def _source(estimator: EstimatorBase) -> Source:
    return find_source(getattr(estimator, "source_dir", None), getattr(estimator, "entry_point", None))


def _request(estimator: EstimatorBase, inputs: Any) -> dict[str, Any]:
    """Return the CreateTrainingJob request of an estimator without a source, so that nothing is uploaded.

    The three calls are those that the SDK makes for AWS Batch. They change the estimator, so they get a copy,
    which shares only the objects with connections.
    """
    session = estimator.sagemaker_session
    shared = (session, getattr(estimator, "tensorboard_app", None))
    own = copy.deepcopy(estimator, {id(part): part for part in shared})
    own.source_dir = own.entry_point = None
    own.output_path = own.output_path or NO_OUTPUT
    with translated():
        if isinstance(own, AmazonAlgorithmEstimatorBase):
            if inputs is None:
                raise ConfigError(
                    f"inputs: missing; {type(own).__name__} needs the RecordSet that its fit accepts"
                )
            size = getattr(estimator, "mini_batch_size", None)
            own.prepare_workflow_for_training(records=inputs, mini_batch_size=size, job_name="smsweep")
        else:
            own.prepare_workflow_for_training(job_name="smsweep")
        request: dict[str, Any] = session.get_train_request(**_TrainingJob.get_train_args(own, inputs, None))
    return request


def _decoded(value: Any) -> Any:
    """Return the original value of a hyperparameter: frameworks encode it as JSON, a plain Estimator does not."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
