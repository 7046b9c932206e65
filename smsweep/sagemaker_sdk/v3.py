"""ModelTrainer of the SageMaker SDK 3.x, which is `sagemaker.modules` in 2.x."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsweep.core.distributed_launch import TOOLKIT_ONLY, mpirun, torchrun
from smsweep.runtime.job.requirements import FILE as REQUIREMENTS
from smsweep.sagemaker_sdk.compiled import (
    DEFAULT_CHANNEL,
    SdkTemplate,
    SdkTuner,
    Source,
    channel,
    find_source,
    job_template,
    only_estimator,
    refuse,
    translated,
)

IGNORE_FILE = ".smsweepignore"


def template(trainer: Any, inputs: Any = None) -> SdkTemplate:
    """Return the request of `train(inputs)` as a template, without the SDK's drivers and its copy of the source.

    Raises:
        ConfigError: For settings that a sweep does not support.
    """
    _check(trainer)
    if isinstance(inputs, str):
        inputs = {DEFAULT_CHANNEL: inputs}
    named = inputs if isinstance(inputs, Mapping) else {}
    request = _request(trainer, None if named else inputs)
    channels = request.get("InputDataConfig") or []
    request["InputDataConfig"] = [
        *(item for item in channels if item["ChannelName"] not in named),
        *(channel(name, str(uri)) for name, uri in named.items()),
    ]
    compiled = job_template(request, trainer.hyperparameters or {}, _source(trainer.source_code))
    return replace(compiled, command=_command(trainer.distributed, compiled.request.get("ResourceConfig", {})))


def tuner_parts(tuner: Any) -> SdkTuner:
    """Return the parts of a tuner. Raises ConfigError if it has several trainers."""
    from sagemaker.core.utils.utils import serialize  # not in 2.x, which has ModelTrainer, but not this tuner

    own = copy.copy(tuner)
    trainer, definitions, instances = tuner.model_trainer, tuner.metric_definitions, tuner.instance_configs
    static = tuner.hyperparameters_to_keep_static
    if trainer is None:
        name = only_estimator(tuner.model_trainer_dict)
        trainer, definitions = tuner.model_trainer_dict[name], (tuner.metric_definitions_dict or {}).get(name)
        instances = (tuner.instance_configs_dict or {}).get(name)
        static = (tuner.hyperparameters_to_keep_static_dict or {}).get(name)
        own.objective_metric_name = tuner.objective_metric_name_dict[name]
        own._hyperparameter_ranges = tuner._hyperparameter_ranges_dict[name]
    with translated():
        config = serialize(own._build_tuning_job_config())
        if tuner.autotune:  # the SDK itself leaves them out
            fixed = dict(trainer.hyperparameters or {})
            tuned = set(own._hyperparameter_ranges or ())
            texts = {key: str(value) for key, value in fixed.items() if key not in {*tuned, *(static or ())}}
            auto = [{"Name": key, "ValueHint": text} for key, text in texts.items()]
            config.setdefault("ParameterRanges", {})["AutoParameters"] = auto
        request = {
            "HyperParameterTuningJobConfig": config,
            "WarmStartConfig": serialize(tuner.warm_start_config) if tuner.warm_start_config else None,
            "Autotune": {"Mode": "Enabled"} if tuner.autotune else None,
            "Tags": [tag if isinstance(tag, Mapping) else serialize(tag) for tag in tuner.tags or ()],
        }
    return SdkTuner(
        estimator=trainer,
        request=request,
        metric_definitions=tuple(definitions or ()),
        instance_configs=tuple(serialize(item) for item in instances or ()),
        texts={name: str(value) for name, value in (trainer.hyperparameters or {}).items()},
    )


def _check(trainer: Any) -> None:
    if trainer._temp_recipe_train_dir is not None:
        raise refuse("training_recipe", "a recipe has its own program; set entry_script to a script")
    source = trainer.source_code
    if source is None:
        return
    if source.command:
        raise refuse("source_code.command", "use the sweep's `command`, which is a list")
    if source.requirements not in (None, REQUIREMENTS):
        raise refuse("source_code.requirements", f"rename the file to {REQUIREMENTS}, at the top of source_dir")
    extra = set(source.ignore_patterns or ()) - set(type(source)().ignore_patterns or ())
    if extra and not Path(source.source_dir or ".", IGNORE_FILE).exists():
        raise refuse(
            "source_code.ignore_patterns",
            f"write {', '.join(sorted(extra))} into {IGNORE_FILE} in source_dir, one pattern per line",
        )


def _command(distributed: Any, resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command that starts the script; () if the trainer does not define one."""
    if not distributed:
        return ()
    kind, per_host = type(distributed).__name__, getattr(distributed, "process_count_per_node", None)
    try:
        if kind == "Torchrun" and distributed.smp is None:  # smp: SageMaker's library for model parallelism
            return torchrun(resources, per_host)
        if kind == "MPI":
            return mpirun(resources, per_host, distributed.mpi_additional_options or ())
        raise ValueError(f"{kind} {TOOLKIT_ONLY}")
    except ValueError as err:
        raise refuse("distributed", str(err)) from err


def _source(source: Any) -> Source:
    return Source() if source is None else find_source(source.source_dir, source.entry_script)


def _request(trainer: Any, inputs: Any) -> dict[str, Any]:
    """Return the CreateTrainingJob request of a trainer without a source, so that nothing is uploaded.

    The call is the one that the SDK makes for AWS Batch. It changes the trainer, so it gets a copy, which shares
    only the session, and has none of the folders that a trainer deletes at its end.
    """
    session = trainer.sagemaker_session
    memo = {id(session): session, id(trainer._temp_code_dir): None}
    own = copy.deepcopy(trainer, memo)
    own.source_code = None
    checkpoints = own.checkpoint_config
    if checkpoints is not None and not checkpoints.s3_uri:  # the backend chooses it; the SDK would send a request
        own.checkpoint_config = None
    with translated():
        request: dict[str, Any] = own._create_training_job_args(input_data_config=inputs, boto3=True)
    if own.checkpoint_config is None and checkpoints is not None and checkpoints.local_path:
        request["CheckpointConfig"] = {"LocalPath": checkpoints.local_path}
    return request
