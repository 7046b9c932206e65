"""The fork server starts each job once, also if it is killed. Its client gives up after a limited time."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smsweep.backends.process import fork_client, fork_server
from smsweep.backends.process.fork_client import START_S, ForkClient
from smsweep.errors import BackendUnavailable, JobError
from smsweep.source.runtime_zip import runtime_zip

FORK = os.fork


def fork_and_die() -> int:
    pid = FORK()
    if pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


def test_start_is_recorded_when_the_fork_server_is_killed_during_the_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = {"folder": str(tmp_path), "argv": [], "environ": {}}

    def entry(order: dict[str, Any]) -> int:
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


def test_full_disk_returns_an_error_and_starts_no_job(tmp_path: Path) -> None:
    order = {"folder": str(tmp_path), "argv": [], "environ": {}}
    ran = tmp_path / "ran"

    def entry(order: dict[str, Any]) -> int:
        ran.touch()
        return 0

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))  # each write to a file fails, as on a full disk
    answer = fork_server.start(order, entry)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert "File too large" in answer["error"]
    assert not list(tmp_path.glob("*.part"))
    pid = fork_server.start(order, entry)["pid"]
    assert (tmp_path / "pid").read_text() == str(pid)
    assert os.waitpid(pid, 0)[1] == 0
    assert ran.exists()


def test_fork_server_exits_without_output_when_its_agent_was_killed(tmp_path: Path) -> None:
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


SERVER_WITH_JOBS_THAT_END_DURING_THE_FORK = """
import os, sys
sys.path.insert(0, os.path.dirname(sys.argv[2]))
fork = os.fork

def fork_until_the_end():
    if pid := fork():
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid

os.fork = fork_until_the_end
import fork_server
del sys.argv[2]
fork_server.main()
"""


def test_fork_server_reports_the_end_of_a_job_that_ends_during_its_fork(tmp_path: Path) -> None:
    archive = tmp_path / "runtime.zip"
    archive.write_bytes(runtime_zip())
    code = SERVER_WITH_JOBS_THAT_END_DURING_THE_FORK
    argv = [sys.executable, "-I", "-S", "-c", code, str(archive), fork_server.__file__]
    orders, ended = b"", []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        ended.append({"ended": str(folder)})
        order = {"folder": str(folder), "argv": [], "environ": {"SMSWEEP_ML_ROOT": str(folder / "ml")}}
        orders += json.dumps(order).encode() + b"\n"
    done = subprocess.run(argv, input=orders, capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines() if b"ended" in line] == ended
    assert done.stderr == b""


HANGING_SERVER = """
import os, time
{reads}
while True:
    time.sleep(600)
"""


@pytest.mark.parametrize("reads", ["os.close(0)", "", "os.read(0, 100_000)", "os.write(1, b'{')"])
@pytest.mark.parametrize("n_bytes", [1, 1_000_000])  # the last one does not fit into the pipe
def test_fork_client_kills_a_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: str, n_bytes: int
) -> None:
    program = tmp_path / "server.py"
    program.write_text(HANGING_SERVER.format(reads=reads))
    monkeypatch.setattr(fork_client, "FORK_SERVER", program)
    monkeypatch.setattr(fork_client, "ANSWER_S", 2.0)
    monkeypatch.setattr(fork_client, "CLOSE_S", 0.2)
    clock = Clock()
    client = ForkClient(tmp_path / "runtime.zip", clock)
    with closing(client):
        for _ in range(2):
            with pytest.raises(
                BackendUnavailable, match=r"the fork server did not answer for 2 s|was killed by signal 9"
            ):
                client.ask({"folder": "x" * n_bytes})
        clock.now_s = START_S
        with pytest.raises(JobError, match="no attempt succeeded for 60 s"):
            client.ask({})
    assert client._process is None


def test_close_kills_a_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_client, "CLOSE_S", 0.2)
    archive = tmp_path / "runtime.zip"
    archive.write_bytes(runtime_zip())
    client = ForkClient(archive)
    client.ask({"folder": str(tmp_path / "none"), "argv": [], "environ": {}})
    process = client._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    client.close()
    assert process.returncode == -signal.SIGKILL


def test_job_that_hangs_at_its_start_is_reported_and_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, go, log = {"folder": str(tmp_path), "argv": [], "environ": {}}, tmp_path / "go", tmp_path / "output.log"
    setsid = os.setsid

    def hang() -> None:
        while not go.exists():
            time.sleep(0.01)
        setsid()

    def entry(order: dict[str, Any]) -> int:
        os.write(1, b"once\n")
        return 0

    monkeypatch.setattr(os, "setsid", hang)
    monkeypatch.setattr(fork_server, "START_S", 0.2)
    answer = fork_server.start(order, entry)
    assert f"did not start within 0 s; check the disk of {tmp_path}" in answer["error"]
    assert fork_server.start(order, entry) == {"already": True}
    go.touch()
    pid = int(answer["error"].split()[2])
    assert os.waitpid(pid, 0)[1] == 0
    assert fork_server.start(order, entry) == {"already": True}
    assert log.read_text() == "once\n"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def no_runtime(folder: Path) -> None:
    """Do not create runtime.zip."""


def damaged_runtime(folder: Path) -> None:
    (folder / "runtime.zip").write_bytes(b"PK")


@pytest.mark.parametrize(
    ("make", "python", "problem"),
    [
        (no_runtime, sys.executable, "exited with code 1: ModuleNotFoundError: No module named 'smsweep'"),
        (damaged_runtime, sys.executable, "exited with code 1: ModuleNotFoundError: No module named 'smsweep'"),
        (no_runtime, "/no/such/python", "cannot start: [Errno 2] No such file or directory: '/no/such/python'"),
    ],
    ids=["no runtime", "damaged runtime", "no interpreter"],
)
def test_fork_client_gives_up_when_the_server_cannot_start(
    tmp_path: Path, make: Callable[[Path], None], python: str, problem: str
) -> None:
    make(tmp_path)
    clock = Clock()
    client = ForkClient(tmp_path / "runtime.zip", clock, python)
    with closing(client):
        for _ in range(3):
            with pytest.raises(BackendUnavailable) as caught:
                client.ask({})
            assert problem in str(caught.value)
            assert caught.value.retryable
        clock.now_s = START_S
        with pytest.raises(JobError) as last:
            client.ask({})
    assert not last.value.retryable
    assert problem in str(last.value)
    assert f"Check that {python} and {tmp_path}/runtime.zip can be read" in str(last.value)


def test_fork_client_waits_for_a_server_that_works_again(tmp_path: Path) -> None:
    archive = tmp_path / "runtime.zip"
    clock = Clock()
    order = {"folder": str(tmp_path / "none"), "argv": [], "environ": {}}
    with closing(ForkClient(archive, clock)) as client:
        with pytest.raises(BackendUnavailable):
            client.ask(order)
        archive.write_bytes(runtime_zip())
        clock.now_s = START_S
        assert "No such file" in client.ask(order)["error"]  # the server answers
        client.close()
        archive.unlink()
        clock.now_s = 2 * START_S
        with pytest.raises(BackendUnavailable):
            client.ask(order)


@pytest.mark.parametrize("shortage", fork_client.SHORTAGES)
def test_fork_client_waits_without_a_limit_during_a_shortage(
    tmp_path: Path, shortage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(shortage, os.strerror(shortage))

    clock = Clock()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    client = ForkClient(tmp_path / "runtime.zip", clock)
    for clock.now_s in (0.0, START_S, 10 * START_S):
        with pytest.raises(BackendUnavailable, match="the fork server cannot start"):
            client.ask({})
    client.close()
