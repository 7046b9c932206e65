"""Find and delete the objects that sweeps left in S3.

An object belongs to a sweep only if its key has the id of the sweep at the expected position: in the name of a
job, in the prefix of a checkpoint, or in the prefix of a detached agent. Several sweeps, also of other stores, can
use one source. Each agent therefore writes a marker object with the id of its sweep.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from smsweep.aws.client import Aws
from smsweep.aws.errors import CODES
from smsweep.aws.iam_policy import hook_outputs
from smsweep.aws.job_template import AGENTS, ASSETS, PREFIX, SOURCE_USERS, bucket_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.errors import AccessDenied, JobError, JobRejected

Kind = Literal["outputs", "checkpoints", "source", "agent"]
BATCH = 1_000  # keys of one DeleteObjects call; the limit of S3
AWS_PLACES = re.compile(r"(?:sagemaker|batch)@(.+)")  # Trial.place of a job in AWS, with its region
# S3's codes for single keys of a DeleteObjects call that can be sent again.
TRANSIENT = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}
NOT_XML = re.compile(
    r"[\x00-\x1f\x7f\ufffe\uffff]"
)  # characters of keys that the body of DeleteObjects cannot have
PAUSES_S = (1.0, 2.0, 4.0)  # before each further attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A key prefix of a bucket. The prefix is empty or ends with a slash."""

    bucket: str
    prefix: str
    owner: str = ""  # account that must own the bucket; "" for any

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Locations:
    """Where a sweep can have objects."""

    outputs: tuple[Location, ...]  # the folders of jobs are directly below
    checkpoints: tuple[Location, ...]  # ID/N/ is directly below
    sources: tuple[Location, ...]  # RUNTIME-SOURCE/ is directly below
    agents: tuple[Location, ...]  # of the sweep's detached agent

    def __bool__(self) -> bool:
        return bool(self.outputs or self.checkpoints or self.sources or self.agents)

    def uris(self) -> list[str]:
        """Return the distinct URIs of all locations."""
        return list(
            dict.fromkeys(each.uri for each in (*self.outputs, *self.checkpoints, *self.sources, *self.agents))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepObject:
    """An object of a sweep."""

    kind: Kind
    bucket: str
    key: str
    size: int  # bytes
    owner: str = ""  # account that must own the bucket; "" for any
    number: int | None = None  # trial; None for an object of the whole sweep

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The sources of a sweep in S3, with the sweeps that use them."""

    objects: tuple[SweepObject, ...]
    markers: tuple[SweepObject, ...]
    users: frozenset[str]  # ids of the sweeps that have a marker


def locate(sweep: Sweep, trials: Iterable[Trial], agent_uri: str, region: str) -> Locations:
    """Return where a sweep can have objects. This makes no calls.

    Args:
        sweep: The sweep.
        trials: Its trials, including removed ones. They know the region and the results of their jobs.
        agent_uri: S3 URI of the store of the detached sweep; "" for none.
        region: Region of the user's settings, for a sweep without trials; "" if unknown.
    """
    request = sweep.job.request
    all_trials = list(trials)
    regions = {match[1] for trial in all_trials if (match := AWS_PLACES.fullmatch(trial.place))}
    output = _location(request.get("OutputDataConfig", {}).get("S3OutputPath", ""))
    checkpoints = _location(request.get("CheckpointConfig", {}).get("S3Uri", ""))
    buckets = {(output.bucket, "")} if output else set()
    if not output and "RoleArn" in request:
        buckets |= {bucket_of(request, each) for each in regions or {region} if each}
    agent = _location(agent_uri)
    if agent and not any(name == agent.bucket for name, _ in buckets):
        buckets.add((agent.bucket, ""))
    outputs = [output, *map(_location, hook_outputs(request)), *_recorded(sweep.id, all_trials)]
    defaults = [Location(bucket=bucket, prefix=f"{PREFIX}/", owner=owner) for bucket, owner in sorted(buckets)]
    return Locations(
        outputs=_distinct([*outputs, *(_below(each, "jobs") for each in defaults)]),
        checkpoints=_distinct([checkpoints, *(_below(each, "checkpoints") for each in defaults)]),
        sources=_distinct(_below(each, ASSETS.removeprefix(f"{PREFIX}/")) for each in defaults),
        agents=_distinct([agent if agent and agent.prefix == f"{AGENTS}/{sweep.id}/" else None]),
    )


def find_objects(
    aws: Aws, locations: Locations, sweep_id: str, number: int | None = None
) -> Iterator[SweepObject]:
    """Yield the outputs, checkpoints and agent objects of a sweep, or of one trial. The store of an agent is last.

    Raises:
        JobError: If S3 cannot be listed.
    """
    jobs = f"smsweep-{sweep_id}-" if number is None else f"smsweep-{sweep_id}-{number}-"
    of_job = re.compile(rf"smsweep-{re.escape(sweep_id)}-(?:agent|(\d+))-\d+/")
    for place in locations.outputs:
        yield from _matching(aws, place, jobs, of_job, "outputs")
    folder = f"{sweep_id}/" if number is None else f"{sweep_id}/{number}/"
    of_checkpoint = re.compile(rf"{re.escape(sweep_id)}/(\d+)/")
    for place in locations.checkpoints:
        yield from _matching(aws, place, folder, of_checkpoint, "checkpoints")
    if number is None:
        for place in locations.agents:
            yield from _matching(aws, place, "", re.compile("()"), "agent")


def find_sources(aws: Aws, locations: Locations, source_hash: str) -> Sources:
    """Return the uploads of one source, for all versions of the runtime, and the sweeps that use them.

    Raises:
        JobError: If S3 cannot be listed.
    """
    objects: list[SweepObject] = []
    markers: list[SweepObject] = []
    named = re.compile(rf"[0-9a-f]{{16}}-{re.escape(source_hash[:16])}/")
    for place in locations.sources if source_hash else ():
        for folder in _folders(aws, place):
            if named.fullmatch(folder):
                objects += _matching(aws, place, folder, re.compile("()"), "source")
                of_users = _below(_below(place, SOURCE_USERS.rpartition("/")[2]), folder.rstrip("/"))
                markers += _matching(aws, of_users, "", re.compile("()"), "source")
    users = frozenset(marker.key.rpartition("/")[2] for marker in markers)
    return Sources(objects=tuple(objects), markers=tuple(markers), users=users)


def is_versioned(aws: Aws, bucket: str) -> bool | None:
    """Return True if a bucket keeps deleted objects as old versions; None without permission to ask."""
    try:
        return aws.translated("s3", "get_bucket_versioning", Bucket=bucket).get("Status") == "Enabled"
    except (AccessDenied, JobRejected):
        return None


def delete_objects(
    aws: Aws,
    objects: Iterable[SweepObject],
    on_progress: Callable[[int], None] = lambda n: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Delete objects in batches, in their order. Missing objects count as deleted.

    Args:
        aws: Calls S3.
        objects: The objects.
        on_progress: Called after each batch with the number of its deleted objects.
        sleep: Waits before S3 gets the same keys again.

    Returns:
        URI -> error, for each object that S3 did not delete. After a batch in which S3 deletes nothing, no further
        batch is sent.

    Raises:
        JobError: If a whole call fails. Call again to delete the rest.
    """
    errors: dict[str, str] = {}
    is_useless = False
    for (bucket, owner), group in itertools.groupby(objects, key=lambda each: (each.bucket, each.owner)):
        keys = [each.key for each in group]
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            if is_useless:
                failed = dict.fromkeys(batch, "not sent after the other errors")
            else:
                failed = _delete_batch(aws, bucket, owner, batch, sleep)
                on_progress(len(batch) - len(failed))
                is_useless = len(failed) == len(batch)
            errors |= {f"s3://{bucket}/{key}": error for key, error in failed.items()}
    return errors


def failure(errors: Mapping[str, str], total: int) -> JobError:
    """Return the error for objects that S3 did not delete."""
    most = 5
    lines = [f"{uri}: {error}" for uri, error in itertools.islice(errors.items(), most)]
    lines += [f"... and {len(errors) - most:,} more"] if len(errors) > most else []
    is_denied = any(CODES.get(error.partition(":")[0]) is AccessDenied for error in errors.values())
    fix = "`smsweep iam --with-delete` prints the permissions; then run" if is_denied else "run"
    kind = AccessDenied if is_denied else JobError
    return kind(
        f"S3: {len(errors):,} of {total:,} objects were not deleted; {fix} the command again\n" + "\n".join(lines)
    )


def _delete_batch(
    aws: Aws, bucket: str, owner: str, keys: list[str], sleep: Callable[[float], None]
) -> dict[str, str]:
    """Delete up to BATCH keys. Return key -> error."""
    guard = {"ExpectedBucketOwner": owner} if owner else {}
    failed: dict[str, str] = {}
    for key in (key for key in keys if NOT_XML.search(key)):
        try:
            aws.translated("s3", "delete_object", Bucket=bucket, Key=key, **guard)
        except (AccessDenied, JobRejected) as err:
            failed[key] = str(err)
    keys = [key for key in keys if not NOT_XML.search(key)]
    for pause_s in (*PAUSES_S, None) if keys else ():
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer: dict[str, Any] = aws.translated("s3", "delete_objects", Bucket=bucket, Delete=wanted, **guard)
        errors = answer.get("Errors", [])
        failed |= {each["Key"]: f"{each.get('Code', '')}: {each.get('Message', '')}" for each in errors}
        keys = [each["Key"] for each in errors if each.get("Code") in TRANSIENT]
        if not keys or pause_s is None:
            break
        for key in keys:
            del failed[key]
        sleep(pause_s)
    return failed


def _matching(aws: Aws, place: Location, more: str, pattern: re.Pattern[str], kind: Kind) -> Iterator[SweepObject]:
    """Yield the objects below a location whose remaining key starts with `more` and with the pattern."""
    for page in _pages(aws, place, more):
        for item in page.get("Contents", ()):
            match = pattern.match(item["Key"].removeprefix(place.prefix))
            if match:
                number = int(match[1]) if match[1] else None
                yield SweepObject(
                    kind=kind,
                    bucket=place.bucket,
                    key=item["Key"],
                    size=item["Size"],
                    owner=place.owner,
                    number=number,
                )


def _folders(aws: Aws, place: Location) -> Iterator[str]:
    """Yield the names of the folders directly below a location, each with a slash."""
    for page in _pages(aws, place, "", Delimiter="/"):
        for item in page.get("CommonPrefixes", ()):
            yield item["Prefix"].removeprefix(place.prefix)


def _pages(aws: Aws, place: Location, more: str, **options: str) -> Iterator[dict[str, Any]]:
    guard = {"ExpectedBucketOwner": place.owner} if place.owner else {}
    token: dict[str, str] = {}
    while True:
        try:
            page = aws.translated(
                "s3",
                "list_objects_v2",
                Bucket=place.bucket,
                Prefix=place.prefix + more,
                **guard,
                **options,
                **token,
            )
        except JobRejected as err:
            if "NoSuchBucket" in str(err):
                return
            raise
        yield page
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _recorded(sweep_id: str, trials: Iterable[Trial]) -> Iterator[Location | None]:
    """Yield the locations of the results that trials reported, for example with another job.yaml."""
    for trial in trials:
        for name in ("model_uri", "output_uri"):
            root, separator, _ = str(trial.usage.get(name, "")).partition(f"/smsweep-{sweep_id}-")
            if separator:
                yield _location(root)


def _location(uri: str) -> Location | None:
    """Return the location of an S3 URI; None for any other text."""
    bucket, _, path = uri.removeprefix("s3://").partition("/")  # not `urlsplit`: a key can contain a question mark
    if not uri.startswith("s3://") or not bucket:
        return None
    path = path.strip("/")
    return Location(bucket=bucket, prefix=f"{path}/" if path else "")


def _below(place: Location, name: str) -> Location:
    return Location(bucket=place.bucket, prefix=f"{place.prefix}{name}/", owner=place.owner)


def _distinct(places: Iterable[Location | None]) -> tuple[Location, ...]:
    """Return the locations without None and without repetitions of bucket and prefix."""
    distinct: dict[tuple[str, str], Location] = {}
    for place in places:
        if place is not None:
            distinct.setdefault((place.bucket, place.prefix), place)
    return tuple(distinct.values())
