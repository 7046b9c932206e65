"""Serve the live page: hold an address, say it, answer until told to end."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from smsweep.errors import UsageError
from smsweep.services import signals
from smsweep.services import workspace as workspace_service
from smsweep.services.views import live_store as live_service
from smsweep.services.views import log_pages
from smsweep.web.app import make_app
from smsweep.web.assets import address
from smsweep.web.auth import Gate
from smsweep.web.state import Desk

TOKEN_VAR = "SMSWEEP_UI_TOKEN"  # noqa: S105 - a name # nosec B105
LEAST_TOKEN = 16  # characters
PATIENCE_S = 2  # for answers that are under way when the page is told to end
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A live page that answers."""

    url: str  # without the token
    token: str
    ticket_url: str  # lets one browser in, once: other users of this machine may see a browser's arguments
    is_loopback: bool

    @property
    def entry(self) -> str:
        return f"{self.url}/?token={self.token}"


def serve(on_ready: Callable[[Served], None], **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM; main thread only. Takes the options of `serving`."""
    with signals.told_to_end() as is_over, serving(**options) as served:
        on_ready(served)
        is_over.wait()


@contextmanager
def serving(
    *, host: str = LOOPBACK, port: int = 0, names: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Serve the page while the `with` lasts.

    port: 0 for a free one. names: others by which this machine is called. Raises UsageError for an address that
    cannot be had, a token that is too short, or without Plotly.
    """
    workspace = workspace_service.Workspace(environ)
    token = workspace.environ.get(TOKEN_VAR) or secrets.token_urlsafe(24)
    if len(token) < LEAST_TOKEN:
        raise UsageError(
            f"{TOKEN_VAR}: a token of {len(token)} characters can be guessed; use at least {LEAST_TOKEN}"
        )
    address("app.js")  # reads all files: without the plotting library this is the place to say so
    with ExitStack() as stack:
        opened = stack.enter_context(bound(host, port))
        port = opened.getsockname()[1]
        live = stack.enter_context(closing(live_service.LiveStore(workspace)))
        logs = stack.enter_context(closing(log_pages.LogPages(workspace)))
        known = [*names, host, socket.gethostname(), socket.getfqdn()]
        gate = Gate(token=token, names=[name for name in known if name], port=port)
        gate.app = make_app(Desk(live=live, logs=logs))
        url = f"http://{_shown(host)}:{port}"
        stack.enter_context(_answering(gate, opened))
        yield Served(
            url=url,
            token=token,
            ticket_url=f"{url}/?token={gate.ticket(secrets.token_urlsafe(24))}",
            is_loopback=ipaddress.ip_address(opened.getsockname()[0]).is_loopback,
        )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # whoever serves is told by them


@contextmanager
def _answering(gate: Gate, opened: socket.socket) -> Iterator[None]:
    """Answer what comes to a socket, in a thread."""
    config = uvicorn.Config(
        gate,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=PATIENCE_S,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([opened],), name="smsweep ui", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Hold an address; browsers wait until something answers."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.create_server(address[:2], family=family, backlog=128)
        # Of each connection, too: else the end of an answer waits 40 ms until its beginning is acknowledged.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as err:
        why = os.strerror(err.errno) if err.errno and err.errno > 0 else str(err)
        raise UsageError(
            f"{host}:{port}: {why}; give another --port, 0 for a free one, or another --host"
        ) from err
    with contextlib.closing(opened):
        yield opened


def _shown(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound # nosec B104
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
