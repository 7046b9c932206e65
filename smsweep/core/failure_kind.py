"""What kinds of failure there are, how to tell one, and how often a trial is tried again after it."""

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

# Class -> how many further attempts it is worth, unless job.yaml's `retries` says otherwise.
RETRIES: Mapping[str, int] = {
    CRASHED: 1,  # its job was lost without a verdict
    CAPACITY: 10,  # no machine was to be had
    INTERNAL: 2,  # the platform's own trouble
    USER: 0,  # the script said no: it would say it again
    OOM: 0,  # memory ran out, on a machine that the next attempt would have too
    DISK: 0,  # the disk was full
    TIMEOUT: 0,  # it ran into max_run or max_wait
    EXTERNAL: 0,  # somebody stopped its job
    NAME: 3,  # its job's name was somebody else's; the next attempt has another
}

# In a failure's text -> class. The first that is found counts.
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
# What comes before the script, and is the same for every trial of a sweep.
SPARES_NONE = re.compile(
    r"(?:AlgorithmError: |ClientError: )?"
    r"(?:requirements\.txt: pip ended with "
    r"|python3 is \d[\d.]+ here; a job needs "
    r"|Cannot pull algorithm container|Data download failed:\s*Please ensure that "  # SageMaker's words
    r"|image .{1,300}? (?:is not on this machine|is no image's name|has no|is for)\b)"
)
JOB_NAME = re.compile(r"\bsmsweep-[a-z0-9]+-\d+-\d+\b")  # see jobs.job_name
KILLED = 137  # 128 + SIGKILL, which is what the kernel sends when memory runs out


def classify(reason: str, exit_code: int | None, *, is_lost: bool = False) -> str:
    """Return the class of a job that failed. reason: its failure's text."""
    if is_lost:
        return CRASHED
    for name, sign in SIGNS:
        if sign.search(reason):
            return name
    return OOM if exit_code == KILLED else USER


def spares_no_trial(reason: str) -> bool:
    """Tell whether a failure has nothing to do with its trial: all others would fail in the same way."""
    return SPARES_NONE.match(reason) is not None


def alike(reason: str) -> str:
    """Return a reason without the name of its job, which stands in paths: what two trials have in common."""
    return JOB_NAME.sub("JOB", reason)
