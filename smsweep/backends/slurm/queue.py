"""Commands of SLURM, called with lists of arguments: sbatch, squeue, scancel, scontrol."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from smsweep.errors import BackendUnavailable, JobError, JobRejected, QuotaExceeded

POLL_S = 2.0  # between two calls of squeue
CALL_S = 60.0  # longest call
LIMIT = re.compile(r"\w*(?:MaxSubmit|MaxJobs|JobLimit)\w*|violates accounting/QOS policy", re.I)
AWAY = re.compile(r"timed out|unable to contact|connection refused|temporarily|zero bytes were transmitted", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedJob:
    """A job that squeue lists."""

    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str  # why it is pending, such as Resources or Priority


class SlurmQueue:
    """The jobs of this user on the cluster.

    Args:
        environ: The environment of the commands.
        monotonic: The time in seconds.
    """

    def __init__(self, environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._monotonic = monotonic
        self._user = str(os.getuid())
        self._jobs: dict[str, QueuedJob] = {}
        self._read_at: float | None = None

    def cluster(self) -> str:
        """Return the name of the cluster."""
        config = self._call("scontrol", "show", "config")
        match = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.M)
        return match[1] if match else "cluster"

    def jobs(self, *, is_fresh: bool = False) -> Mapping[str, QueuedJob]:
        """Return job name -> job, at most POLL_S old. is_fresh: ask now."""
        now = self._monotonic()
        if is_fresh or self._read_at is None or now - self._read_at >= POLL_S:
            lines = self._call("squeue", "--noheader", f"--user={self._user}", "--format=%j|%T|%r").splitlines()
            fields = (line.split("|", 2) for line in lines if line.count("|") >= 2)
            self._jobs = {name: QueuedJob(state=state, reason=reason) for name, state, reason in fields}
            self._read_at = now
        return self._jobs

    def submit(self, options: Mapping[str, str], program: Sequence[str], environ: Mapping[str, str]) -> str:
        """Submit a job and return its id.

        Args:
            options: Long options of sbatch without dashes; "" for an option without a value.
            program: The script and its arguments.
            environ: The environment of the job.

        Raises:
            JobRejected: If SLURM never accepts the job.
            QuotaExceeded: If a limit on the number of jobs is reached.
            BackendUnavailable: If SLURM does not answer.
        """
        flags = [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]
        self._read_at = None
        return self._call("sbatch", "--parsable", *flags, *program, environ=environ).strip().partition(";")[0]

    def signal(self, name: str, signal: str) -> None:
        """Signal the program of a running job. A pending job is cancelled."""
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}", "--state=PENDING")
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}", "--batch", f"--signal={signal}")
        self._read_at = None

    def cancel(self, name: str) -> None:
        """End a job with all its processes."""
        self._call("scancel", "--quiet", f"--user={self._user}", f"--name={name}")
        self._read_at = None

    def _call(self, *argv: str, environ: Mapping[str, str] | None = None) -> str:
        try:
            done = subprocess.run(
                argv,
                env=dict(environ or self._environ),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=CALL_S,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise JobError(
                f"{argv[0]} is not installed on this machine; run the agent on a login node of the cluster"
            ) from None
        except (OSError, subprocess.TimeoutExpired) as err:
            raise BackendUnavailable(f"{argv[0]}: {err}") from err
        if done.returncode == 0:
            return done.stdout
        message = f"{argv[0]}: {' '.join(done.stderr.split()) or f'exited with code {done.returncode}'}"
        if LIMIT.search(message):
            raise QuotaExceeded(message)
        if argv[0] != "sbatch" or AWAY.search(message):
            raise BackendUnavailable(message)
        raise JobRejected(f"{message}; change sbatch in job.yaml")
