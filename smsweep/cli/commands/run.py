"""`smsweep run`: create a sweep and run its trials."""

from __future__ import annotations

import typer

from smsweep.cli.commands.sweep import create, existing
from smsweep.cli.options import (
    Backend,
    Config,
    Count,
    Detach,
    DetachTo,
    Entity,
    ForwardSignals,
    Job,
    Json,
    MaxConsecutiveFailedRuns,
    Name,
    Notify,
    Parallel,
    PriorRuns,
    Program,
    Project,
    Quiet,
    Reuse,
    Seed,
    TermTimeout,
    Verbose,
    Where,
)
from smsweep.cli.output import print_message, print_result
from smsweep.cli.run_agent import REMOTE, follow, is_remote
from smsweep.cli.run_agent import detach as detach_agent
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import run_agent

RUN_EXAMPLES = """
smsweep run sweep.yaml
smsweep run sweep.yaml --parallel 4 --count 20
smsweep run sweep.yaml --backend docker --job job.yaml
smsweep run sweep.yaml --parallel 4 --detach
smsweep run sweep.yaml --job job.yaml --backend sagemaker --parallel 4 --detach
"""


def run(
    config: Config,
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    prior_runs: PriorRuns = None,
    reuse: Reuse = False,
    count: Count = None,
    parallel: Parallel = 1,
    backend: Backend = None,
    max_consecutive_failed_runs: MaxConsecutiveFailedRuns = None,
    notify: Notify = None,
    detach: Detach = False,
    detach_to: DetachTo = None,
    forward_signals: ForwardSignals = False,
    term_timeout: TermTimeout = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Create a sweep and run its trials.

    Combines `smsweep sweep` and `smsweep agent`. Prints the id at once. If the command is interrupted, `smsweep
    agent ID` continues the sweep.
    """
    is_remote_agent = (detach or detach_to is not None) and is_remote(backend, detach_to, notify)
    run_agent.preflight(
        existing(config),
        program=program,
        job=job,
        backend=REMOTE if is_remote_agent else backend,
        notify=notify or (),
    )
    if is_remote_agent and detach_to is not Where.S3:
        detach_service.check_agent_role(job)
    sweep_id = create(
        config,
        project=project,
        entity=entity,
        name=name,
        program=program,
        job=job,
        seed=seed,
        prior_runs=prior_runs,
        reuse=reuse,
    )
    if as_json:
        print_message(f"sweep {sweep_id}")
    else:
        print_result(sweep_id)
    if detach or detach_to:
        return detach_agent(
            sweep_id,
            {
                "count": count,
                "parallel": parallel,
                "backend": backend,
                "max-consecutive-failed-runs": max_consecutive_failed_runs,
                "term-timeout": term_timeout,
            },
            detach_to,
            notify,
            as_json=as_json,
        )
    code = follow(
        sweep_id,
        as_json=as_json,
        count=count,
        parallel=parallel,
        backend=backend,
        max_consecutive_failed_runs=max_consecutive_failed_runs,
        term_timeout=term_timeout,
        notify=notify or (),
    )
    raise typer.Exit(code)
