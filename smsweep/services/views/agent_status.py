"""How a detached sweep's agent is, and what it has cost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from smsweep.aws.client import Aws
from smsweep.core.json_documents import DetachedAgentDocument
from smsweep.errors import SmsweepError
from smsweep.remote.record import DetachRecord, all_jobs, describe_agent_job, total_s
from smsweep.store import notes
from smsweep.store.base import Store

UNKNOWN = "unknown"


def agent_data(record: DetachRecord, store: Store, environ: Mapping[str, str]) -> DetachedAgentDocument:
    """Return `job`, its `status` and `reason`, instance `hours` and `usd` of all its jobs, and `kept_at`.

    Where AWS cannot be asked the status is unknown, and the reason says why. `rejected` lists the last objects
    among the agent's commands in S3 that were not commands, the newest last, each with its `id` and the `reason`.
    """
    names = all_jobs(record, notes.AGENT_JOBS.get(store, record.sweep_id))
    rejected: dict[str, str] = notes.REJECTED_COMMANDS.get(store, record.sweep_id)
    found: DetachedAgentDocument = {
        "job": names[-1] if names else "",
        "status": UNKNOWN,
        "reason": "",
        "jobs": len(names),
        "instance_type": record.instance_type,
        "hours": None,
        "usd": None,
        "kept_at": record.uri,
        "rejected": [{"id": id_, "reason": why} for id_, why in rejected.items()],
    }
    try:
        with closing(Aws(environ)) as aws:
            jobs = [describe_agent_job(aws, name) for name in names]
    except SmsweepError as err:
        return {**found, "reason": str(err)}
    hours = total_s(jobs) / 3600
    usd = None if record.per_hour is None else round(hours * record.per_hour, 6)
    last = jobs[-1] if jobs else None
    return {
        **found,
        "status": last.status or "never started" if last else "none",
        "reason": last.reason if last else "",
        "hours": round(hours, 6),
        "usd": usd,
    }
