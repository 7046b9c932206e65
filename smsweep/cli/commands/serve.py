"""`smsweep ui`, `emulator` and `mcp`: serve the web page, the SageMaker training API, or tools for agents."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import print_message, print_result
from smsweep.errors import UsageError, docs_url
from smsweep.services import emulator as emulator_service
from smsweep.services.agent_ids import is_gone, new_agent_id
from smsweep.services.workspace import Workspace
from smsweep.util.atomic_file import replacing

UI_EXAMPLES = """
smsweep ui
smsweep ui --port 0 --no-open
smsweep ui --host 0.0.0.0 --allow-host build7.example.org
"""

MCP_EXAMPLES = """
smsweep mcp
smsweep mcp --max-trials 50 --backends process --folder ~/digits
smsweep mcp --budget-usd 20 --backends sagemaker --instance-types ml.m5.large --role ROLE_ARN
"""

PAGE_FILE = "page.json"  # in the workspace: URL and process of the page that started last
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
EMULATOR_EXAMPLES = """
smsweep emulator --backend docker
smsweep emulator --port 0 --json --quota 3
smsweep emulator --faults '{"throttle": {"CreateTrainingJob": 1}}'
"""


def ui(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; the traffic is not encrypted.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8472,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="A host name that browsers use for this machine; repeatable."
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Show and control sweeps in a browser.

    Shows trials, figures and logs, compares trials, creates sweeps, and can pause, resume, stop, cancel, retry and
    remove. Only browsers with the token in the printed URL have access. Ctrl-C stops the page, not the sweeps.
    Needs the extra `ui`.
    """
    workspace = Workspace()
    _ = workspace.has_store  # raises if SMSWEEP_DIR cannot be used
    own = {"url": "", "server": new_agent_id()}

    def on_ready(served: Any) -> None:
        own["url"] = served.url
        _record_page(workspace, own)
        document = {"url": served.url, "token": served.token, "entry": served.entry}
        print_result(json.dumps(document) if as_json else served.entry)
        if not served.is_loopback:
            print_message("warning: open to the network without encryption; an SSH tunnel to 127.0.0.1 is safer")
        print_message("anyone with this URL can control your sweeps; Ctrl-C stops the page, sweeps continue")
        sys.stdout.flush()
        if not (no_open or as_json) and _has_screen():
            webbrowser.open(served.ticket_url)

    try:
        from smsweep.web.server import serve  # its server is an extra
    except ImportError as err:
        raise UsageError(f"smsweep ui needs Starlette and uvicorn ({err}); pip install 'smsweep[ui]'") from err
    try:
        serve(on_ready, host=host, port=port, names=allow_host or ())
    finally:
        if _read_page(workspace) == own:
            (workspace.dir / PAGE_FILE).unlink(missing_ok=True)


def page_hint(sweep_id: str) -> str:
    """Return the URL of a sweep on the running web page of this folder, or the command that opens the page."""
    page = _read_page(Workspace())
    server = str(page.get("server", ""))
    if server.startswith(f"{socket.gethostname()}:") and not is_gone(server):
        return f"web page: {page.get('url')}/sweeps/{sweep_id}"
    return "open the web page with: smsweep ui"


def _record_page(workspace: Workspace, page: Mapping[str, str]) -> None:
    """Write the URL without the token into the folder, if there is one, for `run` on a terminal."""
    if workspace.dir.is_dir():
        with suppress(OSError), replacing(workspace.dir / PAGE_FILE) as draft:
            draft.write_text(json.dumps(page), encoding="utf-8")


def _read_page(workspace: Workspace) -> Mapping[str, Any]:
    try:
        page = json.loads((workspace.dir / PAGE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return page if isinstance(page, dict) else {}


def _has_screen() -> bool:
    """Return True on a terminal with a graphical screen, because a text browser is of no use."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS))


def emulator(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for any free port.")
    ] = 8471,
    backend: Annotated[
        str, typer.Option("--backend", help="Where jobs run: process (default) or docker.")
    ] = "process",
    quota: Annotated[
        int | None,
        typer.Option("--quota", min=0, help="Service quota: instances of one type that may run at the same time."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            "--faults", metavar="FILE|JSON", help=f"Faults to inject; see {docs_url('emulator#inject-faults')}."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the SageMaker training API on this machine.

    Prints environment variables. A client (boto3, the SageMaker SDK, the AWS CLI) that has them runs its training
    jobs on this machine. The access key is new at each start; no other key is accepted. Ctrl-C stops the emulator
    and all jobs, which are stored in the folder `emulator` of --dir.
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


def mcp(
    max_trials: Annotated[
        int, typer.Option("--max-trials", min=1, metavar="N", help="Trials of all sweeps that clients create.")
    ] = 100,
    budget_usd: Annotated[
        float, typer.Option("--budget-usd", min=0, metavar="USD", help="Dollars that all these sweeps may cost.")
    ] = 0,
    backends: Annotated[
        str, typer.Option("--backends", metavar="NAME,...", help="Backends that clients may use.")
    ] = "process,docker",
    instance_types: Annotated[
        str,
        typer.Option(
            "--instance-types",
            metavar="TYPE[=USD],...",
            help="Instance types that clients may use, with a price per hour (default: that of AWS's price list).",
        ),
    ] = "",
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ARN", help="A role that jobs may have; repeatable."),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            "--folder", metavar="DIR", help="A folder whose files clients may use (default: this one); repeatable."
        ),
    ] = None,
) -> None:
    """Serve tools with limits to coding agents (MCP).

    Speaks the Model Context Protocol on standard input and output, for clients that start this command. No call
    can exceed or change the limits. The trials and dollars of all calls are added up in the store's folder, so a
    restart does not reset them. Clients change only sweeps that they created. Needs the extra `mcp`.
    """
    from smsweep.mcp.limits import Limits, parse_instance_types  # `smsweep ui` does not need it

    workspace = Workspace()
    limits = Limits(
        max_trials=max_trials,
        budget_usd=budget_usd,
        backends=tuple(dict.fromkeys(filter(None, map(str.strip, backends.split(","))))),
        instance_types=parse_instance_types(instance_types),
        roles=tuple(role or ()),
        folders=tuple(path.expanduser().resolve() for path in folder or [Path.cwd()]),
        workspace=workspace.dir.resolve(),
    )
    limits.check()
    os.environ["SMSWEEP_DIR"] = str(workspace.dir)  # the server changes to the first folder
    try:
        from smsweep.mcp.server import serve  # an extra
    except ImportError as err:
        raise UsageError(f"smsweep mcp needs the package mcp 2 ({err}); pip install 'smsweep[mcp]'") from err
    serve(limits)
