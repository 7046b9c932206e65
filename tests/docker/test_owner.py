"""Files of a job belong to the user who started it, whichever user the container ran as."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests.docker.conftest import build
from tests.docker.users import SOCKET, USER, as_user
from tests.support.jobs import Jobs
from tools.docker_engine import IMAGE

LITTER = """
import os
os.makedirs('/opt/ml/model/deep', mode=0o700)
open('/opt/ml/model/deep/weights', 'w').write('w')
os.chmod('/opt/ml/model/deep/weights', 0o600)
open('/opt/ml/checkpoints/last', 'w').write('1')
os.symlink('/etc/passwd', '/opt/ml/output/data/link')
"""


@pytest.fixture(scope="module")
def loaded_backend(docker_engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run a job as root, so that this process has loaded each module and each file that a job needs.

    The forked process of USER cannot read these files where the checkout or Python is in a home with mode 0700.
    """
    jobs = Jobs(folder=tmp_path_factory.mktemp("loaded"), kind="docker", image=IMAGE)
    jobs.run("loaded", LITTER)
    jobs.close()


@pytest.fixture
def folder(loaded_backend: None) -> Iterator[Path]:
    """A folder that belongs to USER. Other users cannot read the folders of pytest."""
    if os.getuid() != 0 or not SOCKET.exists():
        pytest.skip("only root can become another user, and the engine needs a socket that USER may use")
    created = Path(tempfile.mkdtemp(prefix="smsweep-owner-"))
    os.chown(created, USER, USER)
    yield created
    shutil.rmtree(created)


def foreign(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.lstat().st_uid != USER]


def test_files_written_by_the_container_belong_to_the_caller(folder: Path) -> None:
    def run() -> None:
        jobs = Jobs(folder=folder, kind="docker", image=IMAGE)
        assert jobs.run("owned", LITTER).status.status == "Completed"
        jobs.close()

    as_user(run)
    assert foreign(folder) == []


def run_and_kill(folder: Path, image: str) -> None:
    jobs = Jobs(folder=folder, kind="docker", image=image)
    name = jobs.start("killed", LITTER + "print('ready', flush=True)\nimport time; time.sleep(60)")
    jobs.until_says(name, "ready")
    jobs.backend.stop(name, grace_s=0)
    assert jobs.finish(name).status.status == "Stopped"
    jobs.close()


def test_files_of_a_killed_container_belong_to_the_caller(folder: Path) -> None:
    as_user(lambda: run_and_kill(folder, IMAGE))
    assert foreign(folder) == []


def test_job_ends_when_its_image_has_no_chown(folder: Path, docker_engine: DockerClient) -> None:
    recipe = f"FROM {IMAGE}\nRUN python3 -c 'import os, shutil; os.remove(shutil.which(\"chown\"))'\n"
    image, _ = docker_engine.images.build(
        fileobj=io.BytesIO(recipe.encode()), tag="smsweep-test-no-chown", rm=True
    )
    as_user(lambda: run_and_kill(folder, str(image.id)))
    assert foreign(folder) == []


def test_target_of_an_outside_link_is_not_changed(folder: Path) -> None:
    before = Path("/etc/passwd").stat()

    def run() -> None:
        jobs = Jobs(folder=folder, kind="docker", image=IMAGE)
        jobs.run("link", LITTER)
        jobs.close()

    as_user(run)
    after = Path("/etc/passwd").stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_results_that_only_root_can_read_are_in_the_archive(folder: Path) -> None:
    def run() -> None:
        jobs = Jobs(folder=folder, kind="docker", image=IMAGE)
        jobs.run("private", LITTER)
        jobs.close()

    as_user(run)
    (archive,) = folder.glob("results/*/output/model.tar.gz")
    with tarfile.open(archive) as model:
        assert model.getnames() == ["deep", "deep/weights"]


def test_image_with_another_user_resumes_from_checkpoints(folder: Path, docker_engine: DockerClient) -> None:
    image = build(docker_engine, "smsweep-test-user", USER="12345")
    script = """
import os
os.makedirs('/opt/ml/checkpoints/deep', exist_ok=True)
file = '/opt/ml/checkpoints/deep/step'
step = int(open(file).read()) if os.path.exists(file) else 0
open(file, 'w').write(str(step + 1))
print(step, os.getuid())
"""

    def run() -> None:
        jobs = Jobs(folder=folder, kind="docker", image=image)
        assert [jobs.run(f"step-{n}", script).lines for n in range(2)] == [("0 12345",), ("1 12345",)]
        jobs.close()

    as_user(run)
    assert foreign(folder) == []
