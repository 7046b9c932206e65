"""`smsweep plan`: show the trials that a sweep will run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Backend, Job, Json
from smsweep.cli.output import print_json, print_message, print_result, table
from smsweep.cli.text import clean
from smsweep.core.json_documents import PlanDocument, PlannedTrialDocument
from smsweep.services.sweeps import plan as plan_service
from smsweep.services.views import json_views

PLAN_EXAMPLES = """
smsweep plan sweep.yaml
smsweep plan sweep.yaml --n 20 --seed 42
smsweep plan sweep.yaml --job job.yaml --backend sagemaker --json
smsweep plan abcd1234 --json
"""


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
