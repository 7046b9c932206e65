"""An image registry on loopback with one small image. The engine pulls from it without TLS."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
FOREIGN_PROGRAM = b"\x7fELF\x02\x02\x01".ljust(16, b"\0") + b"\0\x02\0\x16".ljust(48, b"\0")  # ELF's head, s390x
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass
class Registry:
    """A registry with one image.

    Attributes:
        text: The content of a file in the image. Each text has another image.
        architecture: The architecture in the image's config.
        python: The content of /usr/bin/python3; b"" for an image without it.
        address: `HOST:PORT/NAME:TAG` of the image, while the registry runs.
        may_go_on: The registry sends the layer only after this event is set.
        asked: The requested paths, in order.
        is_broken: The registry does not send the layer.
    """

    text: str
    architecture: str = "amd64"
    python: bytes = b""
    address: str = ""
    may_go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    is_broken: bool = False

    def __post_init__(self) -> None:
        files = {"text": self.text.encode(), **({"usr/bin/python3": self.python} if self.python else {})}
        tar = image_layer(files)
        layer = gzip.compress(tar, mtime=0)
        config = image_config(tar, self.architecture)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _described(config, CONFIG_TYPE),
            "layers": [_described(layer, LAYER_TYPE)],
        }
        self.layer = _digest(layer)
        self.manifest = json.dumps(manifest).encode()
        self.blobs = {_digest(blob): blob for blob in (config, layer)}

    @contextmanager
    def serve(self) -> Iterator[Registry]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = f"localhost:{server.server_address[1]}/tiny:1"
        try:
            yield self
        finally:
            self.may_go_on.set()
            server.shutdown()
            server.server_close()

    def until_asked_for_layer(self) -> None:
        deadline = time.monotonic() + 60
        while not any(path.endswith(self.layer) for path in self.asked):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                _, _, what = self.path.rpartition("/")
                if "/manifests/" in self.path:
                    self._answer(registry.manifest, MANIFEST_TYPE)
                elif what == registry.layer and registry.is_broken:
                    self.send_error(404)
                elif what in registry.blobs:
                    if what == registry.layer:
                        registry.may_go_on.wait(60)
                    self._answer(registry.blobs[what], "application/octet-stream")
                else:
                    self._answer(b"{}", "application/json")

            do_HEAD = do_GET

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                self.send_header("Docker-Content-Digest", _digest(body))
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def image_layer(files: Mapping[str, bytes]) -> bytes:
    """Return the layer of an image with these programs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def image_config(layer: bytes, architecture: str) -> bytes:
    """Return the config of an image with this layer."""
    document: dict[str, Any] = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    return json.dumps(document).encode()


def _described(blob: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()
