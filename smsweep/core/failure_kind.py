"""Failure classes of jobs, how to recognize them, and how often a trial is retried after each."""

from __future__ import annotations

import re
from collections.abc import Mapping

CRASHED = "crashed"
CAPACITY = "capacity"
INTERNAL = "internal"
USER = "user"
OOM = "oom"
DISK = "disk"
TIMEOUT = "timeout"
EXTERNAL = "external"
NAME = "name"

# Failure class -> number of retries, unless `retries` in job.yaml changes it.
RETRIES: Mapping[str, int] = {
    CRASHED: 1,  # the job was lost: neither a success nor a failure is known
    CAPACITY: 10,  # no machine was available
    INTERNAL: 2,  # an internal error of the platform
    USER: 0,  # the script failed, and probably fails again
    OOM: 0,  # out of memory; the next attempt has the same instance type
    DISK: 0,  # the disk was full
    TIMEOUT: 0,  # max_run or max_wait exceeded
    EXTERNAL: 0,  # the job was stopped outside smsweep
    NAME: 3,  # another job has the same name; the next attempt has a new name
}

# (failure class, pattern of the failure text). The first match counts.
SIGNS = (
    (INTERNAL, re.compile(r"(?:AlgorithmError: )?secret \S+: \S+ cannot be read now: ")),  # see runtime.secrets
    (
        OOM,
        re.compile(
            r"OutOfMemory|MemoryError|\bout of memory\b|\bOOM when allocating\b"
            r"|(?:failed|unable) to allocate memory|cannot allocate memory|std::bad_alloc"
            r"|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED"
            r"|worker \(pid[^)]*\) is killed by signal: Killed|use an instance type with more memory",
            re.I,
        ),
    ),
    (
        DISK,
        re.compile(
            r"No space left on device|Insufficient disk space|Disk quota exceeded|\bENOSPC\b|disk (?:is )?full",
            re.I,
        ),
    ),
)
ADVICE: Mapping[str, str] = {
    OOM: "memory ran out; a larger instance_type, or a smaller batch, may help",
    DISK: "the disk was full; raise volume_size, or write less",
}
# Failures before the script starts, which every trial of the sweep has.
EVERY_TRIAL_FAILS = re.compile(
    r"(?:AlgorithmError: |ClientError: )?"
    r"(?:requirements\.txt: pip ended with "
    r"|python3 is \d[\d.]+ here; a job needs "
    r"|Cannot pull algorithm container|Data download failed:\s*Please ensure that "  # SageMaker's words
    r"|image .{1,300}? (?:is not on this machine|is not a valid image name|has no|is for)\b)"
)
JOB_NAME = re.compile(r"\bsmsweep-[a-z0-9]+-\d+-\d+\b")  # see jobs.job_name
OPTION_VALUE = re.compile(r"(?<!\S)(--[\w.-]+)=\S+")  # as in argparse's `unrecognized arguments: --lr=0.1`
KILLED = 137  # 128 + SIGKILL, which is what the kernel sends when memory runs out


def classify(reason: str, exit_code: int | None, *, is_lost: bool = False) -> str:
    """Return the failure class of a failed job.

    Args:
        reason: The failure text of the job.
        exit_code: The exit code of the script; None if unknown.
        is_lost: True if the job was lost with its machine or its supervisor.
    """
    if is_lost:
        return CRASHED
    for name, sign in SIGNS:
        if sign.search(reason):
            return name
    return OOM if exit_code == KILLED else USER


def affects_every_trial(reason: str) -> bool:
    """Return True if a failure does not depend on the params, so that every other trial fails as well."""
    return EVERY_TRIAL_FAILS.match(reason) is not None


def shared_reason(reason: str) -> str:
    """Return a failure text without the job name and the values of options, to count equal failures of trials."""
    return OPTION_VALUE.sub(r"\1=...", JOB_NAME.sub("JOB", reason))
