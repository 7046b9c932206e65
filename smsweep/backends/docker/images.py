"""Images: choose, check and pull a job's image, explain why it cannot run, and copy code out of it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError

from smsweep.aws.image_uris import image_uri, machines
from smsweep.backends.docker.channels import check_channels
from smsweep.backends.docker.containers import LABEL_FOLDER, remove
from smsweep.backends.docker.engine import DEFAULT_IMAGE, EngineFacts, engine_message, is_missing
from smsweep.backends.local import request_fields as local_site
from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.util.atomic_file import POLL_S

log = logging.getLogger(__name__)

ECR = re.compile(r"\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+(?=/)")  # AWS's registries
NOT_FOUND = re.compile(r'exec: "([^"]+)": (?:executable file not found|stat .*: no such file)')
NOT_SEEN = re.compile(r"bind source path does not exist: (\S.*)")
LABEL_BASE = "smsweep.image"  # of an image with requirements: the id of its base image
MALFORMED = re.compile(r"invalid reference format")
ANY_REGION = "us-east-1"  # used without AWS_REGION; every region has the same images
ML = "/opt/ml"
CODE = f"{ML}/code"
ROOT = ("", "0", "root")
_pulling = threading.Lock()  # a second pull of the same image would only wait for the first
_without_code: set[str] = set()  # ids of images that have no CODE


def image_name(request: TrainingJobRequest, default: str) -> str:
    """Return the image of the request, or the default if it has none."""
    return str(request.get("AlgorithmSpecification", {}).get("TrainingImage") or default)


def inspect_image(client: APIClient, image: str) -> dict[str, Any]:
    return dict(client.inspect_image(image))  # type: ignore[no-untyped-call]  # missing in the stubs


def identify(client: APIClient, container: str) -> str:
    """Return the digest of a container's image in its registry; without a registry, the image's id.

    The image's name may refer to a newer image by now. For an image with requirements, use its base image.
    """
    image = ""
    with suppress(APIError):  # the container or the image was removed
        image = client.inspect_container(container)["Image"]
        image = (inspect_image(client, image)["Config"].get("Labels") or {}).get(LABEL_BASE, image)
        image = next(iter(inspect_image(client, image).get("RepoDigests") or ()), image)
    return image


def has_image(client: APIClient, image: str) -> bool:
    """Return True if an image is on this machine.

    Raises:
        JobRejected: If the name is not valid.
    """
    try:
        inspect_image(client, image)
    except APIError as err:
        if MALFORMED.search(engine_message(err)):
            raise JobRejected(
                f"image {image} is not a valid image name; use a name such as repository/name:tag, in lower case"
            ) from err
        if is_missing(err):
            return False
        raise
    return True


def check_default_image(client: APIClient, image: str) -> None:
    """Raise JobRejected if the image is smsweep's default image, and it was not built on this machine."""
    if image == DEFAULT_IMAGE and not has_image(client, image):
        raise JobRejected(
            f"image {DEFAULT_IMAGE} is not on this machine, and job.yaml names no other; {how_to_get(image)}"
        )


def ensure_image(client: APIClient, image: str, check: Callable[[], None]) -> None:
    """Pull the image if it is not on this machine.

    Args:
        client: A client of the engine.
        image: The name of the image.
        check: Called repeatedly. An exception that it raises ends the wait.

    Raises:
        JobRejected: If the image cannot be pulled. The message contains the engine's message.
    """
    if has_image(client, image):
        return
    while not _pulling.acquire(timeout=POLL_S):
        check()
    try:
        if not has_image(client, image):
            _pull(client, image, check)
    finally:
        _pulling.release()


def _pull(client: APIClient, image: str, check: Callable[[], None]) -> None:
    log.warning("pulling image %s, which is not on this machine", image)
    name = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    problem = ""
    try:
        for event in client.pull(name, stream=True, decode=True):
            problem = event.get("error", problem)  # after the start of the answer, errors are events
            check()
    except APIError as err:
        problem = engine_message(err)
    if problem:
        raise JobRejected(
            f"image {image} is not on this machine and cannot be pulled: {problem}; {how_to_get(image)}"
        )


