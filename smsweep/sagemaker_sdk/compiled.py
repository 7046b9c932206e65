"""Convert the request that the SDK would send to a job template, without the fields that smsweep sets itself.

The compiler is selected by the class of the SDK's object, without importing the SDK.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from os.path import normpath
from pathlib import Path
from typing import Any

from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError, UsageError
from smsweep.runtime.job.secrets import PREFIX
from smsweep.util.plugins import LazyTable

DEFAULT_CHANNEL = "training"  # SDK v2's name for the only channel


@dataclass(frozen=True, kw_only=True, slots=True)
class SdkTemplate(JobTemplate):
    """The job template of an object of the SDK."""

    # Hyperparameters as the SDK sends them to an image that runs its own program.
    texts: Mapping[str, str] = field(default_factory=dict)


Compile = Callable[[Any, Any], SdkTemplate]  # (object, inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class SdkTuner:
    """The parts of a HyperparameterTuner with one estimator."""

    estimator: Any  # the Estimator (SDK v2) or the ModelTrainer (v3)
    request: dict[str, Any]  # CreateHyperParameterTuningJob, without name and training job definition
    metric_definitions: tuple[dict[str, str], ...] = ()  # Name and Regex
    instance_configs: tuple[dict[str, Any], ...] = ()  # of override_resource_config
    texts: Mapping[str, str] = field(default_factory=dict)  # hyperparameters that the tuner writes differently


COMPILERS: Mapping[str, Compile] = LazyTable(
    {
        "sagemaker.estimator.EstimatorBase": "smsweep.sagemaker_sdk.v2:template",
        "sagemaker.modules.train.model_trainer.ModelTrainer": "smsweep.sagemaker_sdk.v3:template",  # v3's, in v2
        "sagemaker.train.model_trainer.ModelTrainer": "smsweep.sagemaker_sdk.v3:template",
    }
)
TUNERS: Mapping[str, Callable[[Any], SdkTuner]] = LazyTable(
    {
        "sagemaker.tuner.HyperparameterTuner": "smsweep.sagemaker_sdk.v2:tuner_parts",
        "sagemaker.train.tuner.HyperparameterTuner": "smsweep.sagemaker_sdk.v3:tuner_parts",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The user's code, if the object names it."""

    folder: str = ""  # absolute; "" for none
    program: str = ""  # relative to the folder; "" for none


