"""The checks of `smsweep doctor` for Docker: one line for each problem, with a fix."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from docker import DockerClient

from smsweep.backends.docker import doctor, engine
from smsweep.core.job import JobTemplate
from smsweep.services.doctor import examine
from smsweep.services.workspace import Workspace
from tests.docker.registry import FOREIGN_PROGRAM, Registry
from tests.docker.users import SOCKET, as_user
from tests.support.working_dir import NOTHING, WorkingDir
from tools.docker_engine import IMAGE

TEMPLATE = JobTemplate(request={"AlgorithmSpecification": {"TrainingImage": IMAGE}})


@pytest.fixture
def workdir(tmp_path: Path, docker_engine: DockerClient) -> WorkingDir:
    directory = WorkingDir(tmp_path, {"job.yaml": {"image_uri": IMAGE}})
    directory.environ |= {"SMSWEEP_BACKEND": "docker"}
    return directory


def problems(workdir: WorkingDir, environ: Mapping[str, str] = NOTHING, code: int = 1) -> list[str]:
    """Return the lines of the problems."""
    lines = workdir.call("doctor", "--job", "job.yaml", code=code, environ=environ).stdout.splitlines()
    return [line for line in lines if not line.startswith("ok ")]


def test_ready_machine_has_no_problems(workdir: WorkingDir) -> None:
    message = workdir.call("doctor", "--job", "job.yaml").stdout
    assert f"ok       image {IMAGE}: " in message
    assert "ok       disk of images and containers: " in message


def test_stopped_engine_is_reported_with_a_fix(workdir: WorkingDir) -> None:
    assert problems(workdir, {"DOCKER_HOST": f"unix://{workdir.folder}/docker.sock"}) == [
        f"MISSING  Docker Engine: no socket at {workdir.folder}/docker.sock; start Docker "
        "(`sudo systemctl start docker`, or Docker Desktop), install it, or set DOCKER_HOST"
    ]


def test_engine_that_hangs_is_reported_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GREETING_S", 0.2)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "docker.sock"))
        hung.listen()
        (check,) = doctor.diagnose(JobTemplate(request={}), {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    assert (check.is_ok, "timed out" in check.result) == (False, True)


def test_engine_is_optional_for_the_process_backend(workdir: WorkingDir) -> None:
    host = f"unix://{workdir.folder}/docker.sock"
    (line,) = problems(workdir, {"DOCKER_HOST": host, "SMSWEEP_BACKEND": "process"}, code=0)
    assert line.startswith("missing  Docker Engine: no socket at ")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DOCKER_HOST": "tcp://127.0.0.1:9"}, "Connection refused"),
        ({"DOCKER_HOST": "nonsense"}, "nonsense"),
        (
            {"DOCKER_CONTEXT": "nowhere"},
            "Docker context nowhere does not exist; choose one with `docker context use`",
        ),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:9", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/no/such"},
            "no certificates for DOCKER_TLS_VERIFY; set DOCKER_CERT_PATH",
        ),
    ],
)
def test_invalid_engine_setting_is_reported(workdir: WorkingDir, environ: dict[str, str], message: str) -> None:
    (line,) = problems(workdir, environ)
    assert line.startswith("MISSING  Docker Engine: ")
    assert message in line


def test_missing_permission_for_the_engine_is_reported_with_a_fix(workdir: WorkingDir) -> None:
    if os.getuid() != 0 or not SOCKET.exists():
        pytest.skip("only root can become another user")
    home = Path(tempfile.mkdtemp(prefix="smsweep-doctor-"))
    home.chmod(0o755)

    def check_engine() -> None:
        (found,) = [
            each for each in examine(Workspace({"SMSWEEP_DIR": str(home)})) if each.what == "Docker Engine"
        ]
        assert found.result == f"no permission for {SOCKET}"
        assert found.fix == "`sudo usermod -aG docker $USER`, then log in again"

    list(
        examine(Workspace({"SMSWEEP_DIR": str(home)}))
    )  # imports the backends, which USER may not be able to read
    try:
        as_user(check_engine, may_use_engine=False)
    finally:
        shutil.rmtree(home)


def test_missing_image_is_reported_with_a_fix(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text("image_uri: localhost:9/no-such-image:1\n")
    (line,) = problems(workdir)
    assert line.startswith(
        "MISSING  image localhost:9/no-such-image:1: is not on this machine and cannot be pulled: "
    )
    assert line.endswith("; check its name, log in to its registry (`docker login`), or build it")


def test_image_that_a_run_pulls_is_not_a_problem(workdir: WorkingDir, tmp_path: Path) -> None:
    with Registry(text=str(tmp_path)).serve() as registry:
        (workdir.folder / "job.yaml").write_text(f"image_uri: {registry.address}\n")
        message = workdir.call("doctor", "--job", "job.yaml").stdout
        assert not any(path.endswith(registry.layer) for path in registry.asked)
    assert f"ok       image {registry.address}: not on this machine; a run pulls it" in message


def test_missing_framework_image_is_reported_with_the_login(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text('framework: sklearn\nframework_version: "1.2-1"\n')
    (line,) = problems(workdir, {"AWS_REGION": "eu-west-1"})
    assert line.startswith(
        "MISSING  image 141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1"
    )
    assert "aws ecr get-login-password --region eu-west-1 | docker login" in line


@pytest.fixture
def foreign_image(docker_engine: DockerClient, tmp_path: Path) -> Iterator[str]:
    with Registry(text=str(tmp_path), architecture="s390x", python=FOREIGN_PROGRAM).serve() as registry:
        registry.may_go_on.set()
        docker_engine.images.pull(registry.address)
    yield registry.address
    docker_engine.images.remove(registry.address)


def test_image_for_another_architecture_is_reported_with_a_fix(workdir: WorkingDir, foreign_image: str) -> None:
    (workdir.folder / "job.yaml").write_text(f"image_uri: {foreign_image}\n")
    (line,) = problems(workdir)
    assert line.startswith(f"MISSING  image {foreign_image}: is for s390x, but this machine is ")
    assert "; `docker pull --platform linux/" in line


def test_nearly_full_disk_is_reported_with_a_fix(
    docker_engine: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 60)
    (found,) = [check for check in doctor.diagnose(TEMPLATE, {}) if check.what == "disk of images and containers"]
    assert not found.is_ok
    assert found.fix == "`docker system prune` removes unused data"


def test_invalid_setting_is_reported(workdir: WorkingDir) -> None:
    assert problems(workdir, {"SMSWEEP_DOCKER_MEMORY": "lots"}) == [
        "MISSING  SMSWEEP_DOCKER_MEMORY: expected a size such as 512m or 4g, got 'lots'; correct it, or unset it"
    ]


def test_container_of_a_deleted_job_is_reported_with_a_fix(
    workdir: WorkingDir, docker_engine: DockerClient
) -> None:
    left = docker_engine.containers.create(
        IMAGE, ["true"], labels={"smsweep.folder": str(workdir.folder / "gone")}
    )
    try:
        (line,) = problems(workdir)
        assert line.endswith(f"; docker rm -f {left.name}")
    finally:
        left.remove()
