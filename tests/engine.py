"""A Docker Engine and a small image with Python 3, brought up on a bare Debian or Ubuntu where that is allowed.

`python -m tests.engine` does it and says what it did, or what is missing. The engine is left running for the next
run of the tests, as a system's own would be.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import requests
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound

from tests import apt

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".venvs"  # kept between test runs
IMAGE = "smsweep-test-base"
# Where a registry can be reached: the base image of container/Dockerfile, by its digest.
PULLED = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "container" / "Dockerfile").read_text(), re.M)[0]
PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
APT_PACKAGES = ("docker.io", "iptables")
DAEMON_PID = Path("/var/run/docker.pid")
CONTAINERD_PID = Path("/var/run/docker/containerd/containerd.pid")
PATIENCE_S = 60
# Tried in this order: what a plain machine takes, then what is left inside a container or a stripped kernel.
DAEMON_FLAGS: Sequence[Sequence[str]] = ([], ["--iptables=false"], ["--iptables=false", "--storage-driver=vfs"])


class NoEngine(Exception):
    """There is no engine, or no image for it, and it cannot be had here; says why."""


def connect() -> DockerClient:
    """Return a client of the engine that is there. Raises NoEngine."""
    try:
        client = DockerClient.from_env(timeout=120)
    except (DockerException, requests.RequestException) as err:
        raise NoEngine(f"no Docker Engine answers: {err}") from err
    return client


def connect_ready() -> DockerClient:
    """Return a client of the engine that is there, with the image. Raises NoEngine."""
    client = connect()
    try:
        _ensure_image(client)
    except BaseException:
        client.close()
        raise
    return client


def answers() -> bool:
    try:
        connect().close()
    except NoEngine:
        return False
    return True


def can_start() -> bool:
    """Tell whether there is an engine, or the program of one."""
    return shutil.which("dockerd") is not None or answers()


def bring_up() -> DockerClient:
    """Return a client of an engine with the image; what is missing is installed and started. Raises NoEngine."""
    with (Path(tempfile.gettempdir()) / "smsweep-tests-engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two runs in two folders, one starts it
        if not answers():
            _start_engine()
        return connect_ready()


def _start_engine() -> None:
    if "DOCKER_HOST" in os.environ:
        raise NoEngine(f"nothing answers at DOCKER_HOST, {os.environ['DOCKER_HOST']}")
    if not apt.can_install():
        raise NoEngine(
            "no Docker Engine answers; install Docker and start it, or run this as root on Debian or Ubuntu, "
            "where it does it"
        )
    if shutil.which("dockerd") is None and (problem := apt.install(APT_PACKAGES)):
        raise NoEngine(problem)
    CACHE.mkdir(exist_ok=True)
    log = CACHE / "dockerd.log"
    if _is_running("dockerd", DAEMON_PID) and _wait_for_answer():
        return  # it was about to
    for file, name in ((DAEMON_PID, "dockerd"), (CONTAINERD_PID, "containerd")):
        if not _is_running(name, file):
            file.unlink(missing_ok=True)  # of one that died, its number perhaps somebody else's by now
    for flags in DAEMON_FLAGS:
        with log.open("ab") as out:
            daemon = subprocess.Popen(
                ["dockerd", *flags], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        if _wait_for_answer(daemon):
            daemon.returncode = 0  # it goes on without us, and Popen need not warn
            return
        daemon.terminate()
        daemon.wait()
    raise NoEngine(f"dockerd does not start; its last words in {log}:\n{_tail(log)}")


def _wait_for_answer(daemon: subprocess.Popen[bytes] | None = None) -> bool:
    """Return whether the engine answers before its process, where that is known, ends or patience does."""
    deadline = time.monotonic() + PATIENCE_S
    while (daemon is None or daemon.poll() is None) and time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.2)
    return False


def _is_running(name: str, file: Path) -> bool:
    """Return whether the process that the file names is one of that name, and alive."""
    try:
        pid = int(file.read_text())
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (OSError, ValueError):
        return False
    return before.endswith(f"({name}") and after.split()[0] not in "ZX"


def _ensure_image(client: DockerClient) -> None:
    try:
        client.images.get(IMAGE)
    except ImageNotFound:
        cached = CACHE / "base-image.tar"
        if not cached.exists() and _pull(client):
            return
        if not cached.exists():
            _bootstrap(cached)
        client.api.import_image_from_file(str(cached), repository=IMAGE, tag="latest")


def _pull(client: DockerClient) -> bool:
    try:
        client.images.pull(PULLED).tag(IMAGE)
    except (APIError, requests.RequestException):
        return False
    return True


def _bootstrap(target: Path) -> None:
    """Make a root file system of this machine's own distribution, from where its apt gets things."""
    if not apt.can_install():
        raise NoEngine(
            f"there is no image {IMAGE}: {PULLED} cannot be pulled, and building one from packages takes root on "
            f"Debian or Ubuntu; tag any image that has python3, pip and venv as {IMAGE}"
        )
    if shutil.which("debootstrap") is None and (problem := apt.install(["debootstrap"])):
        raise NoEngine(problem)
    mirror, codename = _mirror()
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="smsweep-base-") as scratch:
        root = Path(scratch) / "root"
        include = f"--include={','.join(PACKAGES)}"
        _run(
            [
                "debootstrap",
                "--variant=minbase",
                "--components=main,universe",
                include,
                codename,
                str(root),
                mirror,
            ]
        )
        draft = target.with_suffix(".part")
        _run(["tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(draft), "."])
        draft.rename(target)


def _mirror() -> tuple[str, str]:
    """Return the address and the release name of the distribution's main part, as apt is configured."""
    codename = ""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            codename = line.partition("=")[2].strip('"')
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]
    for has_updated in (False, True):  # without lists, as images come, apt names no targets
        if has_updated and (problem := apt.update()):
            raise NoEngine(problem)
        for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines():
            address, release, component = line.split()
            if release == codename and component == "main":
                return address, codename
    raise NoEngine(f"apt knows no mirror for {codename or 'this release'}; check /etc/apt")


def _run(argv: Sequence[str]) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environ,
    )
    if done.returncode:
        raise NoEngine(f"{' '.join(argv[:3])} ... ended with {done.returncode}:\n{done.stdout[-2000:]}")


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-10:])


def main() -> int:
    try:
        client = bring_up()
    except NoEngine as err:
        print(err, file=sys.stderr)
        return 1
    print(f"Docker Engine {client.version()['Version']} with {IMAGE}")
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
