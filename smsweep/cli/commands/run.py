"""`smsweep run` and `plan`: create a sweep and run its trials, or only show what will run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.commands.sweep import create, existing_file
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
from smsweep.cli.output import print_json, print_message, print_result, table
from smsweep.cli.run_agent import REMOTE, follow, is_remote
from smsweep.cli.run_agent import detach as detach_agent
from smsweep.cli.text import clean
from smsweep.core.json_documents import PlanDocument, PlannedTrialDocument
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import plan as plan_service
from smsweep.services.views import json_views

RUN_EXAMPLES = """
smsweep run sweep.yaml
smsweep run sweep.yaml --parallel 4 --count 20
smsweep run sweep.yaml --backend docker --job job.yaml
smsweep run sweep.yaml --parallel 4 --detach
smsweep run sweep.yaml --job job.yaml --backend sagemaker --parallel 4 --detach
"""
PLAN_EXAMPLES = """
smsweep plan sweep.yaml
smsweep plan sweep.yaml --n 20 --seed 42
smsweep plan sweep.yaml --job job.yaml --backend sagemaker --json
smsweep plan abcd1234 --json
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
        existing_file(config),
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


def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG|ID", help="A W&B sweep YAML, or the id of a sweep.")],
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="Number of trials to show.")] = 5,
    job: Job = None,
    backend: Backend = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed for random and bayes search.")] = 0,
    as_json: Json = False,
) -> None:
    """Show the trials that a sweep will run; start nothing.

    Shows the number of trials, the params of the first ones, and their argument lists. The arguments are quoted
    for display; they run as a list, without a shell. With --job or --backend, --json includes the training job
    request of each trial. For an existing sweep, these are the requests that its agents send.
    """
    environ = dict(os.environ)
    if config.exists() or config.suffix:
        planned = plan_service.plan(config, job=job, n=n, seed=seed, environ=environ, backend=backend)
    else:
        planned = plan_service.plan_sweep(str(config), n=n, environ=environ, backend=backend)
    for warning in planned.warnings:
        print_message(f"warning: {warning}")
    if as_json:
        print_json(as_data(planned))
        return
    expected = "unlimited" if planned.expected_trial_count is None else f"{planned.expected_trial_count} trials"
    shown = f", the first {len(planned.trials)}:" if planned.trials else ""
    print_result(f"{planned.method}: {expected}{shown}")
    if not planned.trials:
        return
    print_result("")
    params = [json_views.flat_params(trial.params) for trial in planned.trials]
    names = list(dict.fromkeys(name for row in params for name in row))
    table(
        ["trial", *names],
        [[trial.number, *map(row.get, names)] for trial, row in zip(planned.trials, params, strict=True)],
    )
    print_result("")
    for trial in planned.trials:
        print_result(clean(shlex.join(trial.argv)))


def as_data(planned: plan_service.Plan) -> PlanDocument:
    trials: list[PlannedTrialDocument] = []
    for trial in planned.trials:
        document: PlannedTrialDocument = {
            "number": trial.number,
            "params": dict(trial.params),
            "argv": list(trial.argv),
        }
        if trial.request is not None:
            document["request"] = dict(trial.request)
        trials.append(document)
    return {
        "method": planned.method,
        "expected_trial_count": planned.expected_trial_count,
        "trials": trials,
        "warnings": list(planned.warnings),
    }
