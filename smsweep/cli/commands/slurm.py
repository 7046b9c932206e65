"""`smsweep slurm`: run a sweep as a SLURM job array."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Backend, Json, SweepId
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.agents import slurm as slurm_service

EXAMPLES = """
smsweep slurm abcd1234 --array 100 > sweep.sbatch
smsweep slurm abcd1234 --array 100 --at-once 10 --option time=02:00:00 --option gres=gpu:1 --submit
"""


def slurm(
    sweep_id: SweepId,
    array: Annotated[int, typer.Option("--array", min=1, help="Number of tasks; each runs one trial.")],
    at_once: Annotated[
        int | None, typer.Option("--at-once", min=1, help="Maximum number of tasks that run at the same time.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of sbatch; repeatable."),
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
