"""Why a job failed, as SageMaker words it."""

from __future__ import annotations

from smsweep.jobs import MAX_FAILURE_REASON, JobStatus

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type."
)
INTERNAL = "InternalServerError: We encountered an internal error. Please try again."
OUT_OF_MEMORY = (
    "Please use an instance type with more memory, or reduce the size of job data processed on an instance."
)
KILLED = 137  # 128 + SIGKILL


def of(seen: JobStatus) -> str:
    """Return the reason of a job that failed by itself; a long one loses its end, but never the exit code."""
    if seen.exit_code is None:
        # A job that never ran has only the backend's words; one that was lost has none that are the user's.
        return INTERNAL if seen.is_lost else f"ClientError: {seen.failure_reason}"
    words = OUT_OF_MEMORY if seen.exit_code == KILLED else seen.failure_reason
    ending = f", exit code: {seen.exit_code}"
    return f"AlgorithmError: {words}"[: MAX_FAILURE_REASON - len(ending)] + ending
