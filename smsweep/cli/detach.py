"""Detached agents: what `run --detach` and `agent --detach` share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from smsweep.cli.options import Where
from smsweep.cli.output import print_json, print_message
from smsweep.core.json_documents import DetachedProcessDocument
from smsweep.errors import UsageError
from smsweep.services.agents import detach as detach_service
from smsweep.services.views import json_views

REMOTE = "sagemaker"  # the backend whose agent can run as a job too


def detach(
    sweep_id: str,
    options: Mapping[str, object],
    where: Where | None,
    notify: Sequence[str] | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Start a detached agent, and print how to watch and stop it.

    Args:
        sweep_id: The sweep.
        options: Options of `smsweep agent`, by their long names without dashes.
        where: The place of the agent; None to choose by backend.
        notify: Webhooks and commands to notify.
        as_json: Print JSON.

    Raises:
        UsageError: If an option is not possible with a detached agent.
    """
    detached = _start(sweep_id, options, where, notify)
    if as_json:
        print_json({**json_views.show(sweep_id), "detached": detached})


def is_remote(backend: object, where: Where | None, notify: Sequence[str] | None) -> bool:
    """Return True if the agent runs on another machine.

    Args:
        backend: The value of --backend.
        where: The value of --detach-to.
        notify: The values of --notify.

    Raises:
        UsageError: If an option is not possible with an agent on another machine.
    """
    backend = backend or os.environ.get("SMSWEEP_BACKEND")
    if where not in (Where.SAGEMAKER, Where.S3) and (where is not None or backend != REMOTE):
        return False
    if backend not in (None, "", REMOTE):
        raise UsageError(f"--detach: a remote agent cannot reach --backend {backend}; use --backend {REMOTE}")
    if notify:
        raise UsageError(
            "--notify: an agent on SageMaker reads notifications from job.yaml only; add notify: [...] there"
        )
    return True


def _start(
    sweep_id: str, options: Mapping[str, object], where: Where | None, notify: Sequence[str] | None
) -> DetachedProcessDocument:
    """Start the agent and return its fields for --json."""
    if is_remote(options.get("backend"), where, notify):
        return _start_remote(sweep_id, options, with_agent=where is not Where.S3)
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value not in (None, False):
            arguments.append(f"--{name}={value}")
    daemon = detach_service.detach(sweep_id, arguments, notify or ())
    print_message(f"agent {daemon.pid} runs in the background; its log is {daemon.log}")
    print_message(f"watch with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f")
    print_message(
        f"stop after the running trials with: smsweep sweep --stop {sweep_id}; stop now with: kill {daemon.pid}"
    )
    return {"pid": daemon.pid, "log": str(daemon.log)}


def _start_remote(sweep_id: str, options: Mapping[str, object], *, with_agent: bool) -> DetachedProcessDocument:
    if options.get("job"):
        raise UsageError(
            "--job: an agent on SageMaker uses the job.yaml that the sweep was created with; remove --job"
        )
    excluded = ("backend", "job")
    arguments = {
        name: value for name, value in options.items() if name not in excluded and value not in (None, False)
    }
    record = detach_service.send_away(sweep_id, arguments, with_agent=with_agent)
    if not with_agent:
        print_message(f"the store and the source are in {record.uri}; start an agent on any machine with:")
        command = (
            f"smsweep agent {sweep_id} --backend sagemaker --kept-at {record.uri} --source {record.uri}/source"
        )
        print_message(command)
        return {"kept_at": record.uri, "command": command}
    hint = "; a PostgreSQL store (SMSWEEP_STORE) is safer than one in S3" if record.uri else ""
    print_message(f"detached agents on SageMaker are beta{hint}")
    cost = "" if record.per_hour is None else f", ${record.per_hour:g} an hour"
    print_message(
        f"the agent is training job {record.jobs[-1]} on {record.instance_type}{cost}; this machine can be off"
    )
    print_message(
        f"watch with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f; the agent: smsweep logs {sweep_id}"
    )
    print_message(
        f"stop after the running trials with: smsweep sweep --stop {sweep_id}; stop now with --cancel instead"
    )
    return {"job": record.jobs[-1]}
