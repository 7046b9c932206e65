"""Transfer of files between S3 and the folders of jobs: inputs, outputs and checkpoints.

The backend gets the user's request with file:// URIs in place of S3 URIs. Inputs are downloaded before the job
starts, and outputs are uploaded after it ends, so that backends need no access to S3.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import open_session
from smsweep.backends.local.devices import warn_without_gpu
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.opt_ml import keep_artifacts
from smsweep.backends.local.s3_storage import S3Place, split_uri
from smsweep.emulator.api_error import DEFAULT_REGION
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.warm_pools import instance_count, offers
from smsweep.errors import JobError, JobRejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHECKPOINT_PATH = "/opt/ml/checkpoints"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"  # hyperparameter: S3 URI of the source in script mode
Version = tuple[int, int]  # (time of the last change in ns, size in bytes)


class S3:
    """Client for the emulator's S3.

    Args:
        environ: Has the credentials, the region and AWS_ENDPOINT_URL.
        cache: Folder for downloads.
    """

    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        self.place = S3Place(environ, cache)
        keys = {name: environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")}
        self._client: S3Client = open_session(keys).client("s3", endpoint_url=environ["AWS_ENDPOINT_URL"])

    def has_objects(self, uri: str) -> bool:
        """Return True if the bucket has a key that starts with the URI's key."""
        bucket, key = split_uri(uri)
        try:
            return self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)["KeyCount"] > 0
        except ClientError:
            return False  # the bucket does not exist

    def check_region(self, uri: str, region: str) -> None:
        """Raise JobRejected, with the message of S3, if the bucket of a URI is in another region than the job."""
        bucket, _ = split_uri(uri)
        try:
            constraint: str | None = self._client.get_bucket_location(Bucket=bucket).get("LocationConstraint")
        except ClientError:
            return  # the bucket does not exist, which the transfer reports
        found = constraint or DEFAULT_REGION  # S3 returns no region for the default one
        if found != region:
            raise JobRejected(
                f"PermanentRedirect (301): The bucket is in this region: {found}. Please use this region to retry "
                "the request"
            )

    def delete(self, uri: str) -> None:
        """Delete an object. Raises botocore's errors."""
        bucket, key = split_uri(uri)
        self._client.delete_object(Bucket=bucket, Key=key)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagingPaths:
    """Folders and URLs of jobs."""

    runs: Path  # the backend's folder, with one folder per job; its subfolder `ml` is /opt/ml
    checkpoints: Path  # has one folder per job
    job_url: str  # URL of the emulator from inside a job
    has_toolkit: bool  # jobs run in their images, whose toolkit downloads the source of script mode


