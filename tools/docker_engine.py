"""Docker Engine with a small Python 3 image. It is installed and started on Debian or Ubuntu, where it is allowed.

`python -m tools.docker_engine` starts the engine and reports the result. The engine keeps running for later test
runs.
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

from tools import apt

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".venvs"  # kept between test runs
IMAGE = "smsweep-test-base"
# Base image of container/Dockerfile with its digest, used if a registry is reachable.
PULLED = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "container" / "Dockerfile").read_text(), re.M)[0]
PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
APT_PACKAGES = ("docker.io", "iptables")
DAEMON_PID = Path("/var/run/docker.pid")
CONTAINERD_PID = Path("/var/run/docker/containerd/containerd.pid")
PATIENCE_S = 60
# Attempts in this order: for a normal machine, then for containers and reduced kernels.
DAEMON_FLAGS: Sequence[Sequence[str]] = ([], ["--iptables=false"], ["--iptables=false", "--storage-driver=vfs"])


class NoEngine(Exception):
    """The engine or its image is not available. The message has the reason."""


def connect() -> DockerClient:
    """Return a client of the running engine. Raises NoEngine."""
    try:
        client = DockerClient.from_env(timeout=120)
    except (DockerException, requests.RequestException) as err:
        raise NoEngine(f"no Docker Engine responds: {err}") from err
    return client


def connect_ready() -> DockerClient:
    """Return a client of the running engine, which has the image. Raises NoEngine."""
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
    """Return True if an engine is running or installed."""
    return shutil.which("dockerd") is not None or answers()


def bring_up() -> DockerClient:
    """Install and start what is missing, and return a client of the engine. Raises NoEngine."""
    with (Path(tempfile.gettempdir()) / "smsweep-tests-engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs must not both start the engine
        if not answers():
            _start_engine()
        return connect_ready()


def _start_engine() -> None:
    if "DOCKER_HOST" in os.environ:
        raise NoEngine(f"no Docker Engine responds at DOCKER_HOST {os.environ['DOCKER_HOST']}")
    if not apt.can_install():
        raise NoEngine(
            "no Docker Engine responds; install and start Docker, or run this command as root on Debian or "
            "Ubuntu, to install it"
        )
    if shutil.which("dockerd") is None and (problem := apt.install(APT_PACKAGES)):
        raise NoEngine(problem)
    CACHE.mkdir(exist_ok=True)
    log = CACHE / "dockerd.log"
    if _is_running("dockerd", DAEMON_PID) and _wait_for_answer():
        return  # the engine was starting
    for file, name in ((DAEMON_PID, "dockerd"), (CONTAINERD_PID, "containerd")):
        if not _is_running(name, file):
            file.unlink(missing_ok=True)  # of an ended process; another process can have its id now
    for flags in DAEMON_FLAGS:
        with log.open("ab") as out:
            daemon = subprocess.Popen(
                ["dockerd", *flags], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        if _wait_for_answer(daemon):
            daemon.returncode = 0  # prevents the warning of Popen about a running process
            return
        daemon.terminate()
        daemon.wait()
    raise NoEngine(f"dockerd does not start; the end of {log}:\n{_tail(log)}")


def _wait_for_answer(daemon: subprocess.Popen[bytes] | None = None) -> bool:
    """Return True if the engine responds before its process ends and before the timeout."""
    deadline = time.monotonic() + PATIENCE_S
    while (daemon is None or daemon.poll() is None) and time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.2)
    return False


def _is_running(name: str, file: Path) -> bool:
    """Return True if the process in a pid file is alive and has this name."""
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
    """Create a root file system of this machine's distribution, from the mirror of its apt."""
    if not apt.can_install():
        raise NoEngine(
            f"image {IMAGE} does not exist: {PULLED} cannot be pulled, and a build from packages needs root on "
            f"Debian or Ubuntu; tag an image that has python3, pip and venv as {IMAGE}"
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
    """Return (mirror URL, release name) of the distribution, as configured in apt."""
    codename = ""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            codename = line.partition("=")[2].strip('"')
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]
    for has_updated in (False, True):  # apt has no targets before its first update
        if has_updated and (problem := apt.update()):
            raise NoEngine(problem)
        for line in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines():
            address, release, component = line.split()
            if release == codename and component == "main":
                return address, codename
    raise NoEngine(f"apt has no mirror for {codename or 'this release'}; check /etc/apt")


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
        raise NoEngine(f"{' '.join(argv[:3])} ... exited with code {done.returncode}:\n{done.stdout[-2000:]}")


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
