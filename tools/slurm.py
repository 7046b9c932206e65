"""The tests' own SLURM cluster: one node on loopback, with its configuration in a temporary folder."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PATIENCE_S = 60
# More CPUs than the machine has, because the tests mostly wait.
CONFIG = """\
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
KillWait=10
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes=localhost Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=1
PartitionName=high Nodes=localhost PriorityTier=2 PreemptMode=OFF
"""
# SLURM counts GPUs by their device files. These files are empty.
GPUS = "NodeName=localhost Name=gpu File={folder}/gpu[0-1]\n"


class Slurm:
    """A running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *argv: str) -> str:
        """Run a command of SLURM, and return its output."""
        done = subprocess.run(
            argv, env={**os.environ, **self.environ}, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}{self.logs()}"
        return done.stdout

    def states(self, job: str) -> list[str]:
        """Return the states of a job's tasks that have not ended."""
        listed = self.call("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return [state for name, state in map(str.split, listed) if name.partition("_")[0] == job]

    def release(self, job: str) -> None:
        """Start requeued tasks now. SLURM otherwise holds them for two minutes.

        The time limit is raised, because SLURM can signal a task up to a minute before its limit.
        """
        # fails if the task is running, or has ended
        argv = ["scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=30"]
        subprocess.run(argv, env={**os.environ, **self.environ}, capture_output=True, check=False, timeout=60)

    def logs(self) -> str:
        return "".join(f"\n{file.name}:\n{file.read_text()[-2000:]}" for file in self.folder.glob("*.log"))


@contextmanager
def run_slurm() -> Iterator[Slurm]:
    """Start a cluster. Without SLURM or root, the test is skipped, or fails in CI."""
    if os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)):
        message = f"SLURM needs root and the packages of: apt-get install {' '.join(PACKAGES)}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="smsweep-slurm-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)  # munge needs a folder that all users can read
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o600)
        controller_port, node_port = _free_ports(2)
        config = CONFIG.format(folder=folder, controller_port=controller_port, node_port=node_port)
        (folder / "slurm.conf").write_text(config)
        (folder / "gres.conf").write_text(GPUS.format(folder=folder))
        for name in ("gpu0", "gpu1"):
            (folder / name).touch()
        munge = [
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/key",
        ]
        munge += [f"--{file}-file={folder}/munged.{file}" for file in ("pid", "seed")]
        slurm = Slurm(folder)
        for name, argv in {
            "munged": [*munge, f"--log-file={folder}/munged.log"],
            "slurmctld": ["slurmctld", "-D", "-c"],
            "slurmd": ["slurmd", "-D", "-N", "localhost"],
        }.items():
            stack.enter_context(_daemon(slurm, name, argv))
            _until(functools.partial(_is_up, slurm, name), slurm)
        yield slurm


@contextmanager
def _daemon(slurm: Slurm, name: str, argv: list[str]) -> Iterator[None]:
    with (slurm.folder / f"{name}.out.log").open("ab") as out:
        process = subprocess.Popen(
            argv, env={**os.environ, **slurm.environ}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _is_up(slurm: Slurm, name: str) -> bool:
    if name == "munged":
        return (slurm.folder / "munge.socket").exists()
    argv = ["sinfo", "--noheader", "--format=%T", "--partition=low"]
    done = subprocess.run(
        argv, env={**os.environ, **slurm.environ}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode == 0 and (name == "slurmctld" or done.stdout.strip() == "idle")


def _until(is_true: Callable[[], bool], slurm: Slurm) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, f"SLURM does not start{slurm.logs()}"
        time.sleep(0.1)


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