class Staging:
    """Downloads the inputs of jobs and uploads their outputs.

    Args:
        paths: Folders and URLs of jobs.
        s3: Access to the emulator's S3.
    """

    def __init__(self, paths: StagingPaths, s3: S3) -> None:
        self._paths = paths
        self._s3 = s3
        self._checkpoints: dict[str, Checkpoints] = {}  # by job name

    def prepare(self, job: Job) -> dict[str, Any]:
        """Download the inputs of a job, and return the request for the backend. Raises JobError."""
        request = {name: value for name, value in job.request.items() if name != "OutputDataConfig"}
        request["Environment"] = {**self._environment(job), **request.get("Environment", {})}
        request["InputDataConfig"] = [
            self._channel(channel, job.region) for channel in request.get("InputDataConfig", ())
        ]
        (offer, *_) = offers(job)
        request["ResourceConfig"] = {
            **job.resources,
            "InstanceType": offer.instance_type,
            "InstanceCount": offer.count,
        }
        warn_without_gpu(request, os.environ)
        request["HyperParameters"] = self._hyperparameters(request.get("HyperParameters", {}))
        config = request.get("CheckpointConfig")
        if config:
            checkpoints = self._checkpoints_of(job)
            checkpoints.restore()
            request["CheckpointConfig"] = {
                "S3Uri": checkpoints.folder.as_uri(),
                "LocalPath": config.get("LocalPath", CHECKPOINT_PATH),
            }
        return request

    def sync_checkpoints(self, job: Job) -> None:
        """Copy changed checkpoints to S3."""
        if job.request.get("CheckpointConfig"):
            self._checkpoints_of(job).sync()

    def keep_artifacts(self, job: Job) -> None:
        """Upload the model and the output data. Raises OSError, JobError or the errors of boto3."""
        self._s3.check_region(job.request["OutputDataConfig"]["S3OutputPath"], job.region)
        folder = JobFolder(self._paths.runs / job.name)
        trees = folder.trees([f"algo-{number}" for number in range(1, instance_count(job) + 1)])
        keep_artifacts(job.request, trees, folder.path / "parts", self._s3.place.upload)

    def put_aside(self, job: Job) -> None:
        """Rename the folder of the last run, so that the job can run again under the same name."""
        folder = self._paths.runs / job.name
        if folder.exists():
            folder.rename(folder.with_name(f"{job.name}.run-{job.restarts}"))

    def discard(self, name: str) -> None:
        """Remove all files of a deleted job."""
        for folder in (*self._paths.runs.glob(f"{name}.run-*"), self._paths.runs / name):
            shutil.rmtree(folder, ignore_errors=True)
        self.settle(name)

    def settle(self, name: str) -> None:
        """Remove the local checkpoints of a job that has ended."""
        self._checkpoints.pop(name, None)
        shutil.rmtree(self._paths.checkpoints / name, ignore_errors=True)

    def _checkpoints_of(self, job: Job) -> Checkpoints:
        if job.name not in self._checkpoints:
            folder, uri = self._paths.checkpoints / job.name, job.request["CheckpointConfig"]["S3Uri"]
            self._checkpoints[job.name] = Checkpoints(folder, uri, self._s3)
        return self._checkpoints[job.name]

    def _environment(self, job: Job) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._paths.job_url,
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            "TRAINING_JOB_ARN": job.arn,
        }

    def _channel(self, channel: Mapping[str, Any], region: str) -> dict[str, Any]:
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            return dict(channel)  # a file system, which the backend rejects
        try:
            self._s3.check_region(source["S3Uri"], region)
        except JobRejected as err:
            raise JobRejected(f"Data download failed:{err}") from err
        local_path = self._s3.place.fetch(source["S3Uri"], source["S3DataType"])
        return {**channel, "DataSource": {"S3DataSource": {**source, "S3Uri": local_path.as_uri()}}}

    def _hyperparameters(self, requested: Mapping[str, str]) -> dict[str, str]:
        uri = _decoded(requested.get(SUBMIT_DIRECTORY, ""))
        if self._paths.has_toolkit or not uri.startswith("s3://"):
            return dict(requested)
        folder = self._s3.place.fetch(uri, "S3Prefix")
        archive = folder / uri.rpartition("/")[2]
        return {**requested, SUBMIT_DIRECTORY: json.dumps(str(archive if archive.is_file() else folder))}


def _decoded(value: str) -> str:
    """Decode a hyperparameter as the toolkit does: as JSON, or as text if it is not valid JSON."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value


log = logging.getLogger(__name__)


class Checkpoints:
    """Checkpoints of one job.

    They are downloaded once, before the job starts. Later changes and deletions are uploaded.

    Args:
        folder: The job's checkpoint folder.
        uri: S3 URI of the checkpoints.
        s3: Access to the emulator's S3.
    """

    def __init__(self, folder: Path, uri: str, s3: S3) -> None:
        self.folder = folder
        self._uri = uri.rstrip("/")
        self._s3 = s3
        self._known: dict[str, Version] = {}  # path below folder -> version in S3

    def restore(self) -> None:
        """Download the checkpoints."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # the container can run as another user
        self._s3.place.download(self._uri, self.folder)
        self._known = self._present()

    def sync(self) -> None:
        """Upload changed files and delete removed ones. The next call retries what fails."""
        present = self._present()
        for path, version in present.items():
            if self._known.get(path) != version and self._upload(path):
                self._known[path] = version
        for path in self._known.keys() - present.keys():
            if self._delete(path):
                del self._known[path]

    def _present(self) -> dict[str, Version]:
        versions = {}
        for path in self.folder.rglob("*"):
            try:
                if path.is_file():
                    stat = path.stat()
                    versions[path.relative_to(self.folder).as_posix()] = (stat.st_mtime_ns, stat.st_size)
            except OSError:
                continue  # the job has deleted the file
        return versions

    def _upload(self, path: str) -> bool:
        try:
            self._s3.place.upload(self.folder / path, f"{self._uri}/{path}")
        except (OSError, JobError) as err:
            log.debug("checkpoint %s: %s", path, err)
            return False
        return True

    def _delete(self, path: str) -> bool:
        try:
            self._s3.delete(f"{self._uri}/{path}")
        except (BotoCoreError, ClientError) as err:
            log.debug("checkpoint %s: %s", path, err)
            return False
        return True
