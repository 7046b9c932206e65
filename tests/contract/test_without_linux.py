"""Fallbacks for systems without /proc, prctl(2) and other mechanisms of Linux, as on macOS."""

from __future__ import annotations

import functools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from smsweep.backends.process import backend, fork_client
from smsweep.runtime import system
from smsweep.runtime.job import child_reaper
from smsweep.services.agent_ids import is_gone, new_agent_id
from smsweep.store import file_locks
from smsweep.store.open import open_store
from tests.support.jobs import Jobs, running
from tests.support.sweeps import parse_stored
from tests.support.without_linux import hide, interpreter

CLI = "from smsweep.cli.main import main\nraise SystemExit(main())\n"
TRAIN = """
import subprocess, sys
import smsweep
subprocess.Popen(["sleep", sys.argv[1].partition("=")[2]], start_new_session=True)
with smsweep.init() as run:
    run.log({"loss": 1})
"""


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch.setattr)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Jobs whose fork server and entrypoints cannot use what only Linux has."""
    python = str(interpreter(tmp_path))
    monkeypatch.setattr(backend, "ForkClient", functools.partial(fork_client.ForkClient, python=python))
    monkeypatch.setattr(fork_client, "HAS_REAPER", False)
    with closing(Jobs(folder=tmp_path, kind="process")) as opened:
        yield opened


def unique_seconds() -> str:
    return str(10**6 + secrets.randbelow(10**6))  # the argument of `sleep` identifies its process


def wait_until_no_process_has(argument: str) -> None:
    deadline = time.monotonic() + 30
    while argument in {found for argv in running() for found in argv}:
        assert time.monotonic() < deadline, f"a process with the argument {argument} runs"
        time.sleep(0.02)


def test_processes_in_another_session_end_with_their_job_without_a_reaper(jobs: Jobs) -> None:
    seconds = unique_seconds()
    script = f"import subprocess\nsubprocess.Popen(['sleep', '{seconds}'], start_new_session=True)\nprint('done')"
    done = jobs.run("outlive", script)
    assert (done.status.status, done.lines) == ("Completed", ("done",))
    wait_until_no_process_has(seconds)


def test_processes_end_when_their_entrypoint_is_killed_without_proc(jobs: Jobs) -> None:
    seconds = unique_seconds()
    script = f"""
import os, signal, subprocess
for is_apart in (False, True):
    subprocess.Popen(["sleep", "{seconds}"], start_new_session=is_apart)
os.kill(os.getppid(), signal.SIGKILL)
"""
    assert jobs.finish(jobs.start("orphans", script)).status.is_lost
    wait_until_no_process_has(seconds)


def test_job_stops_without_proc(jobs: Jobs) -> None:
    name = jobs.start("stopped", "import time\nprint('ready', flush=True)\ntime.sleep(60)")
    jobs.until_says(name, "ready")
    jobs.backend.stop(name)
    assert jobs.finish(name).status.status == "Stopped"


def test_command_runs_sweep_without_linux(tmp_path: Path) -> None:
    python, seconds = interpreter(tmp_path), unique_seconds()
    (tmp_path / "cli.py").write_text(CLI)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(
        f"{{program: train.py, method: grid, metric: {{name: loss}}, parameters: {{s: {{value: {seconds}}}}}}}"
    )
    done = subprocess.run(
        [python, "cli.py", "run", "sweep.yaml"],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "VIRTUAL_ENV": sys.prefix,
            "PYTHON_WITHOUT_LINUX": str(python),  # also the fork server
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "is finished: 1 finished" in done.stderr
    wait_until_no_process_has(seconds)


def test_fork_server_disables_fork_safety_of_macos(tmp_path: Path) -> None:
    with closing(Jobs(folder=tmp_path, kind="process")) as opened:
        before = {child.pid for child in psutil.Process().children()}
        done = opened.run("first", "import os; print('OBJC_DISABLE_INITIALIZE_FORK_SAFETY' in os.environ)")
        (server,) = [child for child in psutil.Process().children() if child.pid not in before]
        assert server.environ()["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] == "YES"
    assert done.lines == ("False",)


@pytest.mark.usefixtures("hidden")
def test_no_process_adopts_orphans_without_prctl() -> None:
    child_reaper.prepare()
    child_reaper.become_reaper()
    assert not child_reaper.adopts_orphans()
    assert not child_reaper.has_running_orphans()


@pytest.mark.usefixtures("hidden")
def test_process_group_is_alive_without_proc() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        assert child_reaper.is_alive(process.pid)
        process.kill()
    assert not child_reaper.is_alive(process.pid)


@pytest.mark.usefixtures("hidden")
def test_uptime_is_monotonic_clock_without_proc() -> None:
    assert system.uptime_s() == pytest.approx(time.monotonic(), abs=5)


@pytest.mark.usefixtures("hidden")
def test_killed_agent_is_gone_without_proc() -> None:
    host, _, token = new_agent_id().split(":")
    assert (host, len(token)) == (socket.gethostname(), 8)  # without the hash of the boot
    with subprocess.Popen(["sleep", "60"]) as agent:
        agent_id = f"{host}:{agent.pid}:{token}"
        assert not is_gone(agent_id)
        agent.kill()
        while psutil.Process(agent.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert is_gone(agent_id)
    assert is_gone(agent_id)


@pytest.mark.usefixtures("hidden")
@pytest.mark.parametrize(
    ("kind", "is_warned"), [("smbfs", True), ("nfs", True), ("webdav", True), ("apfs", False)]
)
def test_network_drive_is_recognized_without_proc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    is_warned: bool,
) -> None:
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="apfs"),
        SimpleNamespace(mountpoint=str(tmp_path.resolve()), fstype=kind),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    open_store(environ={"SMSWEEP_DIR": str(tmp_path / "home")}, parse=parse_stored).close()
    assert [f"({kind})" in record.getMessage() for record in caplog.records] == [True] * is_warned


@pytest.mark.usefixtures("hidden")
def test_store_opens_with_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, flock = [], file_locks._flock

    def count(fd: int) -> bool:
        asked.append(fd)
        return flock(fd)

    monkeypatch.setattr(file_locks, "_flock", count)
    open_store(environ={"SMSWEEP_DIR": str(tmp_path)}, parse=parse_stored).close()
    assert len(asked) == 2
