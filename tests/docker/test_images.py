"""The images of jobs: pulls, and errors for images that are missing or cannot run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

from smsweep.backends.docker.images import how_to_get
from smsweep.core.failure_kind import affects_every_trial
from tests.docker.registry import FOREIGN_PROGRAM, Registry
from tests.support.jobs import Jobs


@pytest.fixture
def registry(jobs: Jobs, docker_engine: DockerClient) -> Iterator[Registry]:
    """A registry whose image no earlier test has pulled."""
    with Registry(text=jobs.prefix).serve() as served:
        jobs.image = served.address
        yield served
    try:
        docker_engine.images.remove(served.address, force=True)
    except ImageNotFound:
        return


def test_missing_image_is_pulled_once_for_all_jobs(jobs: Jobs, registry: Registry) -> None:
    names = [jobs.start(f"pull-{number}", "") for number in range(2)]
    registry.until_asked_for_layer()
    registry.may_go_on.set()
    reasons = {jobs.finish(name).status.failure_reason for name in names}
    assert reasons == {f"image {registry.address} has no `python3` on its PATH; a job needs one, 3.8 or newer"}
    assert len([path for path in registry.asked if path.endswith(registry.layer)]) == 1


def test_job_ends_when_it_is_stopped_during_the_pull(jobs: Jobs, registry: Registry) -> None:
    name = jobs.start("slow", "")
    registry.until_asked_for_layer()
    jobs.backend.stop(name)
    registry.may_go_on.set()
    assert jobs.finish(name).status.status == "Stopped"


def test_interrupted_pull_fails_with_the_image_name(jobs: Jobs, registry: Registry) -> None:
    registry.is_broken = True
    reason = jobs.run("broken", "").status.failure_reason
    assert reason.startswith(f"image {registry.address} is not on this machine and cannot be pulled: ")


@pytest.mark.parametrize("name", ["Not Valid!!", "UPPER/case:1", "a:b:c"])
def test_invalid_image_name_fails_and_is_not_retried(jobs: Jobs, name: str) -> None:
    jobs.image = name
    reason = jobs.run("name", "").status.failure_reason
    assert reason.startswith(f"image {name} is not a valid image name")
    assert affects_every_trial(reason)


def test_requirements_fail_with_the_image_name_when_it_has_no_python(jobs: Jobs, registry: Registry) -> None:
    registry.may_go_on.set()
    reason = jobs.run("pip", "", files={"requirements.txt": "numpy"}).status.failure_reason
    assert reason == f"image {registry.address} has no `python3` on its PATH; a job needs one, 3.8 or newer"


def test_image_of_another_architecture_fails_with_its_name(jobs: Jobs, docker_engine: DockerClient) -> None:
    with Registry(text=jobs.prefix, architecture="s390x", python=FOREIGN_PROGRAM).serve() as registry:
        registry.may_go_on.set()
        jobs.image = registry.address
        reason = jobs.run("other", "").status.failure_reason
        docker_engine.images.remove(registry.address)
    assert reason.startswith(f"image {registry.address} is for s390x, but this machine is ")


def test_image_digest_is_stored_although_the_tag_has_changed(jobs: Jobs, docker_engine: DockerClient) -> None:
    image, repository = docker_engine.images.get(jobs.image), jobs.prefix
    image.tag(repository, "moving")
    jobs.image = f"{repository}:moving"
    try:
        name = jobs.start("moved", "print('runs', flush=True); import time; time.sleep(1)")
        jobs.until_says(name, "runs")
        docker_engine.images.remove(jobs.image)
        results = jobs.finish(name).status.results
    finally:
        with suppress(ImageNotFound):
            docker_engine.images.remove(jobs.image)
    assert results is not None
    assert results.image == image.id


def test_error_for_an_ecr_image_has_the_login_command() -> None:
    advice = how_to_get("763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.3.0-cpu-py311")
    assert (
        "`aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin "
        "763104351884.dkr.ecr.eu-west-1.amazonaws.com`"
    ) in advice
    assert "`image_uri` in job.yaml" in advice
