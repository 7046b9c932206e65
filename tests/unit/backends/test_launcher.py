"""The process that forks jobs: killed at the worst moment, it has started each job once."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smsweep.backends.process import fork_server
from smsweep.source.runtime_zip import runtime_zip

FORK = os.fork


def fork_and_die() -> int:
    pid = FORK()
    if pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


def test_a_job_is_known_to_have_started_though_its_launcher_was_killed_in_the_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = {"folder": str(tmp_path), "argv": [], "environ": {}}

    def entry(argv: list[str]) -> int:
        os.write(1, b"once\n")
        return 0

    pid = FORK()
    if pid == 0:
        monkeypatch.setattr(os, "fork", fork_and_die)
        fork_server.start(order, entry)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while not (tmp_path / "exit_code").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert fork_server.start(order, entry) == {"already": True}
    assert (tmp_path / "pid").read_text() != str(pid)
    assert (tmp_path / "output.log").read_text() == "once\n"


def test_a_job_that_the_disk_has_no_room_for_is_not_started_and_says_so(tmp_path: Path) -> None:
    order = {"folder": str(tmp_path), "argv": [], "environ": {}}
    ran = tmp_path / "ran"

    def entry(argv: list[str]) -> int:
        ran.touch()
        return 0

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))  # what is written to a file is refused, as on a full disk
    answer = fork_server.start(order, entry)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert "File too large" in answer["error"]
    assert not list(tmp_path.glob("*.part"))
    pid = fork_server.start(order, entry)["pid"]
    assert (tmp_path / "pid").read_text() == str(pid)
    assert os.waitpid(pid, 0)[1] == 0
    assert ran.exists()


def test_a_launcher_whose_agent_was_killed_as_it_waited_for_an_answer_says_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "runtime.zip"
    archive.write_bytes(runtime_zip())
    argv = [sys.executable, "-I", "-S", fork_server.__file__, str(archive)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        environ = {"SMSWEEP_ML_ROOT": str(tmp_path / "ml")}
        process.stdin.write(json.dumps({"folder": str(tmp_path), "argv": [], "environ": environ}).encode() + b"\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
