"""`smsweep endpoint`: SageMaker's training API on this machine."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import answer, say
from smsweep.services import emulator

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

    Any boto3, SDK or CLI client that has the printed variables in its environment runs its jobs on this machine.
    The access key in them is new each time, and no other is accepted. Ctrl-C stops all jobs.
    """

    def on_ready(opened: Any) -> None:
        answer(_as_json(opened) if as_json else _as_exports(opened))  # in one write: programs wait for it
        say(f"serving on {opened.url}; Ctrl-C stops the endpoint and its jobs")
        say("run the lines above in the shell of a client; whoever has the key runs jobs as you")
        say(f"token for {opened.url}/_smsweep/: {opened.token}")

    emulator.serve(
        on_ready,
        port=port,
        backend=backend,
        folder=folder,
        quota=quota,
        faults=faults,
    )


def _as_exports(opened: Any) -> str:
    """Return lines for a POSIX shell: what clients need, without a session of the user's own AWS account."""
    exports = (f"export {name}={shlex.quote(value)}" for name, value in opened.environ.items())
    return "\n".join((*exports, "unset AWS_PROFILE AWS_SESSION_TOKEN"))


def _as_json(opened: Any) -> str:
    known = {
        "url": opened.url,
        "access_key_id": opened.access_key_id,
        "secret_access_key": opened.secret_access_key,
        "region": opened.region,
        "token": opened.token,
        "environ": opened.environ,
    }
    return json.dumps(known)
