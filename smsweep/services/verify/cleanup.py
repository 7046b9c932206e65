"""Removal of everything that a run of `smsweep verify` has created, also after the run was killed."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.errors import SmsweepError
from smsweep.remote.daemon import daemons
from smsweep.services.verify.run_state import RUN_PREFIX, TAG, RunState
from smsweep.services.verify.session import NotVerified, Session

if TYPE_CHECKING:
    from smsweep.aws.client import Aws
    from smsweep.aws.sweep_objects import SweepObject

log = logging.getLogger(__name__)

MISSING = (
    *("NoSuchEntity", "NoSuchBucket", "404", "ResourceNotFoundException"),
    *("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
)
GONE = "Requested resource not found."
PAGE = 100  # limit of ListTrainingJobs
AGENT_S = 300  # until the agent of a cancelled sweep ends, after its jobs
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


def clean(session: Session, on_progress: Callable[[str], None] = lambda text: None) -> list[str]:
    """Stop all jobs of a run and delete what it has created. What was deleted is not in the state any more.

    A second call continues where the first one ended or was killed.

    Returns:
        One line for each thing that still exists, with the reason.
    """
    state = session.state
    remains: list[str] = []

    def attempt(kind: str, name: str, remove: Callable[[str], object]) -> None:
        try:
            remove(name)
        except (SmsweepError, ClientError, BotoCoreError, OSError) as err:
            remains.append(f"{kind} {name}: {err}")
        else:
            state.drop(kind, name)

    if any(state.made.values()):
        on_progress(f"cleaning up run {state.run}")
    for sweep_id in state.left("sweeps"):
        _cancel_sweep(session, sweep_id)
    # Jobs first, because they cost money and write objects until they end.
    for name in state.left("jobs"):
        attempt("jobs", name, lambda name: _end_job(session, name))
    for sweep_id in state.left("sweeps"):
        attempt("sweeps", sweep_id, lambda sweep_id: _remove_sweep(session, sweep_id))
    for role in state.left("roles"):
        attempt("roles", role, lambda role: _delete_role(session.aws, role, state.run))
    for rule in state.left("rules"):
        attempt("rules", rule, lambda rule: _delete_rule(session.aws, rule, state.run))
    for url in state.left("queues"):
        attempt("queues", url, lambda url: _delete_queue(session.aws, url, state.run))
    for name in state.left("secrets"):
        attempt("secrets", name, lambda name: _delete_secret(session.aws, name, state.run))
    if not remains:
        for uri in state.left("prefixes"):
            attempt("prefixes", uri, lambda uri: _delete_prefix(session.aws, uri, state.run))
    for place in state.left("buckets"):
        attempt("buckets", place, lambda place: _delete_bucket(session, place, state.run))
    if not remains:
        for name in ("jobs", "assets", "cache", "checkpoints", "sweep"):
            shutil.rmtree(session.folder / name, ignore_errors=True)
    return remains


def find_live_jobs(session: Session) -> Iterator[tuple[str, str]]:
    """Yield the name and the run of each live job in the account and region that a run has created.

    The name selects the candidates, and the tag decides. This finds jobs of runs whose state file is lost.
    """
    token: dict[str, str] = {}
    while True:
        page = session.aws.translated(
            "sagemaker",
            "list_training_jobs",
            NameContains=f"smsweep-{RUN_PREFIX}",
            StatusEquals="InProgress",
            MaxResults=PAGE,
            **token,
        )
        for job in page["TrainingJobSummaries"]:
            tags = session.aws.translated("sagemaker", "list_tags", ResourceArn=job["TrainingJobArn"])["Tags"]
            run = next((tag["Value"] for tag in tags if tag["Key"] == TAG), "")
            if run:
                yield job["TrainingJobName"], run
        if "NextToken" not in page:
            return
        token = {"NextToken": page["NextToken"]}


def stop_lost_jobs(session: Session) -> list[str]:
    """Stop the live jobs of runs whose state file is lost. Return their names."""
    lost = [name for name, run in find_live_jobs(session) if run != session.state.run]
    for name in lost:
        session.aws.translated("sagemaker", "stop_training_job", TrainingJobName=name)
    return lost


def _end_job(session: Session, name: str) -> None:
    """Stop a job, wait for its end, and delete its record and its log if the permissions allow it."""
    status = session.end(name)
    if status is None:
        return  # it was never started
    if session.facts.backend == "sagemaker":
        _delete_record(session.aws, name)
    session.backend.forget(name)


def _delete_record(aws: Aws, name: str) -> None:
    """Delete the record and the log of an ended job. Both cost nothing, so a missing permission is no error."""
    try:
        aws.call("sagemaker", "delete_training_job", TrainingJobName=name)
        page = aws.call("logs", "describe_log_streams", logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
        for stream in page["logStreams"]:
            aws.call("logs", "delete_log_stream", logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"])
    except (ClientError, BotoCoreError, SmsweepError) as err:
        log.info("%s: its record or log stays in the account: %s", name, err)


def _cancel_sweep(session: Session, sweep_id: str) -> None:
    """Cancel a sweep, so that its agent starts no job any more. A sweep without an agent gets one."""
    if not (session.folder / "sweep" / ".smsweep").exists():
        return
    try:
        session.command("sweep", "--cancel", sweep_id)
    except SmsweepError as err:  # the sweep was removed, or has ended
        log.debug("sweep %s: %s", sweep_id, err)


def _remove_sweep(session: Session, sweep_id: str) -> None:
    """Remove a sweep of the run with its objects in S3. Its jobs have ended."""
    if not (session.folder / "sweep" / ".smsweep").exists():
        return
    with session.store() as store:
        if sweep_id not in [sweep.id for sweep in store.list_sweeps()]:
            return
    _wait_for_agents(session, sweep_id)
    objects = ["--s3"] if session.in_aws else []
    session.command("rm", sweep_id, "--yes", *objects)


def _wait_for_agents(session: Session, sweep_id: str) -> None:
    """Wait until the agent of a cancelled sweep has ended the trials and itself."""
    folder = session.folder / "sweep" / ".smsweep" / "agents" / sweep_id
    deadline = time.monotonic() + AGENT_S
    while time.monotonic() < deadline:
        with session.store() as store:
            is_active = any(trial.state.is_active for trial in store.list_trials(sweep_id))
        if not is_active and not any(daemon.is_running for daemon in daemons(folder)):
            return
        session.pause(0.5)
    raise NotVerified(f"sweep {sweep_id}: its agent has not ended in {AGENT_S} s")


def _delete_prefix(aws: Aws, uri: str, run: str) -> None:
    """Delete all objects whose key starts with the key of a URI, which names the run."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if run not in prefix:
        raise NotVerified(f"{uri}: is not a prefix of run {run}")
    _delete_objects(aws, bucket, prefix)


