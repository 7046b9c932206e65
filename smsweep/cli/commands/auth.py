"""`smsweep auth`: store the W&B key where training jobs can read it."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services import auth as auth_service

EXAMPLES = """
smsweep auth
smsweep auth --ssm
smsweep auth --variable HF_TOKEN
"""


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
    stored = auth_service.auth(variable=variable, name=name, ssm=ssm)
    if as_json:
        print_json({"variable": stored.variable, "arn": stored.arn})
        return
    print_message(f"{stored.variable} from {stored.found_in} is stored in AWS; add this to job.yaml:")
    print_result(f"secrets:\n  {stored.variable}: {stored.arn}")
