"""`smsweep endpoint`: SageMaker's training API on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from smsweep import sdk
from smsweep.cli.options import Json
from smsweep.cli.output import answer, say

EXAMPLES = """
smsweep endpoint --backend docker
smsweep endpoint --port 0 --json --quota 3
smsweep endpoint --faults '{"throttle": {"CreateTrainingJob": 1}}'
"""


def endpoint(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="To listen on; 0 takes a free one.")
    ] = 8471,
    backend: Annotated[
        str, typer.Option("--backend", help="What runs the jobs: process (default) or docker.")
    ] = "process",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Of jobs and ledger (default: SMSWEEP_DIR/endpoint).")
    ] = None,
    quota: Annotated[
        int | None, typer.Option("--quota", min=0, help="Live instances of one type, as a service quota.")
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option("--faults", metavar="FILE|JSON", help="What is to go wrong; see docs/endpoint.md."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve SageMaker's training API here.

    Any boto3, SDK or CLI client that sets AWS_ENDPOINT_URL runs its jobs on this machine. Ctrl-C stops them all.
    """

    def on_ready(url: str, token: str) -> None:
        answer(json.dumps({"url": url, "token": token}) if as_json else url)  # one line: the client waits for it
        say(f"export AWS_ENDPOINT_URL={url}   # Ctrl-C stops the endpoint and its jobs; token: {token}")

    sdk.serve.serve(
        lambda opened: on_ready(opened.url, opened.token),
        port=port,
        backend=backend,
        folder=folder,
        quota=quota,
        faults=faults,
    )
