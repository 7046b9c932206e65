"""Distribute a sweep to several agents: with invitations in an SQS queue, or as a SLURM job array."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from smsweep.errors import SourceError, UsageError
from smsweep.remote.slurm import batch_script
from smsweep.remote.slurm import submit as submit
from smsweep.remote.sqs import HIDDEN_S, PATIENCE_S, Invitation, Queue, consume
from smsweep.services.backends import backend_name
from smsweep.services.labels import parse_sweep_id
from smsweep.services.signals import exit_on_sigterm
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.pack import refuse_upload
from smsweep.util.clock import utc_now


def publish(sweep_id: str, queue: str, *, agents: int = 1, source: str = "") -> str:
    """Send invitations to a sweep to a queue.

    Args:
        sweep_id: Id of the sweep.
        queue: URL of an SQS queue.
        agents: Number of invitations.
        source: s3://BUCKET/PREFIX to upload the sweep's source to, for agents that do not share this workspace.

    Returns:
        Id of the sweep.

    Raises:
        NotFound: If there is no such sweep.
        SourceError: If the source is not in this workspace.
        UsageError: If `source` is not a valid S3 URI.
        JobError: If AWS rejects a request.
    """
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws:
        if source and not sweep.job.runs_image:
            _upload(aws, workspace, sweep.source_hash, source)
        body = Invitation(sweep_id=sweep.id, source=source).text()
        Queue(aws, queue, HIDDEN_S).send([body] * agents)
    return sweep.id


def accept_invitations(queue: str, work: Callable[[str], int], *, patience_s: float | None = None) -> int:
    """Accept invitations from a queue until the queue stays empty. Call this in the main thread only.

    Args:
        queue: URL of an SQS queue.
        work: Runs an agent on the sweep with the given id, and returns its exit code.
        patience_s: Seconds without an invitation after which this returns. Default: `PATIENCE_S`.

    Returns:
        An exit code.

    Raises:
        SmsweepError: If the queue cannot be read.
    """
    workspace = Workspace()

    def accept(invitation: Invitation) -> int:
        sweep_id = parse_sweep_id(invitation.sweep_id)
        if invitation.source:
            _download(aws, workspace, sweep_id, invitation.source)
        return work(sweep_id)

    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws, exit_on_sigterm():
        return consume(
            Queue(aws, queue, HIDDEN_S),
            accept,
            patience_s=PATIENCE_S if patience_s is None else patience_s,
            clock=utc_now,
            sleep=time.sleep,
        )


def fetch_source(sweep_id: str, source: str) -> None:
    """Download a sweep's source bundle to the workspace if the workspace does not have it.

    Args:
        sweep_id: Id of the sweep.
        source: s3://BUCKET/PREFIX that contains the bundle.

    Raises:
        NotFound: If there is no such sweep or bundle.
        SourceError: If the downloaded bundle does not have the sweep's source hash.
        UsageError: If `source` is not a valid S3 URI.
        JobError: If AWS rejects a request.
    """
    workspace = Workspace()
    from smsweep.aws.client import Aws  # boto3 is slow to import

    with closing(Aws(workspace.environ)) as aws:
        _download(aws, workspace, parse_sweep_id(sweep_id), source)


def _upload(aws: Any, workspace: Workspace, source_hash: str, source: str) -> None:
    from smsweep.aws.s3_transfer import upload_once  # boto3 is slow to import

    bundle = bundle_path(workspace.bundles_dir, source_hash)
    if not source_hash or not bundle.exists():
        raise SourceError(
            f"{bundle}: the sweep's source is not in this folder; publish the sweep where it was created"
        )
    refuse_upload(workspace.bundles_dir, source_hash)
    open_bundle(bundle, expect=source_hash)
    bucket, prefix = _split_uri(source)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / bundle.name).symlink_to(bundle)
        upload_once(aws, Path(folder), bucket, prefix)


def _download(aws: Any, workspace: Workspace, sweep_id: str, source: str) -> None:
    """Do what `fetch_source` does, with an open client."""
    with workspace.store() as store:
        source_hash = store.get_sweep(sweep_id).source_hash
    bundle = bundle_path(workspace.bundles_dir, source_hash)
    if not source_hash or bundle.exists():
        return
    bucket, prefix = _split_uri(source)
    workspace.make()
    workspace.bundles_dir.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.bundles_dir) as folder:
        from smsweep.aws.s3_transfer import fetch  # boto3 is slow to import

        draft = Path(folder) / bundle.name
        fetch(aws, f"s3://{bucket}/{prefix}/{bundle.name}", draft)
        open_bundle(draft, expect=source_hash)
        draft.chmod(0o644)  # independent of the umask, never writable by other users
        draft.rename(bundle)


def _split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of an S3 URI."""
    bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not uri.startswith("s3://") or not bucket or not prefix:
        raise UsageError(f"{uri!r}: is not a valid S3 location; give s3://BUCKET/PREFIX")
    return bucket, prefix


def script(
    sweep_id: str,
    tasks: int,
    *,
    at_once: int | None = None,
    options: Sequence[str] = (),
    backend: str | None = None,
) -> str:
    """Return the batch script of a SLURM job array whose tasks run one trial each.

    The script does not contain `SMSWEEP_STORE`, because that can contain a password. sbatch passes on the
    environment in which you call it.

    Args:
        sweep_id: Id of the sweep.
        tasks: Number of tasks.
        at_once: Maximum number of tasks that run in parallel. Default: no limit.
        options: Options of sbatch.
        backend: Name of the backend. Default: the agent's.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If an argument is invalid.
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
