"""`smsweep run` and `plan`: create a sweep and run its trials, or only show what will run."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.commands.show import function_call
from smsweep.cli.commands.sweep import create, existing_file
from smsweep.cli.options import (
    SWEEP_YAML,
    Backend,
    Count,
    DefaultConfig,
    Detach,
    DetachTo,
    Entity,
    ForwardSignals,
    GpusPerTrial,
    InPlace,
    Job,
    Json,
    MaxConsecutiveFailedRuns,
    Name,
    Notify,
    On,
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
    Yes,
    default_config,
    whole_id,
)
from smsweep.cli.output import print_json, print_message, print_result, table
from smsweep.cli.run_agent import REMOTE, confirm, follow, is_remote, show_launch
from smsweep.cli.run_agent import detach as detach_agent
from smsweep.cli.text import clean, counted
from smsweep.core.json_documents import PlanDocument, PlannedTrialDocument
from smsweep.services.agents import detach as detach_service
from smsweep.services.agents.in_place import run_location
from smsweep.services.sweeps import costs
from smsweep.services.sweeps import plan as plan_service
from smsweep.services.views import json_views

RUN_EXAMPLES = """
smsweep run sweep.yaml
smsweep run sweep.yaml --parallel 4 --count 20
smsweep run sweep.yaml --parallel auto --gpus-per-trial 1
smsweep run sweep.yaml --backend docker --job job.yaml
smsweep run sweep.yaml --job job.yaml --on local:2 --on sagemaker:spot:16
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
    config: DefaultConfig = SWEEP_YAML,
    project: Project = None,
    entity: Entity = None,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    prior_runs: PriorRuns = None,
    reuse: Reuse = False,
    in_place: InPlace = None,
    count: Count = None,
    parallel: Parallel = 1,
    gpus_per_trial: GpusPerTrial = None,
    backend: Backend = None,
    on: On = None,
    max_consecutive_failed_runs: MaxConsecutiveFailedRuns = None,
    notify: Notify = None,
    detach: Detach = False,
    detach_to: DetachTo = None,
    forward_signals: ForwardSignals = False,
    term_timeout: TermTimeout = None,
    yes: Yes = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Create a sweep and run its trials.

    Combines `smsweep sweep` and `smsweep agent`. Prints the id at once. If the command is interrupted, `smsweep
    agent ID` continues the sweep. With --backend sagemaker it shows the cost first and asks for confirmation.
    Trials run in a copy of the program's folder without files that git ignores; --in-place runs them in the folder
    itself.
    """
    is_remote_agent = (detach or detach_to is not None) and is_remote(backend, detach_to, notify, on)
    plan_service.preflight(
        existing_file(config),
        program=program,
        job=job,
        backend=REMOTE if is_remote_agent else backend,
        on=on or (),
        in_place=in_place,
        notify=notify or (),
        gpus_per_trial=gpus_per_trial,
        parallel=parallel,
        pulls=True,
    )
    if is_remote_agent and detach_to is not Where.S3:
        detach_service.check_agent_role(job)
    paid = REMOTE if is_remote_agent else backend
    launch = costs.launch_of_config(config, job=job, backend=paid, on=on or (), count=count, parallel=parallel)
    confirm(launch, yes=yes)
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
        in_place=in_place,
        gpus_per_trial=gpus_per_trial,
        backend=REMOTE if is_remote_agent else backend,
        on=on or (),
    )
    if as_json:
        print_message(f"sweep {sweep_id}")
    else:
        print_result(sweep_id)
    if sys.stderr.isatty():
        from smsweep.cli.commands.serve import page_hint  # only a terminal needs it

        print_message(page_hint(sweep_id))
    if location := run_location(sweep_id, REMOTE if is_remote_agent else backend):
        print_message(location)
    if detach or detach_to:
        return detach_agent(
            sweep_id,
            {
                "count": count,
                "parallel": parallel,
                "gpus-per-trial": gpus_per_trial,
                "backend": backend,
                "on": on,
                "max-consecutive-failed-runs": max_consecutive_failed_runs,
                "term-timeout": term_timeout,
            },
            detach_to,
            notify,
            as_json=as_json,
        )
    code = follow(
        sweep_id,
        yes=True,
        as_json=as_json,
        count=count,
        parallel=parallel,
        gpus_per_trial=gpus_per_trial,
        backend=backend,
        on=on or (),
        max_consecutive_failed_runs=max_consecutive_failed_runs,
        term_timeout=term_timeout,
        notify=notify or (),
    )
    raise typer.Exit(code)


def plan(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|ID", callback=default_config, help="A W&B sweep YAML, or the id or name of a sweep."
        ),
    ] = SWEEP_YAML,
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="Number of trials to show.")] = 5,
    job: Job = None,
    backend: Backend = None,
    on: On = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed for random and bayes search.")] = 0,
    program: Program = None,
    prior_runs: PriorRuns = None,
    notify: Notify = None,
    as_json: Json = False,
) -> None:
    """Show the trials that a sweep will run; start nothing.

    Checks everything that `smsweep run` checks, with the same messages and exit codes: the configs, the program,
    the source and its size, secrets, prior runs, notifications, and the backend.
    Shows the number of trials, the params of the first ones, and their argument lists. The arguments are quoted
    for display; they run as a list, without a shell. With --job or --backend, --json includes the training job
    request of each trial. For an existing sweep, these are the requests that its agents send. With --backend
    sagemaker it also shows the account, the price, the cost and the quota of the jobs.
    """
    environ, sweep_id = dict(os.environ), ""
    if config.exists() or config.suffix:
        source = plan_service.check_run(
            existing_file(config),
            prior_runs=prior_runs or (),
            program=program,
            job=job,
            seed=seed,
            backend=backend,
            on=on or (),
            notify=notify or (),
        )
        planned = plan_service.plan(
            config,
            job=job,
            n=n,
            seed=seed,
            environ=environ,
            backend=backend,
            on=on or (),
            program=program,
            source=source,
        )
        launch = costs.launch_of_config(config, job=job, backend=backend, on=on or ())
    else:
        sweep_id = whole_id(str(config)) or ""
        planned = plan_service.plan_sweep(sweep_id, n=n, environ=environ, backend=backend, on=on or ())
        launch = costs.launch_of_sweep(sweep_id, backend=backend, on=on or ())
    for warning in planned.warnings:
        print_message(f"warning: {warning}")
    if as_json:
        print_json(as_data(planned) | ({"launch": launch} if launch else {}))
        return
    expected = (
        "unlimited" if planned.expected_trial_count is None else counted(planned.expected_trial_count, "trial")
    )
    suffix = f", the first {len(planned.trials)}:" if planned.trials else ""
    print_result(f"{planned.method}: {expected}{suffix}")
    for rule in planned.rules:
        print_result(clean(f"  {rule}"))
    if planned.trials:
        show_trials(planned)
    if planned.function is not None:
        name = clean(planned.function) or "no function yet"
        print_result(f"each trial calls: {name}; {function_call(sweep_id)} sends a function")
    if launch:
        print_result("")
        show_launch(launch, err=False)


def show_trials(planned: plan_service.Plan) -> None:
    """Print the params and the commands of the planned trials."""
    print_result("")
    params = [json_views.flat_params(trial.params) for trial in planned.trials]
    names = list(dict.fromkeys(name for row in params for name in row))
    table(
        ["trial", *names],
        [[trial.number, *map(row.get, names)] for trial, row in zip(planned.trials, params, strict=True)],
    )
    print_result("")
    for trial in planned.trials if planned.function is None else ():
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
        "rules": list(planned.rules),
        "trials": trials,
        "warnings": list(planned.warnings),
    }
