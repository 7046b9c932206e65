"""The image a job runs in: named, or our own, and here before its container is created."""

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
from smsweep.backends.docker.engine import DEFAULT_IMAGE, EngineFacts, is_missing, said
from smsweep.backends.local import request_fields as local_site
from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.job import JobTemplate, Site, TrainingJobRequest
from smsweep.errors import JobRejected
from smsweep.util.atomic_file import POLL_S

log = logging.getLogger(__name__)

ECR = re.compile(r"\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+(?=/)")  # AWS's registries
NOT_FOUND = re.compile(r'exec: "([^"]+)": (?:executable file not found|stat .*: no such file)')
NOT_SEEN = re.compile(r"bind source path does not exist: (\S.*)")
LABEL_BELOW = "smsweep.image"  # of a layer with requirements: the id of the image that it lies on
MALFORMED = re.compile(r"invalid reference format")
_pulling = threading.Lock()  # a second pull of the same image would only wait for the first
ANY_REGION = "us-east-1"  # every region has the same images; this one's are for who has not chosen any


def image_name(request: TrainingJobRequest, default: str) -> str:
    return str(request.get("AlgorithmSpecification", {}).get("TrainingImage") or default)


def inspect_image(client: APIClient, image: str) -> dict[str, Any]:
    return dict(client.inspect_image(image))  # type: ignore[no-untyped-call]  # the stubs do not know it


def identify(client: APIClient, container: str) -> str:
    """Return the digest in a registry, else the id, of the image that a container was made of.

    What its name means by now may be another one. Of a layer with requirements it is the image below.
    """
    found = ""
    with suppress(APIError):  # what was removed meanwhile says no more
        found = client.inspect_container(container)["Image"]
        found = (inspect_image(client, found)["Config"].get("Labels") or {}).get(LABEL_BELOW, found)
        found = next(iter(inspect_image(client, found).get("RepoDigests") or ()), found)
    return found


def has_image(client: APIClient, image: str) -> bool:
    """Tell whether an image is here. Raises JobRejected for what cannot be one's name."""
    try:
        inspect_image(client, image)
    except APIError as err:
        if MALFORMED.search(said(err)):
            raise JobRejected(
                f"image {image} is no image's name; expected one such as repository/name:tag in lower case"
            ) from err
        if is_missing(err):
            return False
        raise
    return True


def check_default_image(client: APIClient, image: str) -> None:
    """Raises JobRejected when a job is to run in our own image and nobody has built it."""
    if image == DEFAULT_IMAGE and not has_image(client, image):
        raise JobRejected(
            f"image {DEFAULT_IMAGE} is not on this machine, and the job names no other; {how_to_get(image)}"
        )


def ensure_image(client: APIClient, image: str, check: Callable[[], None]) -> None:
    """Pull the image unless it is here. Raises JobRejected with the engine's words when it cannot be had.

    check: called now and then; what it raises ends the waiting.
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
    trouble = ""
    try:
        for event in client.pull(name, stream=True, decode=True):
            trouble = event.get("error", trouble)  # the answer has begun: it is no APIError any more
            check()
    except APIError as err:
        trouble = said(err)
    if trouble:
        raise JobRejected(
            f"image {image} is not on this machine and cannot be pulled: {trouble}; {how_to_get(image)}"
        )


def is_awss(image: str) -> bool:
    """Tell whether an image's registry is one of AWS's, which want a login for everything."""
    return ECR.match(image) is not None


def how_to_get(image: str) -> str:
    """Return what a person may do about an image that is missing."""
    if image == DEFAULT_IMAGE:
        return (
            f"build it in smsweep's repository (`docker build -t {DEFAULT_IMAGE} -f container/Dockerfile .`), "
            "or name one: `image_uri` in job.yaml"
        )
    registry = ECR.match(image)
    if registry:
        login = (
            f"aws ecr get-login-password --region {registry['region']} | "
            f"docker login --username AWS --password-stdin {registry[0]}"
        )
        return f"log in to its registry (`{login}`), or name another image: `image_uri` in job.yaml"
    return "check its name, log in to its registry (`docker login`), or build it"


def misfit(client: APIClient, image: str, facts: EngineFacts) -> str:
    """Say so when an image is for other machines than this; "" when it is not, or is gone."""
    architecture = inspect_image(client, image)["Architecture"] if has_image(client, image) else ""
    if architecture in ("", facts.architecture):
        return ""
    return f"image {image} is for {architecture}, this machine is {facts.architecture}"


def cannot_start(image: str, err: APIError) -> JobRejected:
    """Return the engine's refusal to start a container of an image, plainer where a program is missing."""
    unseen = NOT_SEEN.search(said(err))
    if unseen and Path(unseen[1]).exists():
        return JobRejected(
            f"the Docker Engine does not see {unseen[1]}, which is here: it is another machine's; "
            "set SMSWEEP_DIR to a folder that both share, or DOCKER_HOST to an engine of this machine"
        )
    missing = NOT_FOUND.search(said(err))
    if missing is None:
        return JobRejected(f"the Docker Engine cannot run it: {said(err)}")
    need = "; a job needs one, 3.8 or newer" if missing[1] == "python3" else ""
    return JobRejected(f"image {image} has no `{missing[1]}` on its PATH{need}")


ML = "/opt/ml"


CODE = f"{ML}/code"


ROOT = ("", "0", "root")


_bring_none: set[str] = set()  # ids of images that were looked into, and have no code


def bring_code(client: APIClient, image: str, container: str, folder: JobFolder, *, has_source: bool) -> None:
    """Copy an image's code into a container of the job that has not been started. No-op where it brings none.

    has_source: the job's own source comes on top, which only root may put among files of root's.
    """
    details = inspect_image(client, image)
    is_root = details["Config"].get("User", "").partition(":")[0] in ROOT
    if details["Id"] in _bring_none or (has_source and not is_root):
        return
    # One more container, because the job's shows what is mounted there.
    bare = client.create_container(image, command=["none"], labels={LABEL_FOLDER: str(folder.path)})["Id"]
    try:
        content, _ = client.get_archive(bare, CODE)
        client.put_archive(container, ML, content)
    except APIError as err:
        if not is_missing(err):
            raise
        _bring_none.add(details["Id"])
    finally:
        remove(client, bare)


def prepare(
    template: JobTemplate, assets: Path, folder: Path, environ: Mapping[str, str], *, upload: bool
) -> tuple[JobTemplate, Site]:
    """Return the template with its image and the places of its files. See `spec.Prepare`.

    Raises:
        JobRejected: If a channel cannot be read, or AWS has no image for the framework.
    """
    check_channels(template.request)
    complete, site = local_site.prepare(template, assets, folder, environ, upload=upload)
    return with_framework_image(complete, environ), site


def with_framework_image(template: JobTemplate, environ: Mapping[str, str]) -> JobTemplate:
    """Return the template with the framework's image in its request, unless that names one.

    environ: AWS_REGION says which region's registry. Raises JobRejected for a framework that AWS has no image of.
    """
    algorithm = dict(template.request.get("AlgorithmSpecification", {}))
    if not template.framework or "TrainingImage" in algorithm:
        return template
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ANY_REGION
    algorithm["TrainingImage"] = image_uri(template.framework, region, machines(template.request))
    return replace(template, request={**template.request, "AlgorithmSpecification": algorithm})
