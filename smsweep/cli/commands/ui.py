"""`smsweep ui`: the live page."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json
from smsweep.cli.output import answer, say
from smsweep.errors import UsageError

EXAMPLES = """
smsweep ui
smsweep ui --port 0 --no-open
smsweep ui --host 0.0.0.0 --allow-host build7.example.org
"""

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")


def ui(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than 127.0.0.1 are not encrypted.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="To listen on; 0 takes a free one.")
    ] = 8472,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="A name by which browsers reach this machine; may be repeated."
        ),
    ] = None,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Open no browser; else one, on a terminal with a screen.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show and steer sweeps in a browser, live.

    Trials, figures, logs, comparison, new sweeps from old ones; pause, resume, stop, cancel, retry, remove.
    Whoever has the address with its token may do all that, nobody else. Ctrl-C ends the page, not the sweeps.
    Needs the extra `ui`.
    """

    def on_ready(served: Any) -> None:
        known = {"url": served.url, "token": served.token, "entry": served.entry}
        answer(json.dumps(known) if as_json else served.entry)
        if not served.is_loopback:
            say("warning: not encrypted, and open to the network; an SSH tunnel to 127.0.0.1 is safer")
        say("the address lets its reader in; Ctrl-C ends the page, sweeps go on")
        sys.stdout.flush()
        if not (no_open or as_json) and _has_screen():
            webbrowser.open(served.ticket_url)

    try:
        from smsweep.web.server import serve  # its server is an extra
    except ImportError as err:
        raise UsageError(f"the live page needs Starlette and uvicorn ({err}); pip install 'smsweep[ui]'") from err
    serve(on_ready, host=host, port=port, names=allow_host or ())


def _has_screen() -> bool:
    """Tell whether a browser would have a window: one in the terminal would only be in the way."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(os.environ.get(name) for name in SCREENS))
