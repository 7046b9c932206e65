"""`smsweep agent`, `publish` and `slurm`: run trials here, from a queue, or in a SLURM job array."""

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
    GpusPerTrial,
    InPlace,
    Job,
    Json,
    MaxConsecutiveFailedRuns,
    Notify,
    On,
    OptionalSweepId,
    Parallel,
    Project,
    Quiet,
    Reuse,
    SweepId,
    TermTimeout,
    Verbose,
    Yes,
)
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.run_agent import REMOTE, confirm_agent, follow, is_remote
from smsweep.cli.run_agent import detach as detach_agent
from smsweep.cli.text import counted
from smsweep.errors import UsageError
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import queue as queue_service
from smsweep.services.agents import queue as slurm_service
from smsweep.services.wandb import hosted

AGENT_EXAMPLES = """
smsweep agent abcd1234
smsweep agent abcd1234 --parallel 4
smsweep agent abcd1234 --count 1
smsweep agent team/digits/abcd1234 --backend docker --job job.yaml
smsweep agent --queue https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps
smsweep agent team/digits/efgh5678 --controller wandb
"""
PUBLISH_EXAMPLES = """
smsweep publish abcd1234 --queue https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps --agents 20
smsweep publish abcd1234 --queue URL --agents 20 --source s3://bucket/sources
"""
SLURM_EXAMPLES = """
smsweep slurm abcd1234 --array 100 > sweep.sbatch
smsweep slurm abcd1234 --array 100 --at-once 10 --option time=02:00:00 --option gres=gpu:1 --submit
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
    gpus_per_trial: GpusPerTrial = None,
    backend: Backend = None,
    on: On = None,
    job: Job = None,
    project: Project = None,
    entity: Entity = None,
    max_consecutive_failed_runs: MaxConsecutiveFailedRuns = None,
    notify: Notify = None,
    reuse: Reuse = False,
    in_place: InPlace = None,
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
    yes: Yes = False,
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
        "gpus_per_trial": gpus_per_trial,
        "backend": backend,
        "on": on or (),
        "job": job,
        "project": project,
        "entity": entity,
        "max_consecutive_failed_runs": max_consecutive_failed_runs,
        "term_timeout": term_timeout,
        "reuse": reuse,
        "in_place": in_place,
        "notify": notify or (),
    }
    if queue is not None and sweep_id is None:
        if kept_at or source or detach or detach_to or controller is Controller.WANDB:
            raise UsageError(
                "--queue cannot be combined with --kept-at, --source, --detach or --controller wandb; remove one"
            )
        raise typer.Exit(
            queue_service.accept_invitations(
                queue, lambda received_id: follow(received_id, yes=yes, **options), patience_s=wait
            )
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
        paid = REMOTE if is_remote(backend, detach_to, notify, on) else backend
        if paid == REMOTE:
            detach_service.check_remote(sweep_id, in_place)
        confirm_agent(sweep_id, yes=yes, backend=paid, on=on or (), job=job, count=count, parallel=parallel)
        options["no_in_place"] = in_place is False
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
        return follow(sweep_id, yes=yes, **options)

    raise typer.Exit(detach_service.work_on(run_trials))


def publish(
    sweep_id: SweepId,
    queue: Annotated[str, typer.Option("--queue", metavar="URL", help="URL of an SQS queue.")],
    agents: Annotated[
        int, typer.Option("--agents", min=1, help="Number of agents to invite; one message for each.")
    ] = 1,
    source: Annotated[
        str,
        typer.Option(
            "--source", metavar="s3://BUCKET/PREFIX", help="Upload the source of the sweep there for the agents."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Invite agents to a sweep through an SQS queue.

    Each message starts one `smsweep agent --queue URL` on any machine.
    """
    published = queue_service.publish(sweep_id, queue, agents=agents, source=source)
    print_json({"id": published, "agents": agents, "queue": queue}) if as_json else print_result(published)
    print_message(f"sent {counted(agents, 'invitation')}; start agents with: smsweep agent --queue {queue}")


def slurm(
    sweep_id: SweepId,
    array: Annotated[int, typer.Option("--array", min=1, help="Number of tasks; each runs one trial.")],
    at_once: Annotated[
        int | None, typer.Option("--at-once", min=1, help="Maximum number of tasks that run at the same time.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of sbatch; repeatable."),
    ] = None,
    backend: Backend = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Submit the script with sbatch and print the job id.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print or submit a SLURM job array that runs a sweep.

    Each task runs one trial of the sweep. A task that is preempted or reaches its time limit returns its trial to
    the queue and requeues itself.
    """
    script = slurm_service.script(sweep_id, array, at_once=at_once, options=option or (), backend=backend)
    if not submit:
        print_json({"script": script}) if as_json else print_result(script.rstrip("\n"))
        return
    job_id = slurm_service.submit(script)
    print_json({"job_id": job_id}) if as_json else print_result(job_id)
    print_message(f"watch the tasks with: squeue --me; smsweep trials {sweep_id}")
