"""Serve the web page until Ctrl-C or SIGTERM; the routes of the page."""

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
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smsweep.errors import UsageError
from smsweep.services import signals
from smsweep.services import workspace as workspace_service
from smsweep.services.agents.detach import PAGE_TOKEN
from smsweep.services.views import live_store as live_service
from smsweep.services.views import logs as log_pages
from smsweep.web import actions, pages, queries
from smsweep.web.auth import Authentication
from smsweep.web.pages import address, shell
from smsweep.web.queries import draft
from smsweep.web.responses import AppState

MIN_TOKEN_LENGTH = 16  # characters
SHUTDOWN_S = 2  # for open requests when the server stops
LOOPBACK = "127.0.0.1"
PAGES = ("/", "/new", "/compare", "/sweeps/{sweep_id}", "/sweeps/{sweep_id}/trials/{number:int}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A running web page."""

    url: str  # without the token
    token: str
    ticket_url: str  # signs in once, because other users of this machine may see the arguments of a browser
    is_loopback: bool

    @property
    def entry(self) -> str:
        return f"{self.url}/?token={self.token}"


def serve(on_ready: Callable[[Served], None], **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM. Call it in the main thread.

    Args:
        on_ready: Called once the page answers.
        options: Keyword arguments of `serving`.
    """
    with signals.stop_event() as is_over, serving(**options) as served:
        on_ready(served)
        is_over.wait()


@contextmanager
def serving(
    *, host: str = LOOPBACK, port: int = 0, names: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Serve the page while the `with` lasts.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free port.
        names: Additional host names of this machine.
        environ: Environment variables (default: those of this process).

    Raises:
        UsageError: If the address is not available, the token is too short, or Plotly is not installed.
    """
    workspace = workspace_service.Workspace(environ)
    token = workspace.environ.get(PAGE_TOKEN) or secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN_LENGTH:
        raise UsageError(
            f"{PAGE_TOKEN}: a token of {len(token)} characters can be guessed; use at least {MIN_TOKEN_LENGTH}"
        )
    address("app.js")  # reads all files, and raises UsageError without the plotting library
    with ExitStack() as stack:
        opened = stack.enter_context(bound(host, port))
        port = opened.getsockname()[1]
        live = stack.enter_context(closing(live_service.LiveStore(workspace)))
        logs = stack.enter_context(closing(log_pages.LogPages(workspace)))
        known = [*names, host, socket.gethostname(), socket.getfqdn()]
        authentication = Authentication(token=token, names=[name for name in known if name], port=port)
        authentication.app = make_app(AppState(live=live, logs=logs))
        url = f"http://{_url_host(host)}:{port}"
        stack.enter_context(_answering(authentication, opened))
        yield Served(
            url=url,
            token=token,
            ticket_url=f"{url}/?token={authentication.ticket(secrets.token_urlsafe(24))}",
            is_loopback=ipaddress.ip_address(opened.getsockname()[0]).is_loopback,
        )


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # `serve` handles signals itself


@contextmanager
def _answering(app: Authentication, opened: socket.socket) -> Iterator[None]:
    """Serve the requests of a socket in a thread."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
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
    """Listen on an address. Browsers wait until the server answers.

    Raises:
        UsageError: If the address is not available.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.create_server(address[:2], family=family, backlog=128)
        # Accepted connections inherit it. Else the end of a response waits 40 ms for an acknowledgement.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as err:
        why = os.strerror(err.errno) if err.errno and err.errno > 0 else str(err)
        raise UsageError(
            f"{host}:{port}: {why}; give another --port, 0 for a free one, or another --host"
        ) from err
    with contextlib.closing(opened):
        yield opened


def _url_host(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound # nosec B104
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def make_app(state: AppState) -> Starlette:
    """Return the application without authentication. GET only reads; changes need POST."""
    sweep = "/api/sweeps/{sweep_id}"
    routes = [
        *(Route(path, _page, methods=["GET"]) for path in PAGES),
        Route("/static/{version}/{name}", pages.serve, methods=["GET"]),
        Route("/api/sweeps", queries.sweeps, methods=["GET"]),
        Route("/api/compare", queries.compared, methods=["GET"]),
        Route("/api/draft", draft, methods=["GET"]),
        Route(sweep, queries.sweep, methods=["GET"]),
        Route(f"{sweep}/texts", queries.texts, methods=["GET"]),
        Route(f"{sweep}/figures/{{name}}", queries.figure, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}", queries.trial, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}/why", queries.why, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}/log", queries.log_page, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}/model", queries.model, methods=["GET"]),
        Route(f"{sweep}/agents", queries.agents, methods=["GET"]),
        Route(f"{sweep}/agents", actions.change, methods=["POST"]),
        Route(f"{sweep}/agents/{{number:int}}/stop", actions.change, methods=["POST"]),
        Route("/api/{action}", actions.change, methods=["POST"]),
        Route(f"{sweep}/{{verb}}", actions.change, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.state.smsweep = state
    return app


def _page(request: Request) -> Response:
    return shell()
