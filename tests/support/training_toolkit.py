"""AWS's sagemaker-training toolkit: its sources, and an image that runs jobs with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

from tools.docker_engine import CACHE, IMAGE
from tools.environments import IN_CONTAINERS, oracle
from tools.pins import pinned

VERSION = "5.1.4"
SHA256 = "4b6147670ccee4b14cbd86dbfdf416fcfffe486b3ef7ac8d1caf6bc361386121"
# The toolkit has no wheel, so it cannot be in the pinned files.
SDIST = f"sagemaker-training=={VERSION} --hash=sha256:{SHA256}\n"
TOOLKIT_IMAGE = f"smsweep-test-toolkit:{VERSION}"
TRAIN = "#!/usr/bin/env python3\nfrom sagemaker_training.cli.train import main\n\nmain()\n"
DOCKERFILE = f"""\
FROM {IMAGE}
COPY packages /opt/toolkit
COPY train /usr/local/bin/train
RUN chmod 755 /usr/local/bin/train
ENV PYTHONPATH=/opt/toolkit PIP_BREAK_SYSTEM_PACKAGES=1
"""


def toolkit_sources() -> Path:
    """Return the toolkit's Python sources from PyPI. If the download fails, the test is skipped."""
    home = CACHE / f"sagemaker-training-{VERSION}"
    if not home.exists():
        CACHE.mkdir(exist_ok=True)
        wanted = CACHE / "toolkit.txt"
        wanted.write_text(SDIST)
        # pip runs setup.py for the metadata, with the pinned setuptools of the environment.
        source = ["--no-binary", ":all:", "--no-build-isolation", "--dest", str(CACHE)]
        _pip([*pinned("download", wanted), *source])
        (archive,) = CACHE.glob(f"sagemaker[_-]training-{VERSION}.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(CACHE / "toolkit.part", filter="data")
        (created,) = (CACHE / "toolkit.part").iterdir()
        # Only MPI needs this C library, and its compilation needs a compiler.
        (created / "src" / "gethostname.py").touch()
        created.rename(home)
        (CACHE / "toolkit.part").rmdir()
    return home / "src"


def ensure_toolkit_image(engine: DockerClient, scratch: Path) -> str:
    """Return the name of the image, and build it if necessary. scratch: an empty folder for the build."""
    try:
        engine.images.get(TOOLKIT_IMAGE)
    except ImageNotFound:
        python = engine.containers.run(IMAGE, ["python3", "-V"], remove=True).decode().split()[1]
        packages = scratch / "packages"
        shutil.copytree(toolkit_sources(), packages)
        version = ".".join(python.split(".")[:2])
        wanted = scratch / "toolkit.txt"
        wanted.write_text(IN_CONTAINERS["toolkit"].pins())
        _pip([*pinned("install", wanted), "--python-version", version, "--target", str(packages)])
        (scratch / "train").write_text(TRAIN)
        (scratch / "Dockerfile").write_text(DOCKERFILE)
        engine.images.build(path=str(scratch), tag=TOOLKIT_IMAGE, rm=True)
    return TOOLKIT_IMAGE


def _pip(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [str(oracle("tools").python), "-m", "pip", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = f"cannot fetch the toolkit: {done.stderr[-500:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
