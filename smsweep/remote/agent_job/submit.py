"""Start a detached agent as a training job: the package that it runs, its request, and its store in S3."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smsweep.aws.client import Aws
from smsweep.aws.job_template import AGENTS, prepare
from smsweep.aws.prices import ask_price
from smsweep.aws.s3_transfer import upload_once
from smsweep.core.job import RUNTIME_ZIP, SOURCE_TAR, JobTemplate
from smsweep.core.sweep import Sweep
from smsweep.errors import SmsweepError, SourceError, Superseded, UsageError
from smsweep.remote.agent_job import main
from smsweep.remote.agent_job.request import INSTANCE_TYPE, PROGRAM, request
from smsweep.remote.agent_jobs import describe_agent_job, start
from smsweep.remote.record import NAMES, DetachRecord, record_path, write_record
from smsweep.remote.s3_store.replica import keep_only, snapshot
from smsweep.remote.s3_store.s3_object import S3Store
from smsweep.source.bundle import Bundle, bundle_path
from smsweep.source.collect import SourceFile
from smsweep.source.pack import pack
from smsweep.store.open import open_store

log = logging.getLogger(__name__)

# Folders below the S3 prefix of a sweep:
SOURCE = "source"  # source of the trials
CODE = "code"  # source of the agent
PACKAGE = Path(main.__file__).parents[2]
PINS = PACKAGE / "requirements"
EXCLUDED = {"__pycache__"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DetachedSweep:
    """What a detached agent needs."""

    sweep: Sweep
    template: JobTemplate
    store: Path | None  # SQLite file to upload; None if the agent can connect to the store
    keep: tuple[str, ...] | None  # ids of the sweeps that the agent needs; None for all
    bundles: Path  # folder with the sweep's source
    runtime_zip: Path
    arguments: Mapping[str, Any]  # arguments of the agent by name


def start_detached(
    detached: DetachedSweep,
    known: DetachRecord | None,
    workspace_dir: Path,
    environ: Mapping[str, str],
    *,
    with_agent: bool = True,
) -> DetachRecord:
    """Start a sweep's agent as a training job.

    Args:
        detached: What the agent needs.
        known: DetachRecord of earlier agents, or None.
        workspace_dir: Folder of the workspace.
        environ: Environment variables.
        with_agent: False to upload the store and the source only.

    Returns:
        The record of the sweep.

    Raises:
        UsageError: If an agent works on the sweep. Nothing is started then, nor after the errors below.
        SourceError: If the source of the sweep is not on this instance_type.
        JobError: If SageMaker does not start the job.
        StoreError: If the store cannot be uploaded.
    """
    sweep = detached.sweep
    with closing(Aws(environ)) as aws, tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
        assets = _assets(detached, Path(folder), workspace_dir)
        place = f"{AGENTS}/{sweep.id}"
        complete, site = prepare(
            detached.template, assets, workspace_dir, environ, upload=True, prefix=f"{place}/{CODE}"
        )
        uri = (known and known.uri) or site.assets_uri.partition(f"/{place}/")[0] + f"/{place}"
        key = complete.request.get("OutputDataConfig", {}).get("KmsKeyId", "")
        instance_type = str(detached.template.agent.get("instance_type", INSTANCE_TYPE))
        record = known or DetachRecord(sweep_id=sweep.id, uri=uri if detached.store else "", kms_key=key)
        if not with_agent:
            _upload(aws, detached, known, Path(folder), uri, key)
            write_record(workspace_dir, record)
            return record
        name = _free_name(aws, record)
        record = replace(
            record,
            jobs=tuple(dict.fromkeys([*record.jobs, name])),
            instance_type=instance_type,
            per_hour=_price(detached.template, instance_type, environ),
        )
        arguments: dict[str, Any] = {"sweep": sweep.id, **detached.arguments, "source": f"{uri}/{SOURCE}"}
        if detached.store is not None:
            arguments["kept-at"] = uri
        made = request(sweep.id, name, complete, site, arguments, environ, aws.region)
        _upload(aws, detached, known, Path(folder), uri, key)
        write_record(workspace_dir, record)  # first, so that a crash cannot lose the job
        try:
            start(aws, made)
        except SmsweepError:
            if known is None:
                record_path(workspace_dir, sweep.id).unlink()  # the sweep is not detached
            raise
        return record


def _assets(detached: DetachedSweep, folder: Path, workspace_dir: Path) -> Path:
    """Create a folder with the runtime and the agent. Its name has the hash of its content."""
    extras = () if detached.store is not None else ("postgres",)
    bundle = pack_agent(workspace_dir / "bundles", extras)
    runtime = detached.runtime_zip.read_bytes()
    made = folder / f"agent-{hashlib.sha256(runtime).hexdigest()[:16]}-{bundle.hash[:16]}"
    made.mkdir()
    (made / RUNTIME_ZIP).write_bytes(runtime)
    (made / SOURCE_TAR).write_bytes(bundle.path.read_bytes())
    return made


def _free_name(aws: Aws, record: DetachRecord) -> str:
    """Return the name of the next agent job. Raises UsageError if the last one is running."""
    if record.jobs:
        last = describe_agent_job(aws, record.jobs[-1])
        if last.is_alive:
            raise UsageError(
                f"sweep {record.sweep_id} has an agent: training job {last.name} is {last.status}; see its state "
                f"with `smsweep show {record.sweep_id}`"
            )
        if not last.status:
            return last.name  # SageMaker never created this job
    number = len(record.jobs)
    while describe_agent_job(aws, NAMES.format(sweep_id=record.sweep_id, number=number)).status:
        number += 1
    return NAMES.format(sweep_id=record.sweep_id, number=number)


def _upload(
    aws: Aws, detached: DetachedSweep, known: DetachRecord | None, folder: Path, uri: str, key: str
) -> None:
    _upload_source(aws, detached, folder, uri, key)
    if known is None and detached.store is not None:
        _upload_store(aws, detached, detached.store, folder, uri, key)


def _upload_source(aws: Aws, detached: DetachedSweep, folder: Path, uri: str, key: str) -> None:
    if not detached.sweep.source_hash:
        return  # its jobs run an image's own program
    bundle = bundle_path(detached.bundles, detached.sweep.source_hash)
    if not bundle.exists():
        raise SourceError(
            f"{bundle}: the sweep's source is not in this folder; detach the sweep where it was created"
        )
    source = folder / "source"
    source.mkdir()
    (source / bundle.name).symlink_to(bundle)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    upload_once(aws, source, bucket, f"{prefix}/{SOURCE}", kms_key=key)


def _upload_store(aws: Aws, detached: DetachedSweep, store: Path, folder: Path, uri: str, key: str) -> None:
    copy = folder / "store.db"
    snapshot(store, copy)
    if detached.keep is not None:
        keep_only(copy, detached.keep)
    _open_again(copy, detached.sweep)
    s3_store, stamp = S3Store(aws, uri, key), f"sent:{folder.name}"
    try:
        s3_store.replace(copy, version="", stamp=stamp)
    except Superseded:
        # An upload whose agent never started: a started agent has a record in this workspace.
        _, age = s3_store.read_heartbeat()
        version = s3_store.fetch(folder / "other.db")
        if age is not None or version is None:
            raise UsageError(
                f"{uri}: an agent has worked on this sweep in S3; to continue that sweep, run "
                f"`smsweep agent {detached.sweep.id} --kept-at {uri}`"
            ) from None
        s3_store.replace(copy, version=version.etag, stamp=stamp)


def _open_again(copy: Path, sweep: Sweep) -> None:
    """Set the sweep's state in a copy to the state before the local sweep was stopped."""
    with closing(open_store(f"sqlite:///{copy}", environ={}, parse=lambda *_: (sweep.config, sweep.job))) as store:
        now = store.get_sweep(sweep.id).state
        if now is not sweep.state:
            store.set_sweep_state(sweep.id, [now], sweep.state)


