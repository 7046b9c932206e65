"""`smsweep agent`: run the trials of a sweep."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from smsweep.cli.options import (
    Backend,
    Count,
    Detach,
    DetachTo,
    Entity,
    ForwardSignals,
    Job,
    Json,
    MaxConsecutiveFailedRuns,
    Notify,
    OptionalSweepId,
    Parallel,
    Project,
    Quiet,
    Reuse,
    TermTimeout,
    Verbose,
)
from smsweep.cli.run_agent import detach as detach_agent
from smsweep.cli.run_agent import follow
from smsweep.errors import UsageError
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import queue as queue_service
from smsweep.services.wandb import hosted

EXAMPLES = """
smsweep agent abcd1234
smsweep agent abcd1234 --parallel 4
smsweep agent abcd1234 --count 1
smsweep agent team/digits/abcd1234 --backend docker --job job.yaml
smsweep agent --queue https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps
smsweep agent team/digits/efgh5678 --controller wandb
"""


class Controller(str, Enum):
    LOCAL = "local"
    WANDB = "wandb"


def agent(
    sweep_id: OptionalSweepId = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="URL", help="Receive sweeps from an SQS queue instead of ID.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0, metavar="S", help="With --queue: exit if no message arrives for this many seconds."
        ),
    ] = 150,
    count: Count = None,
    parallel: Parallel = 1,
    backend: Backend = None,
    job: Job = None,
    project: Project = None,
    entity: Entity = None,
    max_consecutive_failed_runs: MaxConsecutiveFailedRuns = None,
    notify: Notify = None,
    reuse: Reuse = False,
    controller: Annotated[
        Controller, typer.Option("--controller", help="What chooses the params: smsweep (local) or W&B's server.")
    ] = Controller.LOCAL,
    kept_at: Annotated[
        str | None,
        typer.Option("--kept-at", metavar="URI", help="S3 URI of the store of a detached sweep."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="URI",
            help="S3 URI to download the source of the sweep from, if this machine does not have it.",
        ),
    ] = None,
    detach: Detach = False,
    detach_to: DetachTo = None,
    forward_signals: ForwardSignals = False,
    term_timeout: TermTimeout = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run trials of a sweep until none is left.

    Several agents can share a sweep. Ctrl-C once lets running trials finish, twice stops them, three times kills
    them. SIGTERM stops running trials and returns them to the queue. After a crash, start an agent again: it
    adopts the jobs that still run and continues. With --queue the agent runs the sweeps that `smsweep publish`
    sends. With --controller wandb the sweep is on W&B's server, and each job runs W&B's own agent for one run.
    """
    options: dict[str, Any] = {
        "as_json": as_json,
        "count": count,
        "parallel": parallel,
        "backend": backend,
        "job": job,
        "project": project,
        "entity": entity,
        "max_consecutive_failed_runs": max_consecutive_failed_runs,
        "term_timeout": term_timeout,
        "reuse": reuse,
        "notify": notify or (),
    }
    if queue is not None and sweep_id is None:
        if kept_at or source or detach or detach_to or controller is Controller.WANDB:
            raise UsageError(
                "--queue cannot be combined with --kept-at, --source, --detach or --controller wandb; remove one"
            )
        raise typer.Exit(
            queue_service.work_off(queue, lambda received_id: follow(received_id, **options), patience_s=wait)
        )
    if sweep_id is None or queue is not None:
        raise UsageError("an agent needs either a sweep's id or --queue URL; give one of them")
    if controller is Controller.WANDB:
        sweep_id = hosted.attach(sweep_id, project=project, entity=entity, job=job)
    if kept_at is not None:
        detach_service.attach(sweep_id, kept_at)
    if detach or detach_to:
        if source is not None:
            queue_service.fetch_source(sweep_id, source)
        excluded = ("as_json", "project", "entity", "notify")
        return detach_agent(
            sweep_id,
            {name.replace("_", "-"): value for name, value in options.items() if name not in excluded},
            detach_to,
            notify,
            as_json=as_json,
        )

    def run_trials() -> int:
        if source is not None:
            queue_service.fetch_source(sweep_id, source)
        return follow(sweep_id, **options)

    raise typer.Exit(detach_service.work_on(run_trials))
