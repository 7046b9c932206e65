"""Sweeps over a queue: invite agents to one, or be an agent that is invited."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from smsweep.errors import SourceError, UsageError
from smsweep.remote.queue_consumer import HIDDEN_S, PATIENCE_S, consume
from smsweep.remote.slurm import batch_script
from smsweep.remote.slurm import submit as submit
from smsweep.remote.sqs import Invitation, Queue
from smsweep.services.backends import backend_name
from smsweep.services.labels import parse_sweep_id
from smsweep.services.signals import leaving_at_once
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.util.clock import utc_now


def publish(sweep_id: str, queue: str, *, agents: int = 1, source: str = "") -> str:
    """Invite so many agents to a sweep, and return its id.

    queue: URL of an SQS queue. source: s3://BUCKET/PREFIX to put the sweep's source at, for agents that do not
    share this machine's folder. Raises UsageError, NotFound, JobError.
    """
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws:
        if source:
            _upload(aws, workspace, sweep.source_hash, source)
        body = Invitation(sweep_id=sweep.id, source=source).text()
        Queue(aws, queue, HIDDEN_S).send([body] * agents)
    return sweep.id


def work_off(queue: str, work: Callable[[str], int], *, patience_s: float | None = None) -> int:
    """Accept a queue's invitations until none came for patience_s, and return an exit code.

    work: runs an agent on a sweep, and returns its exit code. Main thread only. Raises SmsweepError.
    """
    workspace = Workspace()

    def accept(invitation: Invitation) -> int:
        sweep_id = parse_sweep_id(invitation.sweep_id)
        if invitation.source:
            _download(aws, workspace, sweep_id, invitation.source)
        return work(sweep_id)

    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws, leaving_at_once():
        return consume(
            Queue(aws, queue, HIDDEN_S),
            accept,
            patience_s=PATIENCE_S if patience_s is None else patience_s,
            clock=utc_now,
            sleep=time.sleep,
        )


def fetch_source(sweep_id: str, source: str) -> None:
    """Fetch a sweep's source bundle into this folder, unless it is there. source: s3://BUCKET/PREFIX.

    Raises SourceError for another than the sweep's, NotFound, UsageError, JobError.
    """
    workspace = Workspace()
    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws:
        _download(aws, workspace, parse_sweep_id(sweep_id), source)


def _upload(aws: Any, workspace: Workspace, source_hash: str, source: str) -> None:
    from smsweep.aws.s3_transfer import upload_once  # boto3 is slow to import

    bundle = bundle_path(workspace.bundles_dir, source_hash)
    if not source_hash or not bundle.exists():
        raise SourceError(f"{bundle}: the sweep's source is not in this folder; publish it where it was created")
    open_bundle(bundle, expect=source_hash)
    bucket, prefix = _place(source)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / bundle.name).symlink_to(bundle)
        upload_once(aws, Path(folder), bucket, prefix)


def _download(aws: Any, workspace: Workspace, sweep_id: str, source: str) -> None:
    """Fetch the sweep's source bundle, unless it is here. Raises SourceError for another than the sweep's."""
    with workspace.store() as store:
        source_hash = store.get_sweep(sweep_id).source_hash
    bundle = bundle_path(workspace.bundles_dir, source_hash)
    if not source_hash or bundle.exists():
        return
    bucket, prefix = _place(source)
    workspace.make()
    workspace.bundles_dir.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.bundles_dir) as folder:
        from smsweep.aws.s3_transfer import fetch  # boto3 is slow to import

        draft = Path(folder) / bundle.name
        fetch(aws, f"s3://{bucket}/{prefix}/{bundle.name}", draft)
        open_bundle(draft, expect=source_hash)
        draft.chmod(0o644)  # not writable by others, whatever the umask
        draft.rename(bundle)


def _place(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of an S3 URI."""
    bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not uri.startswith("s3://") or not bucket or not prefix:
        raise UsageError(f"{uri!r}: expected s3://BUCKET/PREFIX")
    return bucket, prefix


def script(
    sweep_id: str,
    tasks: int,
    *,
    at_once: int | None = None,
    options: Sequence[str] = (),
    backend: str | None = None,
) -> str:
    """Return the batch script of an array whose tasks run one trial each. Raises UsageError, NotFound.

    `SMSWEEP_STORE` is not in it, for it may hold a password: sbatch hands on the environment that it is called in.
    """
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
    return batch_script(
        sweep.id,
        tasks,
        at_once=at_once,
        options=options,
        environment={"SMSWEEP_DIR": str(workspace.dir)},
        arguments=["--backend", backend_name(backend, workspace)] if backend else [],
    )
