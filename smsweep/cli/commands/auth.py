"""`smsweep auth`: put the W&B key where training jobs can fetch it."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import answer, answer_json, say
from smsweep.services import auth as auth_service

EXAMPLES = """
smsweep auth
smsweep auth --ssm
smsweep auth --variable HF_TOKEN
"""


def auth(
    variable: Annotated[
        str, typer.Option("--variable", metavar="NAME", help="The environment variable that holds the secret.")
    ] = "WANDB_API_KEY",
    name: Annotated[
        str, typer.Option("--name", help="The secret's name in AWS (default: smsweep/wandb).", show_default=False)
    ] = "",
    ssm: Annotated[bool, typer.Option("--ssm", help="An SSM SecureString instead of Secrets Manager.")] = False,
    as_json: Json = False,
) -> None:
    """Put the W&B key where training jobs can fetch it.

    The key is found as wandb finds it: WANDB_API_KEY, wandb's settings, netrc. It goes into Secrets Manager, once;
    job.yaml refers to it, and no request, log or file of smsweep ever holds it.
    """
    stored = auth_service.auth(variable=variable, name=name, ssm=ssm)
    if as_json:
        answer_json({"variable": stored.variable, "arn": stored.arn})
        return
    say(f"{stored.variable}, found in {stored.found_in}, is in AWS now; put this into job.yaml:")
    answer(f"secrets:\n  {stored.variable}: {stored.arn}")
