"""A proxy for the Docker Engine: a Unix socket that forwards requests until it is closed."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

ENGINE = "/var/run/docker.sock"


class EngineProxy:
    """Requests that contain the bytes `slow` are forwarded after `delay_s` seconds."""

    def __init__(self, path: Path, *, slow: bytes = b"", delay_s: float = 0.0) -> None:
        self.path = path
        self._slow = slow
        self._delay_s = delay_s
        self._open: list[socket.socket] = []
        self._server: socket.socket | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections and accept no more, as an engine that is stopped."""
        assert self._server is not None
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.path.unlink(missing_ok=True)
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(ENGINE)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self._slow and self._slow in data:
                    time.sleep(self._delay_s)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
