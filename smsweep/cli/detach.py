"""What `run --detach` and `agent --detach` share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from smsweep.cli.options import Where
from smsweep.cli.output import answer_json, say
from smsweep.core.json_documents import DetachedProcessDocument
from smsweep.errors import UsageError
from smsweep.services.agents import detach as detach_service
from smsweep.services.views import json_views

REMOTE = "sagemaker"  # a backend whose jobs need no machine of ours, so that neither does its agent


def detach(
    sweep_id: str,
    options: Mapping[str, object],
    where: Where | None,
    notify: Sequence[str] | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Leave an agent behind, and say how to look after it. options: of `smsweep agent`, by their long names."""
    left = _leave(sweep_id, options, where, notify)
    if as_json:
        answer_json({**json_views.show(sweep_id), "detached": left})


def is_far(backend: object, where: Where | None, notify: Sequence[str] | None) -> bool:
    """Tell whether the agent leaves this machine. Raises UsageError for what it could not do there."""
    backend = backend or os.environ.get("SMSWEEP_BACKEND")
    if where not in (Where.SAGEMAKER, Where.S3) and (where is not None or backend != REMOTE):
        return False
    if backend not in (None, "", REMOTE):
        raise UsageError(f"--detach: far from here an agent cannot reach --backend {backend}; only {REMOTE}")
    if notify:
        raise UsageError("--notify: an agent on SageMaker reads it from job.yaml only: notify: [...]")
    return True


def _leave(
    sweep_id: str, options: Mapping[str, object], where: Where | None, notify: Sequence[str] | None
) -> DetachedProcessDocument:
    """Return what is to be known of the agent that was left behind."""
    if is_far(options.get("backend"), where, notify):
        return _send_away(sweep_id, options, with_agent=where is not Where.S3)
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value not in (None, False):
            arguments.append(f"--{name}={value}")
    daemon = detach_service.detach(sweep_id, arguments, notify or ())
    say(f"agent {daemon.pid} goes on without this terminal; it says what it does in {daemon.log}")
    say(f"look with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f")
    say(f"end it with: smsweep sweep --stop {sweep_id}, when running trials have finished; kill {daemon.pid}, now")
    return {"pid": daemon.pid, "log": str(daemon.log)}


def _send_away(sweep_id: str, options: Mapping[str, object], *, with_agent: bool) -> DetachedProcessDocument:
    if options.get("job"):
        raise UsageError(
            "--job: an agent that is detached to SageMaker takes the job.yaml of its sweep's creation"
        )
    left = ("backend", "job")
    arguments = {name: value for name, value in options.items() if name not in left and value not in (None, False)}
    record = detach_service.send_away(sweep_id, arguments, with_agent=with_agent)
    if not with_agent:
        say(f"its store and source are in {record.uri}; start its agent, wherever that is, with:")
        command = (
            f"smsweep agent {sweep_id} --backend sagemaker --kept-at {record.uri} --source {record.uri}/source"
        )
        say(command)
        return {"kept_at": record.uri, "command": command}
    better = "; a PostgreSQL store (SMSWEEP_STORE) is safer than one in S3" if record.uri else ""
    say(f"detached agents on SageMaker are beta{better}")
    cost = "" if record.per_hour is None else f", ${record.per_hour:g} an hour"
    say(f"its agent is training job {record.jobs[-1]} on {record.instance_type}{cost}; this machine may go")
    say(f"look with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f; smsweep logs {sweep_id}, of the agent")
    say(f"end it with: smsweep sweep --stop {sweep_id}, when running trials have finished; or --cancel, now")
    return {"job": record.jobs[-1]}
