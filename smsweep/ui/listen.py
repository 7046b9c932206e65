"""Serve the live page: hold an address, say it, answer until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn

from smsweep import sdk
from smsweep.errors import UsageError
from smsweep.ui.app import make_app
from smsweep.ui.desk import Desk
from smsweep.ui.gate import Gate

TOKEN_VAR = "SMSWEEP_UI_TOKEN"  # noqa: S105 - a name
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


def serve(on_ready: Callable[[Served], None], *, host: str, port: int, names: Sequence[str] = ()) -> None:
    """Serve until Ctrl-C or SIGTERM; main thread only. names: others by which this machine is called.

    Raises UsageError for an address that cannot be had, or a token that is too short.
    """
    workspace = sdk.workspace.Workspace()
    token = workspace.environ.get(TOKEN_VAR) or secrets.token_urlsafe(24)
    if len(token) < LEAST_TOKEN:
        raise UsageError(
            f"{TOKEN_VAR}: a token of {len(token)} characters can be guessed; use at least {LEAST_TOKEN}"
        )
    with ExitStack() as stack:
        opened = stack.enter_context(_bound(host, port))
        port = opened.getsockname()[1]
        live = stack.enter_context(closing(sdk.live.LiveStore(workspace)))
        logs = stack.enter_context(closing(sdk.log_pages.LogPages(workspace)))
        known = [*names, host, socket.gethostname(), socket.getfqdn()]
        gate = Gate(token=token, names=[name for name in known if name], port=port)
        gate.app = make_app(Desk(live=live, logs=logs, csrf=gate.csrf))
        url = f"http://{_shown(host)}:{port}"
        served = Served(
            url=url,
            token=token,
            ticket_url=f"{url}/?token={gate.ticket(secrets.token_urlsafe(24))}",
            is_loopback=ipaddress.ip_address(opened.getsockname()[0]).is_loopback,
        )
        server = _Server(
            uvicorn.Config(
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
        )
        with _until_told(server):
            on_ready(served)
            asyncio.run(server.serve(sockets=[opened]))


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # ours end it in peace; uvicorn's would raise the signal again


@contextmanager
def _until_told(server: uvicorn.Server) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        server.force_exit = server.should_exit  # told twice
        server.should_exit = True

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Hold an address; browsers wait until something answers."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as err:
        why = os.strerror(err.errno) if err.errno and err.errno > 0 else str(err)
        raise UsageError(
            f"{host}:{port}: {why}; give another --port, 0 for a free one, or another --host"
        ) from err
    with contextlib.closing(opened):
        yield opened


def _shown(host: str) -> str:
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return socket.gethostname()
    if host == "::":
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
