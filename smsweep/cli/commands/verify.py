"""`smsweep verify`: check what smsweep assumes about a backend, with real jobs and under a cost cap."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smsweep.cli.options import Backend, Job, Json, Yes
from smsweep.cli.output import print_json, print_message, print_result, table
from smsweep.cli.text import counted
from smsweep.errors import UsageError, docs_url

if TYPE_CHECKING:
    from smsweep.services.verify.assumption import Assumption, Result
    from smsweep.services.verify.runner import Plan

VERIFY_EXAMPLES = """
smsweep verify --backend sagemaker --job job.yaml --dry-run
smsweep verify --backend sagemaker --job job.yaml --max-usd 1
smsweep verify --backend sagemaker --against emulator
smsweep verify --backend docker --job job.yaml
smsweep verify --backend sagemaker --job job.yaml --clean
"""


class Against(str, Enum):
    EMULATOR = "emulator"


def verify(
    backend: Backend = None,
    job: Job = None,
    max_usd: Annotated[
        float | None,
        typer.Option(
            "--max-usd",
            min=0,
            metavar="DOLLARS",
            help="Never spend more than this (default: 0 in AWS, so that only free checks run).",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Against | None,
        typer.Option("--against", help="Start the emulator, and check it instead of AWS.", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Run only this check; repeatable.", show_default=False),
    ] = None,
    instance_type: Annotated[
        str, typer.Option("--instance-type", metavar="TYPE", help="Instance type of all jobs.")
    ] = "ml.m5.large",
    create_roles: Annotated[
        bool,
        typer.Option(
            "--create-roles", help="Also run the check that creates two IAM roles with the printed policies."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the report (default: `verify` in SMSWEEP_DIR).",
            show_default=False,
        ),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Start a new run, even if the last one has checks left.")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Only remove what earlier runs left, and stop their jobs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the checks and what they can cost; run none.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Check what smsweep assumes about a backend.

    Runs small jobs and calls, cheapest first, and compares each answer with the assumption of smsweep and its
    emulator. A check runs only if its worst case fits into the rest of --max-usd. Writes a report as Markdown and
    JSON, without account ids. Removes everything that it creates; a killed run is cleaned up and continued by the
    next one. The exit code is 1 if an answer differs.
    """
    from smsweep.services.verify import report, runner  # boto3 is slow to import

    if output is not None and not output.is_dir():
        raise UsageError(f"{output}: is not a folder; create it, or use another --output")
    options = runner.Options(
        backend=backend,
        job=job,
        against_emulator=against is not None,
        max_usd=max_usd,
        instance_type=instance_type,
        only=tuple(only or ()),
        creates_roles=create_roles,
        is_new=new,
    )
    if clean:
        remains = runner.clean_all(options, on_progress=print_message)
        for line in remains:
            print_message(f"still there: {line}")
        raise typer.Exit(1 if remains else 0)

    def consent(plan: Plan) -> None:
        show_plan(plan)
        if dry_run:
            raise typer.Exit
        confirm(plan, yes=yes)

    def on_result(check: Assumption, result: Result) -> None:
        why = f": {', '.join(result.differences) or result.reason}" if result.differences or result.reason else ""
        print_message(f"{result.verdict:<9} {check.id}{why}")

    done = runner.verify(options, consent=consent, on_result=on_result, on_progress=print_message)
    document = report.document_of(done)
    paths = report.write(document, output or report.default_folder())
    for line in done.remains:
        print_message(f"still there: {line}; remove it with: smsweep verify --clean")
    if as_json:
        print_json(document)
    else:
        for each in document["checks"]:
            if each["verdict"] == "different":
                print_message(f"{each['id']}: {', '.join(each['differences'])}; change {each['file']}")
        print_result(str(paths[0]))
    if done.is_different or done.remains:
        raise typer.Exit(1)


def show_plan(plan: Plan) -> None:
    """Print the checks of a run and their worst cost, on stderr."""
    facts = plan.facts
    where = f"{facts.backend} in {facts.place}" if facts.region else f"{facts.backend} on this machine"
    if facts.region:
        where += (
            f", account {facts.account}, {facts.region}, {facts.instance_type} at ${facts.price_per_hour:g}/hour"
        )
    print_message(f"run {plan.run}{' (continued)' if plan.is_continued else ''}: {where}")
    rows = [
        (
            planned.check.id,
            f"${planned.worst_usd:.2f}" if facts.is_priced else "",
            f"skipped: {planned.reason}" if planned.reason else planned.check.calls,
        )
        for planned in plan.checks
    ]
    if rows:
        table(["check", "at most", "does"], rows, err=True)
    else:
        print_message("all checks have a result; start again with --new")


def confirm(plan: Plan, *, yes: bool) -> None:
    """Ask before a run in an AWS account. Jobs of the emulator and of this machine cost nothing.

    Raises:
        UsageError: If there is no terminal to ask, and --yes is missing.
        typer.Abort: If the user does not confirm.
    """
    if yes or plan.facts.place != "AWS" or not plan.checks:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "smsweep verify: calls AWS, and there is no terminal to ask you; read the plan, then add --yes "
            f"(see {docs_url('verified')})"
        )
    n = sum(not planned.reason for planned in plan.checks)
    typer.confirm(
        f"Run {counted(n, 'check')} in account {plan.facts.account}, for at most ${plan.worst_usd:.2f}?",
        abort=True,
        err=True,
    )
