"""The checks of the Docker Engine and of images: before a sweep is created, and for `smsweep doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker import APIClient

from smsweep.aws.image_uris import refuse_python
from smsweep.backends.base import Check
from smsweep.backends.docker.containers import LABEL_FOLDER, host_gpus
from smsweep.backends.docker.engine import DockerOptions, Engine, EngineFacts
from smsweep.backends.docker.images import check_image, find_python, image_name, with_framework_image
from smsweep.backends.local import devices
from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.errors import BackendUnavailable, JobRejected, UsageError

LOW_DISK_BYTES = 5_000_000_000  # the image of a deep learning framework is larger


def check_machine(template: JobTemplate, environ: Mapping[str, str], *, pulls: bool) -> None:
    """Check the engine and the image of a template. See `base.CheckMachine`.

    Raises:
        BackendUnavailable: If the engine cannot be reached.
        JobRejected: If the image is missing and cannot be pulled, or if it is for another platform. If a trial
            needs more devices than this machine has.
        UsageError: If a setting is invalid.
    """
    devices.check_machine(template, environ)
    request = with_framework_image(template, environ).request
    engine, options = Engine(environ), DockerOptions.from_environ(environ)
    facts = engine.facts
    with engine.client() as client:
        check_image(client, image_name(request, options.image), facts, pulls=pulls)


def check_python(request: TrainingJobRequest, environ: Mapping[str, str], python: str) -> None:
    """Check the Python of an image on this machine. See `base.CheckPython`."""
    image = image_name(request, DockerOptions.from_environ(environ).image)
    with Engine(environ).client() as client:
        found = find_python(client, image)
    if found:
        refuse_python(image, found, python)


def diagnose(template: JobTemplate, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the checks of the engine and of the template's image.

    The checks end early if the engine cannot be reached.

    Raises:
        JobRejected: If AWS has no image for the template's framework.
    """
    request = with_framework_image(template, environ).request
    engine, options = Engine(environ), DockerOptions()
    try:
        options = DockerOptions.from_environ(environ)
    except UsageError as err:
        variable, _, problem = str(err).partition(": ")
        yield Check(what=variable, result=problem, is_ok=False, fix="correct it, or unset it")
    try:
        facts = engine.facts
        with engine.client() as client:
            info = client.info()
            version = f"{info['ServerVersion']} ({facts.architecture})"
            yield Check(what="Docker Engine", result=version, is_ok=True)
            yield _image(client, image_name(request, options.image), facts)
            yield from _disk(Path(info["DockerRootDir"]))
            yield from _gpus(info)
            yield from _leftovers(client)
    except BackendUnavailable as err:
        problem, _, fix = str(err).removeprefix("the Docker Engine: ").partition("; ")
        yield Check(what="Docker Engine", result=problem, is_ok=False, fix=fix)


def _image(client: APIClient, image: str, facts: EngineFacts) -> Check:
    what = f"image {image}"
    try:
        is_local = check_image(client, image, facts, pulls=False)
    except JobRejected as err:
        problem, _, fix = str(err).removeprefix(f"{what} ").rpartition("; ")
        return Check(what=what, result=problem, is_ok=False, fix=fix)
    return Check(
        what=what, result=facts.architecture if is_local else "not on this machine; a run pulls it", is_ok=True
    )


def _disk(folder: Path) -> Iterator[Check]:
    if not folder.exists():
        return  # the engine is on another machine
    free = shutil.disk_usage(folder).free
    yield Check(
        what="disk of images and containers",
        result=f"{free / 1e9:.1f} GB free in {folder}",
        is_ok=free >= LOW_DISK_BYTES,
        fix="" if free >= LOW_DISK_BYTES else "`docker system prune` removes unused data",
    )


def _gpus(info: Mapping[str, Any]) -> Iterator[Check]:
    gpus = host_gpus()
    if not gpus:
        return
    is_ok = "nvidia" in info.get("Runtimes", {})
    yield Check(
        what="GPUs",
        result=f"{len(gpus)}; containers {'can' if is_ok else 'cannot'} use them",
        is_ok=is_ok,
        fix="" if is_ok else "install nvidia-container-toolkit; `nvidia-ctk runtime configure --runtime=docker`",
    )


def _leftovers(client: APIClient) -> Iterator[Check]:
    """Find containers of jobs whose folder was deleted. No agent removes them."""
    containers = client.containers(all=True, filters={"label": [LABEL_FOLDER]})
    names = [
        each["Names"][0].lstrip("/") for each in containers if not Path(each["Labels"][LABEL_FOLDER]).exists()
    ]
    if names:
        problem = f"{len(names)} of jobs whose folders were deleted"
        yield Check(what="containers", result=problem, is_ok=False, fix=f"docker rm -f {' '.join(names)}")
