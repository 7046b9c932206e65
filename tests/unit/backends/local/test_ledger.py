"""The ledger of devices: claims, their ends, and jobs that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smsweep.backends.local import ledger as ledger_module
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.ledger import FUNCTION, PROCESS, DeviceLedger
from smsweep.backends.local.waiting_jobs import FORGOTTEN_S, PATIENCE_S
from smsweep.core.resources import Resources
from smsweep.errors import BackendUnavailable, CapacityError, DevicesInUse, JobRejected, UsageError
from smsweep.runtime.system import uptime_s
from tests.support.markdown import ROOT

ONE, HALF = Resources(gpus=1), Resources(gpus=0.5)
HOLD = """
import sys, time
from pathlib import Path
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.local.ledger import PROCESS, DeviceLedger
from smsweep.core.resources import Resources
ledger = DeviceLedger({"SMSWEEP_LEDGER": sys.argv[1], "SMSWEEP_DEVICES": "0"}, PROCESS)
ledger.claim(JobFolder(Path(sys.argv[1]) / "job-a"), Resources(gpus=1))
print("holds", flush=True)
time.sleep(600)
"""

LOCK = """
import fcntl, sys, time
with open(sys.argv[1]) as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(600)
"""


class Ledgers:
    """The clients of one ledger, as separate agents have them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[DeviceLedger] = []

    def open(
        self, devices: str = "0,1", kind: str = PROCESS, uptime: Callable[[], float] = uptime_s
    ) -> DeviceLedger:
        environ = {"SMSWEEP_LEDGER": str(self.folder / "ledger"), "SMSWEEP_DEVICES": devices}
        self._opened.append(DeviceLedger(environ, kind, uptime))
        return self._opened[-1]

    def job(self, name: str) -> JobFolder:
        return JobFolder(self.folder / name)

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[Ledgers]:
    opened = Ledgers(tmp_path)
    yield opened
    opened.close()


def keys(ledger: DeviceLedger, job: JobFolder, needs: Resources) -> list[str]:
    claim, _ = ledger.claim(job, needs)
    return [device.key for device in claim.devices]


def test_two_agents_get_different_devices(ledgers: Ledgers) -> None:
    first, second = ledgers.open(), ledgers.open()
    assert keys(first, ledgers.job("a"), ONE) == ["0"]
    assert keys(second, ledgers.job("b"), ONE) == ["1"]


def test_claim_fails_without_a_free_device_and_names_the_jobs(ledgers: Ledgers) -> None:
    ledgers.open().claim(ledgers.job("a"), Resources(gpus=2))
    with pytest.raises(CapacityError, match="needs 1 GPU, and too few GPUs of this machine are free; in use by a"):
        ledgers.open().claim(ledgers.job("b"), ONE)
    assert len(ledgers.open().claims()) == 1


def test_device_is_free_after_release(ledgers: Ledgers) -> None:
    first = ledgers.open("0")
    first.claim(ledgers.job("a"), ONE)
    first.release(ledgers.job("a"))
    assert keys(ledgers.open("0"), ledgers.job("b"), ONE) == ["0"]
    assert [path.name.split(".")[0] for path in (ledgers.folder / "ledger").glob("*.json")] == ["b"]


def test_job_keeps_its_claim(ledgers: Ledgers) -> None:
    first, second = ledgers.open(), ledgers.open()
    claim, is_new = first.claim(ledgers.job("a"), ONE)
    assert is_new
    assert second.claim(ledgers.job("a"), ONE) == (claim, False)
    first.close()
    assert [each.job for each in ledgers.open().claims()] == ["a"]  # the second agent holds it


