"""From the request that an SDK would send to a template of ours: what a trial or smsweep owns is taken out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from os.path import normpath
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.runtime.job.secrets import PREFIX

DEFAULT_CHANNEL = "training"  # SDK v2's name for the only channel


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The user's code, where the object names it."""

    folder: str = ""  # absolute; "" for none
    program: str = ""  # relative to the folder; "" for none


def job_template(request: Mapping[str, Any], params: Mapping[str, Any], source: Source) -> JobTemplate:
    """Return the template of a request.

    request: as the SDK makes it; what is None in it is left out. params: fixed hyperparameters, typed.
    Raises ConfigError for a value that no request can hold, such as a variable of a SageMaker pipeline.
    """
    try:
        fields: dict[str, Any] = json.loads(json.dumps(_without_none(request)))
        hyperparameters = {name: json.dumps(value) for name, value in params.items()}
    except TypeError as err:
        raise ConfigError(f"estimator: {err}; a sweep needs plain values, no variables of a pipeline") from err
    for owned in ("TrainingJobName", "HyperParameters", "ExperimentConfig"):
        fields.pop(owned, None)
    if hyperparameters:
        fields["HyperParameters"] = hyperparameters
    if fields.get("ResourceConfig", {}).get("InstanceType", "").startswith("local"):
        del fields["ResourceConfig"]  # the SDK's word for this machine, which `backend` chooses here
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
    return JobTemplate(
        request={name: value for name, value in fields.items() if value not in ({}, [])},
        source_dir=source.folder,
        program=source.program,
        secrets=secrets,
        metric_definitions=tuple((definition["Name"], definition["Regex"]) for definition in definitions),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Let the SDK make a request. Raises ConfigError for what it complains of."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as err:
        raise ConfigError(f"estimator: {err}") from err
    except (BotoCoreError, ClientError, Boto3Error) as err:  # it asks what a role's name stands for, and the like
        raise ConfigError(
            f"estimator: the SDK asked AWS: {err}; it need not where the role is an ARN and all data are in S3"
        ) from err


def find_source(source_dir: str | PathLike[str] | None, program: str | PathLike[str] | None) -> Source:
    """Return where the code is; without a source_dir, the folder of the program.

    Raises ConfigError for a source that is not a folder of this machine, or lacks the program.
    """
    program = None if program is None else fspath(program)
    if source_dir is None:
        if program is None:
            return Source()
        source_dir, program = str(Path(program).parent), Path(program).name
    source_dir = fspath(source_dir)
    if "://" in source_dir or source_dir.endswith(".tar.gz"):
        raise ConfigError(
            f"estimator.source_dir: expected a folder, got {source_dir}; smsweep uploads the source itself, once"
        )
    folder = Path(source_dir).expanduser().absolute()
    if program is None:
        return Source(folder=str(folder))
    script = Path(normpath(folder / program))
    if not script.is_relative_to(folder) or not script.is_file():
        raise ConfigError(f"estimator.source_dir: {folder} has no file {program}")
    return Source(folder=str(folder), program=script.relative_to(folder).as_posix())


def refuse(key: str, what_to_do: str) -> ConfigError:
    """Return the error for a setting that has no place in a sweep."""
    return ConfigError(f"estimator.{key}: has no place in a sweep; {what_to_do}")


def channel(name: str, uri: str) -> dict[str, Any]:
    """Return the request's channel for a URI or a path of this machine."""
    if "://" not in uri:
        uri = Path(uri).expanduser().absolute().as_uri()
    return {"ChannelName": name, "DataSource": _s3_source(uri)}


def _local_as_s3(source: dict[str, Any]) -> dict[str, Any]:
    """Return a channel's source with a folder of this machine written as our backends read it."""
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
