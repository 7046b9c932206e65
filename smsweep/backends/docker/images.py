"""Images: choose, check and pull a job's image, explain why it cannot run, and copy code out of it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from docker import APIClient
from docker.errors import APIError, DockerException

from smsweep.aws.image_uris import ECR, image_uri, machines
from smsweep.backends.docker.channels import check_channels
from smsweep.backends.docker.containers import LABEL_FOLDER, remove
from smsweep.backends.docker.engine import DEFAULT_IMAGE, EngineFacts, engine_message, is_missing
from smsweep.backends.local import request_fields as local_site
from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.util.atomic_file import POLL_S
from smsweep.util.terminal_text import NOTE

log = logging.getLogger(__name__)

NOT_FOUND = re.compile(r'exec: "([^"]+)": (?:executable file not found|stat .*: no such file)')
NOT_SEEN = re.compile(r"bind source path does not exist: (\S.*)")
LABEL_BASE = "smsweep.image"  # of an image with requirements: the id of its base image
MALFORMED = re.compile(r"invalid reference format")
ANY_REGION = "us-east-1"  # used without AWS_REGION; every region has the same images
REGISTRY_S = 10  # timeout of a registry
PROGRESS_S = 3.0  # between two messages during a pull
# The job's script runs with `python` of PATH. An image without `python` uses python3.
PYTHON_VERSION = """
import os, shutil, sys
python = shutil.which("python") or sys.executable
os.execv(python, [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
"""
ML = "/opt/ml"
CODE = f"{ML}/code"
ROOT = ("", "0", "root")
# Missing program -> why a job needs it.
NEEDS = {
    "python3": "; a job needs one, 3.8 or newer",
    "train": "; without a program in sweep.yaml, an image runs `train`, as on SageMaker",
}
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


def check_image(client: APIClient, image: str, facts: EngineFacts, *, pulls: bool) -> bool:
    """Check that jobs of an image can run on this machine.

    Args:
        client: A client of the engine.
        image: The name of the image.
        facts: The properties of the engine.
        pulls: Pull a missing image. False only checks that its registry has the image.

    Returns:
        True if the image is on this machine; False if it can be pulled.

    Raises:
        JobRejected: If the image is missing and cannot be pulled, or if it is for another platform.
    """
    if pulls:
        ensure_image(client, image, lambda: None)
    elif not has_image(client, image):
        _check_registry(client, image)
        return False
    problem = platform_mismatch(client, image, facts)
    if problem and not _has_emulation(client, image):
        platform = f"linux/{facts.architecture}"
        raise JobRejected(f"{problem}; `docker pull --platform {platform} {image}`, or build it on this machine")
    return True


def _check_registry(client: APIClient, image: str) -> None:
    """Raise JobRejected if the image's registry cannot be reached or does not have the image."""
    before, client.timeout = client.timeout, REGISTRY_S
    try:
        client.inspect_distribution(image)  # type: ignore[no-untyped-call]  # missing in the stubs
    except requests.Timeout as err:
        raise _cannot_be_pulled(image, f"its registry does not answer within {REGISTRY_S} s") from err
    except DockerException as err:
        raise _cannot_be_pulled(image, _problem(err)) from err
    finally:
        client.timeout = before


def _has_emulation(client: APIClient, image: str) -> bool:
    """Return True if python3 of an image for another platform runs here, as on Docker Desktop."""
    container = client.create_container(image, entrypoint=["python3", "-V"])["Id"]
    try:
        client.start(container)
        return bool(client.wait(container)["StatusCode"] == 0)
    except APIError:
        return False
    finally:
        remove(client, container)


def find_python(client: APIClient, image: str) -> str:
    """Return the version of the Python that runs the scripts of jobs of an image; "" if it has none.

    Args:
        client: A client of the engine.
        image: An image on this machine.
    """
    container = client.create_container(image, entrypoint=["python3", "-c", PYTHON_VERSION])["Id"]
    try:
        client.start(container)
        has_failed = client.wait(container)["StatusCode"] != 0
        return "" if has_failed else str(client.logs(container, stderr=False).decode()).strip()
    except APIError:  # python3 is missing, or is for another platform
        return ""
    finally:
        remove(client, container)


def _cannot_be_pulled(image: str, problem: str) -> JobRejected:
    return JobRejected(
        f"image {image} is not on this machine and cannot be pulled: {problem}; {how_to_get(image)}"
    )


def _problem(err: DockerException) -> str:
    return engine_message(err) if isinstance(err, APIError) else str(err)


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
    progress = PullProgress(image)
    name = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    problem = ""
    try:
        for event in client.pull(name, stream=True, decode=True):
            problem = event.get("error", problem)  # after the start of the answer, errors are events
            progress.add(event)
            check()
    except DockerException as err:  # also of a program that stores the registry's password
        problem = _problem(err)
    if problem:
        raise _cannot_be_pulled(image, problem)
    log.log(NOTE, "pulled image %s", image)


class PullProgress:
    """Logs how much of an image was downloaded, every few seconds.

    Args:
        image: The name of the image.
        clock: A time in seconds.
    """

    def __init__(self, image: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._image = image
        self._clock = clock
        self._next_s = clock() + PROGRESS_S
        self._layers: dict[str, tuple[int, int]] = {}  # bytes of each layer: downloaded, total

    def add(self, event: Mapping[str, Any]) -> None:
        """Add an event of a pull, as the engine sends it."""
        layer, detail = event.get("id", ""), event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = detail["current"], detail["total"]
        elif event.get("status") == "Download complete" and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2
        if self._layers and self._clock() >= self._next_s:
            self._next_s = self._clock() + PROGRESS_S
            done, total = (sum(sizes) / 1e6 for sizes in zip(*self._layers.values(), strict=True))
            log.log(NOTE, "image %s: %.0f of %.0f MB", self._image, done, total)


def how_to_get(image: str) -> str:
    """Return how the user can fix a missing image."""
    if image == DEFAULT_IMAGE:
        return "check the network, or set `image_uri` in job.yaml or SMSWEEP_DOCKER_IMAGE to another image"
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
    need = NEEDS.get(missing[1], "")
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
