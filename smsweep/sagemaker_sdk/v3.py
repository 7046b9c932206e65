"""ModelTrainer of the SageMaker SDK 3.x, which 2.x has as `sagemaker.modules`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smsweep.core.distributed_launch import TOOLKIT_ONLY, mpirun, torchrun
from smsweep.core.job import JobTemplate
from smsweep.runtime.job.requirements import FILE as REQUIREMENTS
from smsweep.sagemaker_sdk.compiled import (
    DEFAULT_CHANNEL,
    Source,
    channel,
    find_source,
    job_template,
    refuse,
    translated,
)

IGNORE_FILE = ".smsweepignore"


def template(trainer: Any, inputs: Any = None) -> JobTemplate:
    """Return what `train(inputs)` would send, less the SDK's drivers and its copy of the source.

    Raises ConfigError.
    """
    _check(trainer)
    if isinstance(inputs, str):
        inputs = {DEFAULT_CHANNEL: inputs}
    named = inputs if isinstance(inputs, Mapping) else {}
    request = _request(trainer, None if named else inputs)
    channels = request.get("InputDataConfig") or []
    request["InputDataConfig"] = [
        *(given for given in channels if given["ChannelName"] not in named),
        *(channel(name, str(uri)) for name, uri in named.items()),
    ]
    made = job_template(request, trainer.hyperparameters or {}, _source(trainer.source_code))
    return replace(made, command=_command(trainer.distributed, made.request.get("ResourceConfig", {})))


def _check(trainer: Any) -> None:
    if trainer._temp_recipe_train_dir is not None:
        raise refuse("training_recipe", "a recipe brings a program of its own; give a script as entry_script")
    source = trainer.source_code
    if source is None:
        return
    if source.command:
        raise refuse("source_code.command", "name it, as a list, as the sweep's command")
    if source.requirements not in (None, REQUIREMENTS):
        raise refuse("source_code.requirements", f"name the file {REQUIREMENTS}, at the top of source_dir")
    extra = set(source.ignore_patterns or ()) - set(type(source)().ignore_patterns or ())
    if extra and not Path(source.source_dir or ".", IGNORE_FILE).exists():
        raise refuse(
            "source_code.ignore_patterns",
            f"write {', '.join(sorted(extra))} into {IGNORE_FILE} in source_dir, a pattern a line",
        )


def _command(distributed: Any, resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the script is started; () where the trainer leaves that open."""
    if not distributed:
        return ()
    kind, per_host = type(distributed).__name__, getattr(distributed, "process_count_per_node", None)
    try:
        if kind == "Torchrun" and distributed.smp is None:  # its library for model parallelism
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

    The call is the one that the SDK makes for AWS Batch. It changes the trainer: it is a copy that it gets, which
    shares only the session, and has none of the folders that a trainer deletes when it goes.
    """
    session = trainer.sagemaker_session
    memo = {id(session): session, id(trainer._temp_code_dir): None}
    own = copy.deepcopy(trainer, memo)
    own.source_code = None
    checkpoints = own.checkpoint_config
    if checkpoints is not None and not checkpoints.s3_uri:  # a trial's backend chooses; the SDK would ask AWS
        own.checkpoint_config = None
    with translated():
        request: dict[str, Any] = own._create_training_job_args(input_data_config=inputs, boto3=True)
    if own.checkpoint_config is None and checkpoints is not None and checkpoints.local_path:
        request["CheckpointConfig"] = {"LocalPath": checkpoints.local_path}
    return request
