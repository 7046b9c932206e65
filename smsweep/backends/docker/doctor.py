"""The checks of `smsweep doctor` for the Docker backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker import APIClient

from smsweep.backends.base import Check
from smsweep.backends.docker.containers import LABEL_FOLDER, host_gpus
from smsweep.backends.docker.engine import DEFAULT_IMAGE, DockerOptions, Engine, EngineFacts
from smsweep.backends.docker.images import (
    has_image,
    how_to_get,
    is_in_ecr,
    platform_mismatch,
    with_framework_image,
)
from smsweep.core.job import JobTemplate
from smsweep.errors import BackendUnavailable, JobRejected, UsageError

LOW_DISK_BYTES = 5_000_000_000  # the image of a deep learning framework is larger


def diagnose(template: JobTemplate, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the checks of the engine and of the template's image.

    The checks end early if the engine cannot be reached.

    Raises:
        JobRejected: If AWS has no image for the template's framework.
    """
    request = with_framework_image(template, environ).request
    image = request.get("AlgorithmSpecification", {}).get("TrainingImage", "")
    engine, options = Engine(environ), DockerOptions()
    try:
        options = DockerOptions.from_environ(environ)
    except UsageError as err:
        variable, _, found = str(err).partition(": ")
        yield Check(what=variable, found=found, is_ok=False, cure="correct it, or unset it")
    try:
        facts = engine.facts
        with engine.client() as client:
            info = client.info()
            found = f"{info['ServerVersion']} ({facts.architecture})"
            yield Check(what="Docker Engine", found=found, is_ok=True)
            yield _image(client, image or options.image, facts)
            yield from _disk(Path(info["DockerRootDir"]))
            yield from _gpus(info)
            yield from _leftovers(client)
    except BackendUnavailable as err:
        found, _, cure = str(err).removeprefix("the Docker Engine: ").partition("; ")
        yield Check(what="Docker Engine", found=found, is_ok=False, cure=cure)


def _image(client: APIClient, image: str, facts: EngineFacts) -> Check:
    what = f"image {image}"
    try:
        is_available = has_image(client, image)
    except JobRejected as err:
        return Check(what=what, found=str(err).removeprefix(f"{what} "), is_ok=False, cure="image_uri in job.yaml")
    if not is_available:
        can_be_pulled = image != DEFAULT_IMAGE and not is_in_ecr(image)
        cure = f"docker pull {image}; otherwise the first job pulls it" if can_be_pulled else how_to_get(image)
        return Check(what=what, found="is not on this machine", is_ok=False, cure=cure)
    if problem := platform_mismatch(client, image, facts):
        cure = f"docker pull --platform linux/{facts.architecture} {image}, or build it on this machine"
        return Check(what=what, found=problem.removeprefix(f"{what} "), is_ok=False, cure=cure)
    return Check(what=what, found=facts.architecture, is_ok=True)


def _disk(folder: Path) -> Iterator[Check]:
    if not folder.exists():
        return  # the engine is on another machine
    free = shutil.disk_usage(folder).free
    yield Check(
        what="disk of images and containers",
        found=f"{free / 1e9:.1f} GB free in {folder}",
        is_ok=free >= LOW_DISK_BYTES,
        cure="" if free >= LOW_DISK_BYTES else "`docker system prune` removes unused data",
    )


def _gpus(info: Mapping[str, Any]) -> Iterator[Check]:
    gpus = host_gpus()
    if not gpus:
        return
    is_ok = "nvidia" in info.get("Runtimes", {})
    yield Check(
        what="GPUs",
        found=f"{len(gpus)}; containers {'can' if is_ok else 'cannot'} use them",
        is_ok=is_ok,
        cure="" if is_ok else "install nvidia-container-toolkit; `nvidia-ctk runtime configure --runtime=docker`",
    )


def _leftovers(client: APIClient) -> Iterator[Check]:
    """Find containers of jobs whose folder was deleted. No agent removes them."""
    found = client.containers(all=True, filters={"label": [LABEL_FOLDER]})
    names = [each["Names"][0].lstrip("/") for each in found if not Path(each["Labels"][LABEL_FOLDER]).exists()]
    if names:
        found_text = f"{len(names)} of jobs whose folders were deleted"
        yield Check(what="containers", found=found_text, is_ok=False, cure=f"docker rm -f {' '.join(names)}")
