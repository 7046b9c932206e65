"""The image a job runs in: named, or our own, and here before its container is created."""

from __future__ import annotations

import threading
from typing import Any

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.engine import is_missing, said
from smsweep.backends.docker.options import DEFAULT_IMAGE
from smsweep.errors import JobRejected
from smsweep.jobs import TrainingJobRequest

_pulling = threading.Lock()  # a second pull of the same image would only wait for the first


def image_name(request: TrainingJobRequest, default: str) -> str:
    return str(request.get("AlgorithmSpecification", {}).get("TrainingImage") or default)


def inspect_image(client: APIClient, image: str) -> dict[str, Any]:
    return dict(client.inspect_image(image))  # type: ignore[no-untyped-call]  # the stubs do not know it


def has_image(client: APIClient, image: str) -> bool:
    try:
        inspect_image(client, image)
    except APIError as err:
        if is_missing(err):
            return False
        raise
    return True


def check_default_image(client: APIClient, image: str) -> None:
    """Raises JobRejected when a job is to run in our own image and nobody has built it."""
    if image == DEFAULT_IMAGE and not has_image(client, image):
        raise JobRejected(
            f"the job names no image, and {DEFAULT_IMAGE} is not built; build it in smsweep's repository "
            f"(`docker build -t {DEFAULT_IMAGE} -f container/Dockerfile .`), or name one: `image_uri` in job.yaml"
        )


def ensure_image(client: APIClient, image: str) -> None:
    """Pull the image unless it is here. Raises JobRejected with the engine's words when it cannot be had."""
    if has_image(client, image):
        return
    with _pulling:
        try:
            client.pull(image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest")
        except APIError as err:
            raise JobRejected(
                f"image {image} is not on this machine and cannot be pulled: {said(err)}; check its name, "
                "log in to its registry (`docker login`), or build it"
            ) from err
