"""What the doctor finds about Docker."""

from __future__ import annotations

from pathlib import Path

from docker import DockerClient

from smsweep.backends.docker.doctor import Check, check_docker
from tests.engine import IMAGE

ENVIRON = {"PATH": "/usr/bin:/bin"}


def test_a_machine_that_is_ready_has_nothing_to_cure(docker_engine: DockerClient, tmp_path: Path) -> None:
    checks = list(check_docker(ENVIRON, tmp_path, IMAGE))
    assert [check for check in checks if not check.is_ok and "GiB" not in check.found] == []
    assert checks[0].what == "Docker Engine"


def test_an_engine_that_does_not_run_is_told_with_its_cure(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    (check,) = check_docker({"DOCKER_HOST": f"unix://{socket}"}, tmp_path)
    assert (check.what, check.found) == ("Docker Engine", f"no socket at {socket}")
    assert check.cure.startswith("start Docker")


def test_an_image_that_is_not_there_is_told_with_its_cure(docker_engine: DockerClient, tmp_path: Path) -> None:
    checks = list(check_docker(ENVIRON, tmp_path, "no-such-image:1"))
    assert (
        Check(
            what="image no-such-image:1",
            found="is not on this machine",
            is_ok=False,
            cure="docker pull no-such-image:1; it is tried when a job needs it",
        )
        in checks
    )


def test_a_container_whose_job_is_gone_is_told_with_its_cure(docker_engine: DockerClient, tmp_path: Path) -> None:
    left = docker_engine.containers.create(IMAGE, ["true"], labels={"smsweep.folder": str(tmp_path / "gone")})
    try:
        cures = [check.cure for check in check_docker(ENVIRON, tmp_path, IMAGE) if not check.is_ok]
        assert any(str(left.name) in cure for cure in cures)
    finally:
        left.remove()