def _price(template: JobTemplate, instance_type: str, environ: Mapping[str, str]) -> float | None:
    """Return dollars per hour of the agent's instance; None if unknown."""
    if "price_per_hour" in template.agent:
        return float(template.agent["price_per_hour"])
    if not template.asks_price:
        return None
    try:
        return ask_price(
            JobTemplate(request={"ResourceConfig": {"InstanceType": instance_type}}), environ
        ).per_hour
    except SmsweepError as err:
        log.warning("the price of the agent's instance is unknown: %s", err)
        return None


def pack_agent(into: Path, extras: tuple[str, ...] = ()) -> Bundle:
    """Pack the installed smsweep as a source bundle that runs an agent.

    Args:
        into: Folder for the bundle.
        extras: Extras of smsweep that the agent needs, such as postgres.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(requirements(extras), encoding="utf-8")
        files = [_file("requirements.txt", wanted), _file(PROGRAM, Path(main.__file__))]
        for path in sorted(PACKAGE.rglob("*")):
            name = path.relative_to(PACKAGE.parent).as_posix()
            if path.is_file() and not EXCLUDED & set(path.parts):
                files.append(_file(name, path))
        return pack(files, into)


def requirements(extras: tuple[str, ...] = ()) -> str:
    """Return the requirement file of an agent's job.

    Args:
        extras: Extras of smsweep, such as postgres. Each has a file in smsweep/requirements.

    Returns:
        Exact versions with hashes, and the options that make pip reject all other files. pip downloads nothing in
        an image that has these versions.
    """
    return "".join((PINS / f"{name}.txt").read_text(encoding="utf-8") for name in ("base", *extras))


def _file(name: str, path: Path) -> SourceFile:
    # The rules that find secrets have patterns that look like secrets.
    return SourceFile(name=name, path=path, size=path.stat().st_size, is_executable=False, may_hold_secrets=True)