def test_same_job_name_in_two_workspaces_has_two_claims(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    assert keys(ledger, JobFolder(ledgers.folder / "x" / "a"), ONE) == ["0"]
    assert keys(ledger, JobFolder(ledgers.folder / "y" / "a"), ONE) == ["1"]


def test_fractions_share_least_used_devices(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    assert [keys(ledger, ledgers.job(name), HALF) for name in "abcd"] == [["0"], ["1"], ["0"], ["1"]]
    with pytest.raises(CapacityError):
        ledger.claim(ledgers.job("e"), HALF)
    ledger.release(ledgers.job("b"))
    with pytest.raises(CapacityError):  # half of the device is still in use
        ledger.claim(ledgers.job("e"), ONE)
    assert keys(ledger, ledgers.job("f"), HALF) == ["1"]


def test_three_thirds_share_a_device(ledgers: Ledgers) -> None:
    ledger = ledgers.open("0")
    for name in "abc":
        ledger.claim(ledgers.job(name), Resources(gpus=1 / 3))


def test_hosts_of_a_job_have_different_devices(ledgers: Ledgers) -> None:
    claim, _ = ledgers.open("0,1,2,3").claim(ledgers.job("a"), Resources(gpus=2), n_hosts=2)
    assert [[gpu.key for gpu in claim.host_gpus(n) or ()] for n in (0, 1)] == [["0", "1"], ["2", "3"]]


def test_job_without_gpus_claims_no_device(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    assert ledger.claim(ledgers.job("a"), Resources(gpus=0))[0].host_gpus() == ()
    assert ledger.claim(ledgers.job("b"), Resources(cpus=1))[0].host_gpus() is None


def test_cores_are_exclusive(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    n_cpus = ledger.pool.n_cpus
    claim, _ = ledger.claim(ledgers.job("a"), Resources(cpus=n_cpus))
    assert len(set(claim.cpus)) == n_cpus
    with pytest.raises(CapacityError, match="too few CPUs of this machine are free; in use by a"):
        ledgers.open().claim(ledgers.job("b"), Resources(cpus=1))


def test_memory_is_counted(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    most = Resources(memory_bytes=ledger.pool.memory_bytes * 2 // 3)
    ledger.claim(ledgers.job("a"), most)
    with pytest.raises(CapacityError, match="too little memory of this machine is free; in use by a"):
        ledger.claim(ledgers.job("b"), most)


def test_pool_that_is_too_small_is_an_error(ledgers: Ledgers) -> None:
    with pytest.raises(JobRejected, match="a trial needs 3 GPUs, but this agent may use 2"):
        ledgers.open().claim(ledgers.job("a"), Resources(gpus=3))


def test_agents_with_different_devices_do_not_wait_for_each_other(ledgers: Ledgers) -> None:
    ledgers.open("0").claim(ledgers.job("a"), ONE)
    assert keys(ledgers.open("1"), ledgers.job("b"), ONE) == ["1"]


def test_device_is_free_after_kill_of_its_holder(ledgers: Ledgers) -> None:
    folder = ledgers.folder / "ledger"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holds\n"
        with pytest.raises(CapacityError):
            ledgers.open("0").claim(ledgers.job("b"), ONE)
        holder.kill()
        holder.wait()
    assert keys(ledgers.open("0"), ledgers.job("b"), ONE) == ["0"]


def test_ledger_that_a_stopped_process_keeps_locked_is_an_error(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LOCK_S", 0.3)
    first = ledgers.open("0")
    first.claim(ledgers.job("a"), ONE)
    path = first.folder / "lock"
    with subprocess.Popen([sys.executable, "-c", LOCK, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(BackendUnavailable, match="kept the ledger of devices locked for 0 s") as caught:
            ledgers.open("1").claim(ledgers.job("b"), ONE)
        assert caught.value.retryable
        assert f"`fuser {path}`" in str(caught.value)
        with pytest.raises(BackendUnavailable):
            ledgers.open("1").resume(ledgers.job("b"))
        first.release(ledgers.job("a"))  # needs no lock
        holder.kill()
    assert keys(ledgers.open("1"), ledgers.job("b"), ONE) == ["1"]


def test_processes_of_a_killed_job_are_killed_before_their_device_is_used(ledgers: Ledgers) -> None:
    job = ledgers.job("a")
    job.path.mkdir()
    first = ledgers.open("0")
    first.claim(job, ONE)
    environ = {"SMSWEEP_ML_ROOT": str(job.ml()), "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sleep", "600"], env=environ, start_new_session=True) as script:
        first.close()  # the entrypoint was killed, and its script runs without it
        assert keys(ledgers.open("0"), ledgers.job("b"), ONE) == ["0"]
        assert script.wait(timeout=10) == -signal.SIGKILL


def test_function_leaves_no_processes(ledgers: Ledgers) -> None:
    first = ledgers.open("0", FUNCTION)
    first.claim(ledgers.job("a"), ONE)
    first.close()
    assert ledgers.open("0").claims() == []


def test_foreign_files_are_ignored(ledgers: Ledgers) -> None:
    ledger = ledgers.open("0")
    (ledger.folder / "a.json").write_text("{}")
    (ledger.folder / "b.json").write_text("\xff")
    (ledger.folder / "c.json").symlink_to("/dev/zero")
    (ledger.folder / "d.part").write_text("half")
    assert keys(ledger, ledgers.job("a"), ONE) == ["0"]
    assert not (ledger.folder / "d.part").exists()


def test_default_folder_must_belong_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    uid = 987_654_000 + time.time_ns() % 1_000
    monkeypatch.setattr(os, "getuid", lambda: uid)
    folder = Path(f"/tmp/smsweep-devices-{uid}")
    folder.mkdir()
    try:
        with pytest.raises(UsageError, match="another user can change this folder"):
            _ = DeviceLedger({}, PROCESS).folder
    finally:
        folder.rmdir()


def test_default_folder_is_private() -> None:
    folder = DeviceLedger({}, PROCESS).folder
    assert folder.stat().st_mode & 0o077 == 0


class Uptime:
    """The time of the machine, which a test advances."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def uptime() -> Uptime:
    return Uptime()


def test_job_that_waits_too_long_gets_the_next_free_devices(ledgers: Ledgers, uptime: Uptime) -> None:
    """Small jobs that arrive later do not take the devices of a job that needs several."""
    small, large, other = (ledgers.open(uptime=uptime) for _ in range(3))
    small.claim(ledgers.job("a"), ONE)
    with pytest.raises(DevicesInUse):
        large.claim(ledgers.job("large"), Resources(gpus=2))
    assert keys(small, ledgers.job("b"), ONE) == ["1"]  # it does not wait long yet
    uptime.now_s += PATIENCE_S
    with pytest.raises(DevicesInUse):
        large.claim(ledgers.job("large"), Resources(gpus=2))
    small.release(ledgers.job("a"))
    with pytest.raises(DevicesInUse, match="in use by b; reserved for large, which waits longer"):
        other.claim(ledgers.job("c"), ONE)
    with pytest.raises(DevicesInUse):
        other.claim(ledgers.job("d"), HALF)
    small.release(ledgers.job("b"))
    assert keys(large, ledgers.job("large"), Resources(gpus=2)) == ["0", "1"]
    large.release(ledgers.job("large"))
    assert keys(other, ledgers.job("d"), HALF) == ["0"]
    assert keys(other, ledgers.job("c"), ONE) == ["1"]


def test_jobs_that_wait_too_long_get_devices_in_their_order(ledgers: Ledgers, uptime: Uptime) -> None:
    holder, first, second = (ledgers.open("0", uptime=uptime) for _ in range(3))
    holder.claim(ledgers.job("a"), ONE)
    for ledger, name in ((first, "z"), (second, "b")):
        with pytest.raises(DevicesInUse):
            ledger.claim(ledgers.job(name), ONE)
        uptime.now_s += 1
    uptime.now_s += PATIENCE_S - 3
    for ledger, name in ((first, "z"), (second, "b")):  # both still wait
        with pytest.raises(DevicesInUse):
            ledger.claim(ledgers.job(name), ONE)
    uptime.now_s += 5
    holder.release(ledgers.job("a"))
    with pytest.raises(DevicesInUse, match="reserved for z"):
        second.claim(ledgers.job("b"), ONE)
    assert keys(first, ledgers.job("z"), ONE) == ["0"]


def test_devices_beyond_a_reservation_are_used(ledgers: Ledgers, uptime: Uptime) -> None:
    holder, large, small = (ledgers.open("0,1,2", uptime=uptime) for _ in range(3))
    holder.claim(ledgers.job("a"), Resources(gpus=2))
    with pytest.raises(DevicesInUse):
        large.claim(ledgers.job("large"), Resources(gpus=2))
    uptime.now_s += PATIENCE_S
    holder.release(ledgers.job("a"))
    assert keys(small, ledgers.job("b"), ONE) == ["2"]
    assert keys(large, ledgers.job("large"), Resources(gpus=2)) == ["0", "1"]


def test_cores_and_memory_are_reserved_too(ledgers: Ledgers, uptime: Uptime) -> None:
    holder, large, small = (ledgers.open("none", uptime=uptime) for _ in range(3))
    half = Resources(memory_bytes=holder.pool.memory_bytes * 2 // 3)
    holder.claim(ledgers.job("a"), Resources(cpus=1, memory_bytes=half.memory_bytes))
    with pytest.raises(DevicesInUse):
        large.claim(ledgers.job("large"), Resources(cpus=large.pool.n_cpus, memory_bytes=half.memory_bytes))
    uptime.now_s += PATIENCE_S
    with pytest.raises(DevicesInUse, match=r"too few CPUs of this .*; in use by a; reserved for large"):
        small.claim(ledgers.job("b"), Resources(cpus=1))
    with pytest.raises(DevicesInUse, match="too little memory of this machine is free"):
        small.claim(ledgers.job("b"), Resources(memory_bytes=holder.pool.memory_bytes // 4))


@pytest.mark.parametrize("end", ["close", "release", "silence"])
def test_job_that_no_longer_waits_reserves_nothing(ledgers: Ledgers, uptime: Uptime, end: str) -> None:
    holder, gone, other = (ledgers.open("0", uptime=uptime) for _ in range(3))
    holder.claim(ledgers.job("a"), ONE)
    with pytest.raises(DevicesInUse):
        gone.claim(ledgers.job("gone"), ONE)
    uptime.now_s += PATIENCE_S
    holder.release(ledgers.job("a"))
    if end == "close":
        gone.close()
    elif end == "release":
        gone.release(ledgers.job("gone"))
    else:
        uptime.now_s += FORGOTTEN_S - PATIENCE_S + 1
    assert keys(other, ledgers.job("b"), ONE) == ["0"]


def test_killed_agent_does_not_wait(ledgers: Ledgers, uptime: Uptime) -> None:
    """The time of the machine is not advanced: only the lock shows that the agent is dead."""
    folder = ledgers.folder / "ledger"
    ledgers.open("0", uptime=uptime).claim(ledgers.job("a"), ONE)
    script = HOLD.replace('print("holds"', 'print("never"').replace("ledger.claim", "try:\n    ledger.claim")
    script = script.replace('print("never", flush=True)', 'except Exception:\n    print("waits", flush=True)')
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE) as waiter:
        assert waiter.stdout is not None
        assert waiter.stdout.readline() == b"waits\n"
        assert len(list(folder.glob("*.wait"))) == 1
        waiter.kill()
        waiter.wait()
    with pytest.raises(DevicesInUse):
        ledgers.open("0", uptime=uptime).claim(ledgers.job("b"), ONE)
    assert [path.name.split(".")[0] for path in folder.glob("*.wait")] == ["b"]
