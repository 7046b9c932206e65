"""Behavior of the process backend beyond the contract of all backends."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.process import fork_client
from smsweep.errors import JobError
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import create
from tests.support.jobs import Jobs, running


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc/PID/environ")
def test_processes_end_when_their_entrypoint_is_killed(tmp_path: Path) -> None:
    seconds = str(10**6 + secrets.randbelow(10**6))  # the argument identifies the children
    script = f"""
import os, signal, subprocess
for is_apart in (False, True):
    subprocess.Popen(["sleep", "{seconds}"], start_new_session=is_apart)
os.kill(os.getppid(), signal.SIGKILL)
"""
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        name = jobs.start("orphans", script)
        assert jobs.finish(name).status.is_lost
        deadline = time.monotonic() + 30
        while seconds in {argument for argv in running() for argument in argv}:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("exit_code", [0, 1])
def test_job_is_lost_when_it_is_stopped_outside_smsweep(tmp_path: Path, exit_code: int) -> None:
    """A scheduler that preempts an agent also signals its jobs. They can end before the agent orders a stop."""
    script = f"""
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({exit_code}))
print("ready", flush=True)
time.sleep(60)
"""
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        name = jobs.start("preempted", script)
        jobs.until_says(name, "ready")
        folder = JobFolder(jobs.ml("preempted").parent)
        os.kill(folder.pid(), signal.SIGTERM)
        while folder.is_alive():
            time.sleep(0.01)
        jobs.backend.stop(name)
        status = jobs.finish(name).status
    assert (status.status, status.exit_code, status.is_lost) == ("Failed", exit_code, True)
    assert status.failure_reason.startswith("stopped outside smsweep; stopped: was sent SIGTERM")


def test_job_starts_after_the_agents_working_directory_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    jobs = Jobs(folder=tmp_path, kind="process")
    gone.rmdir()
    with closing(jobs):
        assert jobs.run("later", "print('done')").lines == ("done",)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux allows folder names that are not UTF-8"
)
def test_job_runs_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with closing(Jobs(folder=folder, kind="process")) as jobs:
        assert jobs.run("named", "print('done')").lines == ("done",)


def test_interrupted_fork_server_exits_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = children()
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        jobs.run("first", "")
        (server,) = children() - before
        os.kill(server, signal.SIGINT)
        os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
        assert jobs.run("second", "print('done')").lines == ("done",)
    assert capfd.readouterr().err == ""


def test_job_with_a_large_environment_starts_during_a_signal(tmp_path: Path) -> None:
    before = children()
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        jobs.backend = jobs.another(LARGE="x" * 100_000)  # larger than the buffer of a pipe
        jobs.run("first", "")
        (server,) = children() - before
        os.kill(server, signal.SIGSTOP)
        old = signal.signal(signal.SIGALRM, lambda *_: os.kill(server, signal.SIGCONT))
        signal.setitimer(signal.ITIMER_REAL, 0.5)  # while the request is written
        try:
            assert jobs.run("second", "print('done')").lines == ("done",)
        finally:
            signal.signal(signal.SIGALRM, old)


def test_agent_ends_with_an_error_when_no_process_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fork_client, "START_S", 0.5)
    monkeypatch.setattr(fork_client, "FORK_SERVER", tmp_path / "missing.py")  # an incomplete installation
    Path("train.py").write_text("")
    sweep_id = create.sweep({"program": "train.py", "method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    with pytest.raises(JobError, match=r"--backend process: the fork server exited with code 2: .*missing\.py"):
        run_agent.agent(sweep_id, backend="process")


def children() -> set[int]:
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))
