"""What stands between this machine and its first job in a container, and the cure of each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker import APIClient

from smsweep.backends.base import Check
from smsweep.backends.docker.containers import LABEL_FOLDER, host_gpus
from smsweep.backends.docker.engine import DEFAULT_IMAGE, DockerOptions, Engine, EngineFacts
from smsweep.backends.docker.images import has_image, how_to_get, is_awss, misfit, with_framework_image
from smsweep.core.job import JobTemplate
from smsweep.errors import BackendUnavailable, JobRejected, UsageError

LOW_DISK_BYTES = 5_000_000_000  # an image of a deep learning framework takes more


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
        yield Check(what=variable, found=found, is_ok=False, cure="set it anew, or unset it")
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
        is_here = has_image(client, image)
    except JobRejected as err:
        return Check(what=what, found=str(err).removeprefix(f"{what} "), is_ok=False, cure="image_uri in job.yaml")
    if not is_here:
        is_to_be_pulled = image != DEFAULT_IMAGE and not is_awss(image)
        cure = f"docker pull {image}; it is tried when a job needs it" if is_to_be_pulled else how_to_get(image)
        return Check(what=what, found="is not on this machine", is_ok=False, cure=cure)
    if trouble := misfit(client, image, facts):
        cure = f"docker pull --platform linux/{facts.architecture} {image}, or build it here"
        return Check(what=what, found=trouble.removeprefix(f"{what} "), is_ok=False, cure=cure)
    return Check(what=what, found=facts.architecture, is_ok=True)


def _disk(folder: Path) -> Iterator[Check]:
    if not folder.exists():
        return  # of an engine on another machine
    free = shutil.disk_usage(folder).free
    yield Check(
        what="disk of images and containers",
        found=f"{free / 1e9:.1f} GB free in {folder}",
        is_ok=free >= LOW_DISK_BYTES,
        cure="" if free >= LOW_DISK_BYTES else "`docker system prune` removes what nothing uses",
    )


def _gpus(info: Mapping[str, Any]) -> Iterator[Check]:
    gpus = host_gpus()
    if not gpus:
        return
    is_ok = "nvidia" in info.get("Runtimes", {})
    yield Check(
        what="GPUs",
        found=f"{len(gpus)}, {'which' if is_ok else 'but none that'} containers can use",
        is_ok=is_ok,
        cure="" if is_ok else "install nvidia-container-toolkit; `nvidia-ctk runtime configure --runtime=docker`",
    )


def _leftovers(client: APIClient) -> Iterator[Check]:
    """Find containers of jobs whose folder somebody deleted: nobody will ever look after them."""
    found = client.containers(all=True, filters={"label": [LABEL_FOLDER]})
    names = [one["Names"][0].lstrip("/") for one in found if not Path(one["Labels"][LABEL_FOLDER]).exists()]
    if names:
        found_text = f"{len(names)} of jobs whose folders are gone"
        yield Check(what="containers", found=found_text, is_ok=False, cure=f"docker rm -f {' '.join(names)}")
