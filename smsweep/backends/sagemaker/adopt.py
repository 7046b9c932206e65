"""A name that is taken: whether the job behind it is the one we meant to start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smsweep.backends.sagemaker.client import Aws
from smsweep.backends.sagemaker.status import from_description
from smsweep.errors import NameTaken
from smsweep.jobs import JobStatus, TrainingJobRequest


def adopt(aws: Aws, request: TrainingJobRequest) -> JobStatus:
    """Return the status of the job that has the request's name, if it came from this very request.

    That is so when it carries our tags and our hyperparameters, which hold sweep, trial, attempt and params: an
    earlier call of ours was carried out although we never saw its answer. Raises NameTaken otherwise, or JobError.
    """
    name = request["TrainingJobName"]
    document = aws.translated("sagemaker", "describe_training_job", TrainingJobName=name)
    arn = document["TrainingJobArn"]
    tags = _tags(aws.translated("sagemaker", "list_tags", ResourceArn=arn, MaxResults=50))
    wanted = _tags(request)
    is_ours = wanted.items() <= tags.items() and document.get("HyperParameters", {}) == request["HyperParameters"]
    if not is_ours:
        raise NameTaken(
            f"a training job {name} exists already and is not of this trial ({arn}); it is left alone. "
            "Was the store copied, or the sweep run from two stores?"
        )
    return from_description(document)


def _tags(answer: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
