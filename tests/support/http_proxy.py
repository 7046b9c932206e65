"""A proxy between clients and a server, which can cut all connections.

    python -m tests.support.http_proxy SOCKET

prints the port of the proxy for the server's socket file, then reads `cut` and `mend` commands from stdin.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 16


class Proxy:
    """Forwards a port of loopback to a server's socket file."""

    def __init__(self, server: Path) -> None:
        self._server = str(server)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and reject new ones."""
        with self._lock:
            self._is_cut = True
            ending, self._open = self._open, []
        for each in ending:
            _end(each)

    def mend(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                if self._is_cut:
                    _end(client)
                    continue
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
            try:
                server.connect(self._server)
            except OSError:
                _end(client)
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pass, args=(source, target), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


if __name__ == "__main__":
    network = Proxy(Path(sys.argv[1]))
    print(network.port, flush=True)
    for order in sys.stdin:
        {"cut": network.cut, "mend": network.mend}[order.strip()]()