def job_template(request: Mapping[str, Any], params: Mapping[str, Any], source: Source) -> SdkTemplate:
    """Return the job template of a request.

    Args:
        request: The request of the SDK. None values are left out.
        params: Fixed hyperparameters with their types, for a script.
        source: The user's code.

    Raises:
        ConfigError: For a value that a request cannot contain, such as a variable of a SageMaker pipeline.
    """
    try:
        fields: dict[str, Any] = json.loads(json.dumps(_without_none(request)))
        hyperparameters = {name: json.dumps(value) for name, value in params.items()}
    except TypeError as err:
        raise ConfigError(f"estimator: {err}; use plain values instead of pipeline variables") from err
    texts = fields.get("HyperParameters", {})
    for owned in ("TrainingJobName", "HyperParameters", "ExperimentConfig"):
        fields.pop(owned, None)
    if hyperparameters:
        fields["HyperParameters"] = hyperparameters
    if fields.get("ResourceConfig", {}).get("InstanceType", "").startswith("local"):
        del fields["ResourceConfig"]  # the SDK's local mode; smsweep's `backend` selects the machine
    for channel in fields.get("InputDataConfig", ()):
        channel["DataSource"] = _local_as_s3(channel["DataSource"])
    secrets, environment = {}, {}
    for name, value in fields.pop("Environment", {}).items():
        if name.startswith(PREFIX):
            secrets[name.removeprefix(PREFIX)] = value
        else:
            environment[name] = value
    fields["Environment"] = environment
    definitions = fields.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
    return SdkTemplate(
        request={name: value for name, value in fields.items() if value not in ({}, [])},
        source_dir=source.folder,
        program=source.program,
        secrets=secrets,
        texts=texts,
        metric_definitions=tuple((definition["Name"], definition["Regex"]) for definition in definitions),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Call the SDK to make a request. Raises ConfigError for its errors."""
    from boto3.exceptions import Boto3Error  # slow to import, and only sweeps of an estimator need it
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as err:
        raise ConfigError(f"estimator: {err}") from err
    except (BotoCoreError, ClientError, Boto3Error) as err:  # the SDK looks up a role by its name, for example
        raise ConfigError(
            f"estimator: a request of the SDK to AWS failed: {err}; use an ARN as the role, and data in S3"
        ) from err


def find_source(source_dir: str | PathLike[str] | None, program: str | PathLike[str] | None) -> Source:
    """Return the folder and the program of the code. Without a source_dir it is the folder of the program.

    Raises:
        ConfigError: If the source is not a folder on this machine, or does not contain the program.
    """
    program = None if program is None else fspath(program)
    if source_dir is None:
        if program is None:
            return Source()
        source_dir, program = str(Path(program).parent), Path(program).name
    source_dir = fspath(source_dir)
    if "://" in source_dir or source_dir.endswith(".tar.gz"):
        raise ConfigError(
            f"estimator.source_dir: expected a folder, got {source_dir}; smsweep uploads the source itself"
        )
    folder = Path(source_dir).expanduser().absolute()
    if program is None:
        return Source(folder=str(folder))
    script = Path(normpath(folder / program))
    if not script.is_relative_to(folder) or not script.is_file():
        raise ConfigError(f"estimator.source_dir: {folder} has no file {program}; correct the path")
    return Source(folder=str(folder), program=script.relative_to(folder).as_posix())


def refuse(key: str, what_to_do: str) -> ConfigError:
    """Return the error for a setting that a sweep does not support."""
    return ConfigError(f"estimator.{key}: is not supported in a sweep; {what_to_do}")


def channel(name: str, uri: str) -> dict[str, Any]:
    """Return the request's channel for a URI or a path on this machine."""
    if "://" not in uri:
        uri = Path(uri).expanduser().absolute().as_uri()
    return {"ChannelName": name, "DataSource": _s3_source(uri)}


def _local_as_s3(source: dict[str, Any]) -> dict[str, Any]:
    """Return a channel's source; a folder on this machine becomes a file:// URI, which smsweep's backends read."""
    if "FileDataSource" in source:  # v2's local mode
        return _s3_source(source["FileDataSource"]["FileUri"])
    file_system = source.get("FileSystemDataSource", {})
    if file_system and not file_system.get("FileSystemId"):  # v3's local mode
        return _s3_source(Path(file_system["DirectoryPath"]).absolute().as_uri())
    return source


def _s3_source(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def template(obj: Any, inputs: Any = None) -> SdkTemplate:
    """Compile an Estimator (SDK v2) or a ModelTrainer (v3) into a job template. The object is not changed.

    No request is sent to AWS if all data are in S3 and the role is an ARN.

    Args:
        obj: The Estimator or ModelTrainer.
        inputs: The argument of its `fit` or `train`, or a mapping of channel names to URIs.

    Raises:
        UsageError: For any other object.
        ConfigError: For settings that a sweep does not support.
    """
    for ancestor in type(obj).__mro__:
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name in COMPILERS:
            return COMPILERS[name](obj, inputs)
    raise UsageError(
        f"estimator: expected an Estimator or a ModelTrainer of the SageMaker SDK, got {type(obj).__name__}; "
        "pass a job.yaml as job="
    )


def tuner_parts(tuner: Any) -> SdkTuner:
    """Return the parts of a HyperparameterTuner (SDK v2 or v3). The object is not changed, and AWS is not called.

    Raises:
        UsageError: For any other object.
        ConfigError: For a tuner with several estimators, or with variables of a pipeline.
    """
    for ancestor in type(tuner).__mro__:
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name in TUNERS:
            parts = TUNERS[name](tuner)
            try:
                request = json.loads(json.dumps(_without_none(parts.request)))
            except TypeError as err:
                raise ConfigError(f"tuner: {err}; use plain values instead of pipeline variables") from err
            return replace(parts, request=request)
    raise UsageError(
        "tuner: expected a HyperparameterTuner of the SageMaker SDK, a request, a JSON file or the name of a "
        f"tuning job, got {type(tuner).__name__}; for an Estimator, use estimator="
    )


def only_estimator(several: Mapping[str, Any]) -> str:
    """Return the name of the only estimator of a tuner. Raises ConfigError if there are several."""
    if len(several) != 1:
        raise ConfigError(
            f"tuner: a sweep has one estimator; create one sweep for each of {', '.join(sorted(several))}"
        )
    return next(iter(several))
