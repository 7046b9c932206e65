"""HTTP server on one address of this machine."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from smsweep.errors import UsageError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BACKLOG = 512  # waiting connections: a sweep opens many at the same time
POLL_S = 0.1  # between two checks for a shutdown


class _Handler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # the call log has all requests


@contextmanager
def listening(host: str, port: int) -> Iterator[BaseWSGIServer]:
    """Open a TCP port. Requests wait until `serving` starts.

    Args:
        host: Address of this machine.
        port: TCP port; 0 for a free port.

    Raises:
        UsageError: If the port is not available.
    """
    try:
        opened = socket.create_server((host, port), backlog=BACKLOG)  # werkzeug exits if the port is in use
    except OSError as err:
        raise UsageError(
            f"{host}:{port}: {os.strerror(err.errno or 0)}; use another --port, or 0 for a free port"
        ) from err
    with opened:
        server = make_server(host, port, _not_ready, threaded=True, request_handler=_Handler, fd=opened.fileno())
    try:
        yield server
    finally:
        server.server_close()


@contextmanager
def serving(server: BaseWSGIServer) -> Iterator[None]:
    """Handle requests, each in a thread, until the `with` block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def _not_ready(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [])
    return []
