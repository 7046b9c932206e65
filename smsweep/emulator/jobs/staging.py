"""Between S3 and the folders that a backend's jobs run in.

A backend is given the user's own request, except that what lies in S3 is already here: it gets file:// URIs, and
what the job leaves behind is taken from its folder. So every backend has S3, also one that cannot reach it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.backends.local.artifacts import keep_artifacts
from smsweep.backends.local.job_folder import JobFolder
from smsweep.emulator.jobs.checkpoints import Checkpoints
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.quota import instance_count, offers
from smsweep.emulator.jobs.s3 import S3

CHECKPOINT_PATH = "/opt/ml/checkpoints"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"  # hyperparameter: where script mode has its source


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where things are."""

    runs: Path  # the backend's folder: below it one a job, with its /opt/ml in `ml`
    checkpoints: Path  # below it one a job
    job_url: str  # the endpoint, as jobs reach it
    has_toolkit: bool  # jobs run in their images, whose toolkit fetches a script-mode source by itself


class Staging:
    def __init__(self, site: Site, s3: S3) -> None:
        self._site = site
        self._s3 = s3
        self._checkpoints: dict[str, Checkpoints] = {}  # by job

    def prepare(self, job: Job) -> dict[str, Any]:
        """Download what the job needs and return the backend's request. Raises JobError."""
        request = {name: value for name, value in job.request.items() if name != "OutputDataConfig"}
        request["Environment"] = {**self._environment(job), **request.get("Environment", {})}
        request["InputDataConfig"] = [self._channel(channel) for channel in request.get("InputDataConfig", ())]
        (offer, *_) = offers(job)
        request["ResourceConfig"] = {
            **job.resources,
            "InstanceType": offer.instance_type,
            "InstanceCount": offer.count,
        }
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
        if job.request.get("CheckpointConfig"):
            self._checkpoints_of(job).sync()

    def keep_artifacts(self, job: Job) -> None:
        """Upload model and output. Raises OSError, JobError or boto3's errors."""
        folder = JobFolder(self._site.runs / job.name)
        trees = folder.trees([f"algo-{number}" for number in range(1, instance_count(job) + 1)])
        keep_artifacts(job.request, trees, folder.path / "parts", self._s3.place.upload)

    def put_aside(self, job: Job) -> None:
        """Free the job's name at the backend for another run; what the last one left stays beside it."""
        folder = self._site.runs / job.name
        if folder.exists():
            folder.rename(folder.with_name(f"{job.name}.run-{job.restarts}"))

    def discard(self, name: str) -> None:
        """Remove all that is here of a deleted job."""
        for folder in (*self._site.runs.glob(f"{name}.run-*"), self._site.runs / name):
            shutil.rmtree(folder, ignore_errors=True)
        self.settle(name)

    def settle(self, name: str) -> None:
        """Let go of a job that has ended."""
        self._checkpoints.pop(name, None)
        shutil.rmtree(self._site.checkpoints / name, ignore_errors=True)

    def _checkpoints_of(self, job: Job) -> Checkpoints:
        if job.name not in self._checkpoints:
            folder, uri = self._site.checkpoints / job.name, job.request["CheckpointConfig"]["S3Uri"]
            self._checkpoints[job.name] = Checkpoints(folder, uri, self._s3)
        return self._checkpoints[job.name]

    def _environment(self, job: Job) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._site.job_url,
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            "TRAINING_JOB_ARN": job.arn,
        }

    def _channel(self, channel: Mapping[str, Any]) -> dict[str, Any]:
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            return dict(channel)  # a file system: the backend says that it has none
        shown = self._s3.place.fetch(source["S3Uri"], source["S3DataType"])
        return {**channel, "DataSource": {"S3DataSource": {**source, "S3Uri": shown.as_uri()}}}

    def _hyperparameters(self, given: Mapping[str, str]) -> dict[str, str]:
        uri = _decoded(given.get(SUBMIT_DIRECTORY, ""))
        if self._site.has_toolkit or not uri.startswith("s3://"):
            return dict(given)
        folder = self._s3.place.fetch(uri, "S3Prefix")
        archive = folder / uri.rpartition("/")[2]
        return {**given, SUBMIT_DIRECTORY: json.dumps(str(archive if archive.is_file() else folder))}


def _decoded(value: str) -> str:
    """Read a hyperparameter as the toolkit does: as JSON where it is."""
    try:
        return str(json.loads(value))
    except ValueError:
        return value
