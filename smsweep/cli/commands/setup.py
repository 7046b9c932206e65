"""`smsweep doctor`, `auth`, `iam`, `completion` and `skill`: check and set up this machine and an AWS account."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # used by typer's own --show-completion

from smsweep.cli.main import COMPLETE_VAR
from smsweep.cli.options import Backend, Job, Json, On, complete_id, whole_id
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.errors import UsageError
from smsweep.services import doctor as doctor_service

DOCTOR_EXAMPLES = """
smsweep doctor
smsweep doctor --backend docker --job job.yaml
smsweep doctor --backend sagemaker --job job.yaml
smsweep doctor --json
"""
COMPLETION_EXAMPLES = """
source <(smsweep completion bash)
smsweep completion zsh > ~/.zfunc/_smsweep
smsweep completion fish > ~/.config/fish/completions/smsweep.fish
"""
SKILL_EXAMPLES = """
smsweep skill
smsweep skill > SKILL.md
smsweep skill --json
"""
IAM_EXAMPLES = """
smsweep iam --job job.yaml
smsweep iam --job job.yaml --of role
smsweep iam --sweep abcd1234 --of role
smsweep iam --job job.yaml --of launcher --with-delete
"""
AUTH_EXAMPLES = """
smsweep auth
smsweep auth --ssm
smsweep auth --variable HF_TOKEN
"""


def doctor(job: Job = None, backend: Backend = None, on: On = None, as_json: Json = False) -> None:
    """Check that this machine has what sweeps need.

    Prints a fix for each problem. The exit code is 1 if something is missing that the chosen backend requires.
    With --backend sagemaker it checks the AWS account. With --job it also checks what job.yaml names: the image,
    and on SageMaker the role, the S3 bucket and the instance quota.
    """
    checks = doctor_service.examine(backend=backend, on=on or (), job=job)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            verdict = "MISSING" if check.is_required else "missing" if check.is_known else "unknown"
            verdict = "ok" if check.is_ok else verdict
            fix = "" if check.is_ok else f"; {check.fix}"
            print_result(f"{verdict:<8} {check.what}: {check.result}{fix}")
    if any(check.is_required and not check.is_ok for check in checks):
        raise typer.Exit(1)


class Shell(str, Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")], as_json: Json = False) -> None:
    """Print a shell completion script."""
    script = get_completion_script(
        prog_name="smsweep",
        complete_var=COMPLETE_VAR,
        shell=shell.value,  # a name; no shell starts # nosec B604
    )
    print_json({"shell": shell.value, "script": script}) if as_json else print_result(script)


def skill(as_json: Json = False) -> None:
    """Print instructions for coding agents.

    They are a Markdown page with front matter: what to do, what never to do, and commands with their output.
    """
    page = (Path(__file__).parents[1] / "skill.md").read_text(encoding="utf-8")
    print_json({"skill": page}) if as_json else print_result(page.rstrip("\n"))


def iam(
    job: Job = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="ID",
            callback=whole_id,
            autocompletion=complete_id,
            help="Restrict the policies to the jobs, checkpoints and agent of this sweep.",
        ),
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="Print one policy: launcher, role or agent.")] = None,
    with_delete: Annotated[
        bool, typer.Option("--with-delete", help="Let the launcher delete results (rm --s3 and prune).")
    ] = False,
    with_tuning_jobs: Annotated[
        bool,
        typer.Option("--with-tuning-jobs", help="Let the launcher read tuning jobs (--from-tuner and -R)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Accepted; the output is always JSON.")] = False,
) -> None:
    """Print the IAM policies that sweeps need.

    There are three: for the user who runs smsweep (launcher), for the execution role of the jobs (role), and for
    a detached agent (agent). They allow only the calls that smsweep makes. --job restricts them to the role,
    buckets, keys and secrets of job.yaml. --sweep restricts them to one sweep, and reads its job.yaml.
    """
    from smsweep.services import aws_setup  # boto3 is slow to import

    policies = aws_setup.policies(job, sweep, with_delete=with_delete, with_tuning_jobs=with_tuning_jobs)
    if of is not None and of not in policies:
        raise UsageError(f"--of: {of!r} is not a policy; use one of {', '.join(policies)}")
    print_json(policies[of] if of else policies)


def auth(
    variable: Annotated[
        str, typer.Option("--variable", metavar="NAME", help="The environment variable with the secret.")
    ] = "WANDB_API_KEY",
    name: Annotated[
        str, typer.Option("--name", help="Name of the secret in AWS (default: smsweep/wandb).", show_default=False)
    ] = "",
    ssm: Annotated[
        bool, typer.Option("--ssm", help="Store an SSM SecureString instead of a Secrets Manager secret.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store the W&B key where training jobs can read it.

    Finds the key as wandb does (WANDB_API_KEY, wandb's settings, netrc) and stores it in Secrets Manager. job.yaml
    only refers to the secret; smsweep never writes the key into a request, log or file.
    """
    from smsweep.services import aws_setup  # boto3 is slow to import

    stored = aws_setup.auth(variable=variable, name=name, ssm=ssm)
    if as_json:
        print_json({"variable": stored.variable, "arn": stored.arn})
        return
    print_message(f"{stored.variable} from {stored.read_from} is stored in AWS; add this to job.yaml:")
    print_result(f"secrets:\n  {stored.variable}: {stored.arn}")
