"""From how containers ended to how the job did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from smsweep.backends.docker.engine import engine_time
from smsweep.backends.local.job_folder import SECONDARY_BY_STOP
from smsweep.core.failure_kind import KILLED, OOM
from smsweep.core.job import JobResults

TERMINATED = 143  # 128 + SIGTERM, as of `docker stop`, and of an engine that is restarted
GONE = 255  # what the engine says of a container whose end it did not see: it was restarted meanwhile
STOPPED = re.compile(r"stopped: was sent SIG|killed: still running .* after SIG")  # our runtime's words


@dataclass(frozen=True, kw_only=True, slots=True)
class HostEnd:
    """How one host's container ended."""

    host: str
    exit_code: int
    is_out_of_memory: bool
    reason: str  # output/failure; "" when there is none
    last_output: str = ""  # the end of its log
    trouble: str = ""  # the engine's own words, when it could not run the container
    ended_at: datetime | None = None  # None where the engine did not see it


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    status: str
    secondary_status: str
    exit_code: int | None = None
    failure_reason: str = ""
    is_lost: bool = False
    failure_class: str = ""  # as in JobStatus
    results: JobResults | None = None
    ended_at: datetime | None = None  # None for now

    @classmethod
    def failed(cls, reason: str) -> Verdict:
        return cls(status="Failed", secondary_status="Failed", failure_reason=reason)

    @classmethod
    def lost(cls, reason: str) -> Verdict:
        return replace(cls.failed(reason), is_lost=True)


def judge(
    ends: Sequence[HostEnd], stopped_by: str, memory_bytes: int, misfit: str = "", *, was_watched: bool = False
) -> Verdict:
    """Return how the job ended.

    Args:
        ends: The ends of the containers, in the order of time.
        stopped_by: A key of SECONDARY_BY_STOP; "" without an order to stop.
        memory_bytes: The memory limit of each container; 0 for no limit.
        misfit: Why the image may not run on this machine; "" if it fits.
        was_watched: smsweep watched the containers until they ended, so the engine was up and saw the end.
    """
    first = next((end for end in ends if end.exit_code), ends[0])
    if stopped_by:
        secondary = SECONDARY_BY_STOP[stopped_by]
        return Verdict(status="Stopped", secondary_status=secondary, exit_code=first.exit_code)
    is_lost = _is_lost(first, was_watched=was_watched)
    if first.exit_code == 0 and not is_lost:
        return Verdict(status="Completed", secondary_status="Completed", exit_code=0)
    if misfit and not first.reason:
        return replace(Verdict.failed(f"{misfit} (exit code {first.exit_code})"), exit_code=first.exit_code)
    return Verdict(
        status="Failed",
        secondary_status="Failed",
        exit_code=first.exit_code,
        failure_reason=_reason(first, len(ends), memory_bytes, is_lost=is_lost),
        is_lost=is_lost,
        failure_class=OOM if first.is_out_of_memory else "",
    )


def _is_lost(end: HostEnd, *, was_watched: bool) -> bool:
    """Tell whether it was ended from outside, or nobody knows how it ended: as good as never run."""
    if end.is_out_of_memory:
        return False
    if end.reason:
        return STOPPED.match(end.reason) is not None
    return end.exit_code in (KILLED, TERMINATED) or (end.exit_code == GONE and not was_watched)


def host_end(host: str, state: Mapping[str, Any], reason: str, last_output: str = "") -> HostEnd:
    """Read what the engine says of a container that has ended."""
    return HostEnd(
        host=host,
        exit_code=int(state["ExitCode"]),
        is_out_of_memory=bool(state.get("OOMKilled")),
        reason=reason,
        last_output=last_output,
        trouble=str(state.get("Error") or ""),
        ended_at=engine_time(str(state.get("FinishedAt") or "")),
    )


def _reason(end: HostEnd, n_hosts: int, memory_bytes: int, *, is_lost: bool) -> str:
    where = f"{end.host}: " if n_hosts > 1 else ""
    if end.is_out_of_memory:
        cap = f"its cap of {memory_bytes // 2**20:,} MiB" if memory_bytes else "what the machine has"
        advice = "raise SMSWEEP_DOCKER_MEMORY" if memory_bytes else "run fewer at once"
        said = f"\n{end.reason}" if end.reason else ""
        return f"{where}OutOfMemory: the container needed more than {cap}; {advice}, or shrink the batch{said}"
    if end.reason:
        return f"{where}ended from outside, and not by smsweep; {end.reason}" if is_lost else where + end.reason
    if end.trouble:
        return f"{where}{end.trouble} (exit code {end.exit_code})"
    if end.exit_code in (KILLED, TERMINATED):
        return f"{where}killed from outside (exit code {end.exit_code}), and not by smsweep"
    if is_lost:
        return f"{where}lost: the Docker Engine went down or did not see it end (exit code {GONE})"
    said = f"; its last output:\n{end.last_output}" if end.last_output else ""
    return f"{where}exit code {end.exit_code}, and nothing in /opt/ml/output/failure{said}"
