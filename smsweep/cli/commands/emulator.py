"""`smsweep emulator`: serve the SageMaker training API on this machine."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import print_message, print_result
from smsweep.services import emulator as emulator_service

EMULATOR_EXAMPLES = """
smsweep emulator --backend docker
smsweep emulator --port 0 --json --quota 3
smsweep emulator --faults '{"throttle": {"CreateTrainingJob": 1}}'
"""


def emulator(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8471,
    backend: Annotated[
        str, typer.Option("--backend", help="Where jobs run: process (default) or docker.")
    ] = "process",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Folder of the jobs and the ledger (default: SMSWEEP_DIR/emulator)."),
    ] = None,
    quota: Annotated[
        int | None,
        typer.Option("--quota", min=0, help="Service quota: instances of one type that may run at the same time."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option("--faults", metavar="FILE|JSON", help="Faults to inject; see docs/emulator.md."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the SageMaker training API on this machine.

    Prints environment variables. A client (boto3, the SageMaker SDK, the AWS CLI) that has them runs its training
    jobs on this machine. The access key is new at each start; no other key is accepted. Ctrl-C stops the emulator
    and all jobs.
    """

    def on_ready(opened: Any) -> None:
        print_result(_as_json(opened) if as_json else _as_exports(opened))  # one write, for programs that wait
        print_message(f"serving on {opened.url}; Ctrl-C stops the emulator and its jobs")
        print_message("run the lines above in the shell of a client; anyone who has the key can run jobs as you")
        print_message(f"token for {opened.url}/_smsweep/: {opened.token}")

    emulator_service.serve(
        on_ready,
        port=port,
        backend=backend,
        folder=folder,
        quota=quota,
        faults=faults,
    )


def _as_exports(opened: Any) -> str:
    """Return lines for a POSIX shell that set the client's variables and unset those of the user's AWS account."""
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
