"""Tests of stopping a job: signals, grace period, and leftover processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from smsweep.runtime.job.supervisor import Supervisor
from tests.unit.runtime.jobs import Job, finish, is_running, wait_for

pytestmark = pytest.mark.slow

NOTES_SIGNALS = """
import pathlib, signal, sys, time
def note(number, frame):
    with open("noted", "a") as file: file.write(f"{number}\\n")
    %s
signal.signal(signal.SIGTERM, note)
signal.signal(signal.SIGINT, note)
pathlib.Path("ready").touch()
while True: time.sleep(0.01)
"""
HAS_CHILD = """
import pathlib, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", %r])
pathlib.Path("child").write_text(str(child.pid))
while not pathlib.Path("ready").exists(): time.sleep(0.01)
%s
"""


def script(template: str, *parts: str) -> str:
    return textwrap.dedent(template) % parts


def ready(job: Job) -> Path:
    return job.ml / "code/ready"


def noted(job: Job) -> list[int]:
    file = job.ml / "code/noted"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_script_gets_the_signal_and_keeps_its_exit_code(job: Job, number: int) -> None:
    process = job.trial({"train.py": script(NOTES_SIGNALS, "sys.exit(5)")}).start()
    wait_for(ready(job).exists)
    process.send_signal(number)
    assert (finish(process).code, noted(job)) == (5, [number])


def test_every_signal_is_passed_on(job: Job) -> None:
    process = job.trial({"train.py": script(NOTES_SIGNALS, "")}).start()
    wait_for(ready(job).exists)
    for count in (1, 2, 3):
        process.send_signal(signal.SIGTERM)
        wait_for(lambda count=count: len(noted(job)) == count)  # type: ignore[misc]  # a default is how a lambda keeps it
    process.send_signal(signal.SIGQUIT)
    assert finish(process).code == 137


def test_script_that_ignores_sigterm_is_killed_after_the_grace_period(job: Job) -> None:
    process = job.trial({"train.py": script(NOTES_SIGNALS, "")}).start(["--grace-s", "0.4"])
    wait_for(ready(job).exists)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert finish(process).code == 137
    assert 0.3 < time.monotonic() - started < 60
    assert job.failure.startswith("killed: still running 0.4 s after SIGTERM")


def test_sigquit_kills_at_once(job: Job) -> None:
    process = job.trial({"train.py": script(NOTES_SIGNALS, "")}).start()
    wait_for(ready(job).exists)
    process.send_signal(signal.SIGQUIT)
    assert finish(process).code == 137
    assert job.failure.startswith("killed at once by SIGQUIT")


def test_grandchild_gets_the_signal(job: Job) -> None:
    child = script(NOTES_SIGNALS, "sys.exit(0)")
    parent = script(
        HAS_CHILD,
        child,
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(child.wait()))\n"
        "pathlib.Path('parent').touch()\nsignal.pause()",
    )
    process = job.trial({"train.py": parent}).start()
    wait_for((job.ml / "code/parent").exists)
    process.send_signal(signal.SIGTERM)
    assert (finish(process).code, noted(job)) == (0, [signal.SIGTERM])


def test_background_processes_end_with_the_script(job: Job) -> None:
    process = job.trial({"train.py": script(HAS_CHILD, script(NOTES_SIGNALS, "sys.exit(0)"), "")}).start()
    assert finish(process).code == 0
    assert noted(job) == [signal.SIGTERM]
    assert not is_running(int((job.ml / "code/child").read_text()))


def test_daemon_with_the_pipe_does_not_block_the_job(job: Job) -> None:
    daemon = "import os, pathlib, time; os.setsid(); pathlib.Path('ready').touch(); time.sleep(60)"
    process = job.trial({"train.py": script(HAS_CHILD, daemon, "print('done')")}).start()
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    assert process.wait(timeout=5) == 0
    os.kill(int((job.ml / "code/child").read_text()), signal.SIGKILL)
    finish(process)


def test_metrics_reported_before_a_sigkill_are_kept(job: Job) -> None:
    text = "import os, smsweep\nfor i in range(5): smsweep.log({'i': i})\nos.kill(os.getpid(), 9)"
    done = job.trial({"train.py": text}).run()
    assert (done.code, done.out.count("@smsweep")) == (137, 5)


AS_PID_1 = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
LEAVES_AN_ORPHAN = """
import os, subprocess, sys, time
subprocess.run(["sh", "-c", "setsid true &"])
def has_zombie():
    stats = [open(f"/proc/{name}/stat").read() for name in os.listdir("/proc") if name.isdigit()]
    return any(") Z " in stat for stat in stats)
deadline = time.monotonic() + 10
while has_zombie() and time.monotonic() < deadline: time.sleep(0.01)
print(os.getppid(), has_zombie(), flush=True)
time.sleep(60)
"""


def test_pid_1_reaps_orphans_and_passes_signals_on(job: Job) -> None:
    if subprocess.run([*AS_PID_1, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here")
    job.trial({"train.py": LEAVES_AN_ORPHAN})
    argv = [*AS_PID_1, sys.executable, str(job.channel / "runtime.zip")]
    process = subprocess.Popen(argv, env=job.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1 False\n"
    (pid_1,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(pid_1), signal.SIGTERM)
    assert finish(process).code == 143


def test_signal_before_the_start_reaches_the_program() -> None:
    with Supervisor(grace_s=60, out_fd=-1) as supervisor:
        os.kill(os.getpid(), signal.SIGTERM)
        ended = supervisor.run(["sleep", "60"], cwd="/", env=os.environ)
    assert (ended.stopped_by, ended.signal_number, ended.was_killed) == (signal.SIGTERM, signal.SIGTERM, False)