def _delete_objects(aws: Aws, bucket: str, prefix: str) -> None:
    from smsweep.aws.sweep_objects import delete_objects, failure  # boto3 is slow to import

    objects = list(_objects(aws, bucket, prefix))
    errors = delete_objects(aws, objects)
    if errors:
        raise failure(errors, len(objects))


def _objects(aws: Aws, bucket: str, prefix: str) -> Iterator[SweepObject]:
    from smsweep.aws.sweep_objects import SweepObject  # boto3 is slow to import

    token: dict[str, str] = {}
    while True:
        page = aws.translated("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        for item in page.get("Contents", ()):
            yield SweepObject(kind="outputs", bucket=bucket, key=item["Key"], size=item["Size"])
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _delete_bucket(session: Session, place: str, run: str) -> None:
    region, _, bucket = place.partition("/")
    if run not in bucket:
        raise NotVerified(f"{bucket}: is not a bucket of run {run}")
    with closing(session.in_region(region)) as aws:
        try:
            aws.call("s3", "head_bucket", Bucket=bucket)
        except ClientError as err:
            if err.response.get("Error", {}).get("Code") in MISSING:
                return
            raise
        _delete_objects(aws, bucket, "")
        aws.call("s3", "delete_bucket", Bucket=bucket)


def _delete_role(aws: Aws, name: str, run: str) -> None:
    if run not in name:
        raise NotVerified(f"{name}: is not a role of run {run}")
    try:
        for policy in aws.call("iam", "list_role_policies", RoleName=name)["PolicyNames"]:
            aws.call("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
        aws.call("iam", "delete_role", RoleName=name)
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") not in MISSING:
            raise


def _delete_rule(aws: Aws, name: str, run: str) -> None:
    if run not in name:
        raise NotVerified(f"{name}: is not a rule of run {run}")
    try:
        targets = aws.call("events", "list_targets_by_rule", Rule=name)["Targets"]
        if targets:
            aws.call("events", "remove_targets", Rule=name, Ids=[target["Id"] for target in targets])
        aws.call("events", "delete_rule", Name=name)
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") not in MISSING:
            raise


def _delete_queue(aws: Aws, name: str, run: str) -> None:
    if run not in name:
        raise NotVerified(f"{name}: is not a queue of run {run}")
    try:
        url = aws.call("sqs", "get_queue_url", QueueName=name)["QueueUrl"]
        aws.call("sqs", "delete_queue", QueueUrl=url)
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") not in MISSING:
            raise


def _delete_secret(aws: Aws, name: str, run: str) -> None:
    if run not in name:
        raise NotVerified(f"{name}: is not a secret of run {run}")
    try:
        aws.call("secretsmanager", "delete_secret", SecretId=name, ForceDeleteWithoutRecovery=True)
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") not in MISSING:
            raise


def is_clean(state: RunState) -> bool:
    """Return True if nothing that the run has created is left."""
    return not any(state.made.values())
