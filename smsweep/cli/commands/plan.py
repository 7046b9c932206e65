"""`smsweep plan`: what a sweep would run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Backend, Job, Json
from smsweep.cli.output import answer, answer_json, say, table
from smsweep.cli.text import clean
from smsweep.core.json_documents import PlanDocument, PlannedTrialDocument
from smsweep.services.sweeps import plan as plan_service
from smsweep.services.views import json_views

EXAMPLES = """
smsweep plan sweep.yaml
smsweep plan sweep.yaml --n 20 --seed 42
smsweep plan sweep.yaml --job job.yaml --backend sagemaker --json
smsweep plan abcd1234 --json
"""


def plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG|ID", help="A W&B sweep YAML, or a sweep that exists.")],
    n: Annotated[int, typer.Option("--n", "-n", min=0, help="How many trials to show.")] = 5,
    job: Job = None,
    backend: Backend = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws of random and bayes follow from it.")] = 0,
    as_json: Json = False,
) -> None:
    """Show what a sweep would run; nothing is started.

    How many trials there are, and how the first ones will be started. Each line is the argv of one trial,
    quoted for reading: it is executed as a list, without a shell. With --job or --backend, --json shows each
    trial's training job request too: of a sweep that exists the very ones that its agents send.
    """
    environ = dict(os.environ)
    if config.exists() or config.suffix:
        planned = plan_service.plan(config, job=job, n=n, seed=seed, environ=environ, backend=backend)
    else:
        planned = plan_service.plan_sweep(str(config), n=n, environ=environ, backend=backend)
    for warning in planned.warnings:
        say(f"warning: {warning}")
    if as_json:
        answer_json(as_data(planned))
        return
    expected = "no end" if planned.expected_trial_count is None else f"{planned.expected_trial_count} trials"
    shown = f", the first {len(planned.trials)}:" if planned.trials else ""
    answer(f"{planned.method}: {expected}{shown}")
    if not planned.trials:
        return
    answer("")
    params = [json_views.flat_params(trial.params) for trial in planned.trials]
    names = list(dict.fromkeys(name for row in params for name in row))
    table(
        ["trial", *names],
        [[trial.number, *map(row.get, names)] for trial, row in zip(planned.trials, params, strict=True)],
    )
    answer("")
    for trial in planned.trials:
        answer(clean(shlex.join(trial.argv)))


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
