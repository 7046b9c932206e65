"""`smsweep slurm`: run a sweep as a SLURM job array."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Backend, Json, SweepId
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.agents import slurm as slurm_service

EXAMPLES = """
smsweep slurm abcd1234 --array 100 > sweep.sbatch
smsweep slurm abcd1234 --array 100 --at-once 10 --option time=02:00:00 --option gres=gpu:1 --submit
"""


def slurm(
    sweep_id: SweepId,
    array: Annotated[int, typer.Option("--array", min=1, help="Tasks: one trial each.")],
    at_once: Annotated[int | None, typer.Option("--at-once", min=1, help="Tasks that may run at a time.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="One of sbatch's; may be repeated."),
    ] = None,
    backend: Backend = None,
    submit: Annotated[bool, typer.Option("--submit", help="Hand it to sbatch and print the job's id.")] = False,
    as_json: Json = False,
) -> None:
    """Print the batch script of a SLURM job array.

    Each of its tasks runs one trial of the sweep. A task whose time is nearly up, or that is preempted, puts
    its trial and itself back into their queues.
    """
    script = slurm_service.script(sweep_id, array, at_once=at_once, options=option or (), backend=backend)
    if not submit:
        answer_json({"script": script}) if as_json else answer(script.rstrip("\n"))
        return
    job_id = slurm_service.submit(script)
    answer_json({"job_id": job_id}) if as_json else answer(job_id)
    say(f"watch it with: squeue --me; smsweep trials {sweep_id}")
