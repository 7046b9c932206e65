"""`smsweep ui`: serve the web page."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import print_message, print_result
from smsweep.errors import UsageError

UI_EXAMPLES = """
smsweep ui
smsweep ui --port 0 --no-open
smsweep ui --host 0.0.0.0 --allow-host build7.example.org
"""

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")


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

    def on_ready(served: Any) -> None:
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
    serve(on_ready, host=host, port=port, names=allow_host or ())


def _has_screen() -> bool:
    """Return True on a terminal with a graphical screen, because a text browser is of no use."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS))