def is_in_ecr(image: str) -> bool:
    """Return True if the image is in Amazon ECR, which always requires a login."""
    return ECR.match(image) is not None


def how_to_get(image: str) -> str:
    """Return how the user can fix a missing image."""
    if image == DEFAULT_IMAGE:
        return (
            f"build it in smsweep's repository (`docker build -t {DEFAULT_IMAGE} -f container/Dockerfile .`), "
            "or set `image_uri` in job.yaml"
        )
    registry = ECR.match(image)
    if registry:
        login = (
            f"aws ecr get-login-password --region {registry['region']} | "
            f"docker login --username AWS --password-stdin {registry[0]}"
        )
        return f"log in to its registry (`{login}`), or set `image_uri` in job.yaml to another image"
    return "check its name, log in to its registry (`docker login`), or build it"


def platform_mismatch(client: APIClient, image: str, facts: EngineFacts) -> str:
    """Return why an image does not fit this machine; "" if it does, or if it was removed."""
    architecture = inspect_image(client, image)["Architecture"] if has_image(client, image) else ""
    if architecture in ("", facts.architecture):
        return ""
    return f"image {image} is for {architecture}, but this machine is {facts.architecture}"


def cannot_start(image: str, err: APIError) -> JobRejected:
    """Return the error for a container that cannot start, with a clear message for known causes."""
    invisible = NOT_SEEN.search(engine_message(err))
    if invisible and Path(invisible[1]).exists():
        return JobRejected(
            f"the Docker Engine is on another machine and has no {invisible[1]}; "
            "set SMSWEEP_DIR to a folder that both machines share, or DOCKER_HOST to an engine on this machine"
        )
    missing = NOT_FOUND.search(engine_message(err))
    if missing is None:
        return JobRejected(f"the Docker Engine cannot start the container: {engine_message(err)}")
    need = "; a job needs one, 3.8 or newer" if missing[1] == "python3" else ""
    return JobRejected(f"image {image} has no `{missing[1]}` on its PATH{need}")


def copy_image_code(client: APIClient, image: str, container: str, folder: JobFolder, *, has_source: bool) -> None:
    """Copy /opt/ml/code of an image into a container that has not been started. Without such code, do nothing.

    The mount of /opt/ml hides the image's code.

    Args:
        client: A client of the engine.
        image: The image.
        container: The container of the job.
        folder: The job's folder.
        has_source: The job has a source, which is added to the image's code. Only root can do that.
    """
    details = inspect_image(client, image)
    is_root = details["Config"].get("User", "").partition(":")[0] in ROOT
    if details["Id"] in _without_code or (has_source and not is_root):
        return
    # The job's container shows the mounted folder instead, so read from a temporary container.
    bare = client.create_container(image, command=["none"], labels={LABEL_FOLDER: str(folder.path)})["Id"]
    try:
        content, _ = client.get_archive(bare, CODE)
        client.put_archive(container, ML, content)
    except APIError as err:
        if not is_missing(err):
            raise
        _without_code.add(details["Id"])
    finally:
        remove(client, bare)


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with its image and the places of its files. See `base.Prepare`.

    Raises:
        JobRejected: If a channel cannot be read, or AWS has no image for the framework.
    """
    check_channels(template.request)
    complete, site = local_site.prepare(template, assets, folder, environ, upload=upload)
    return with_framework_image(complete, environ), site


def with_framework_image(template: JobTemplate, environ: Mapping[str, str]) -> JobTemplate:
    """Return the template with the framework's image in its request. If the request has an image, keep it.

    Args:
        template: The template of the jobs.
        environ: The user's environment variables. AWS_REGION selects the registry.

    Raises:
        JobRejected: If AWS has no image for the framework.
    """
    algorithm = dict(template.request.get("AlgorithmSpecification", {}))
    if not template.framework or "TrainingImage" in algorithm:
        return template
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ANY_REGION
    algorithm["TrainingImage"] = image_uri(template.framework, region, machines(template.request))
    return replace(template, request={**template.request, "AlgorithmSpecification": algorithm})
