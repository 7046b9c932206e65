"""Helpers of the scripts in this folder: blocked network, stdout for the answer only, dumps of objects.

Runs in the environments of the two SDKs.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

DEAD_END = "http://127.0.0.1:9"  # the discard port, where no server listens

calls: list[str] = []  # all attempted connections
_answers = os.fdopen(os.dup(1), "w")


def seal() -> None:
    """Refuse connections and settings from outside. Call it before the SDK is imported."""
    os.dup2(2, 1)  # the SDKs print
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        del os.environ[name]
    os.environ.update(
        AWS_ENDPOINT_URL=DEAD_END,
        AWS_DEFAULT_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_MAX_ATTEMPTS="1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        SAGEMAKER_VALIDATE_ROLE="false",
        SAGEMAKER_SUPPRESS_V2_WARNING="1",
    )
    refuse_other_hosts()
    read_data_files_once()


def read_data_files_once() -> None:
    """Keep the parsed data files of botocore. The SDKs read its list of endpoints again for each image."""
    from botocore.loaders import JSONFileLoader

    load = JSONFileLoader.load_file
    parsed: dict[str, Any] = {}

    def load_once(self: JSONFileLoader, file_path: str) -> Any:
        if file_path not in parsed:
            parsed[file_path] = load(self, file_path)
        return parsed[file_path]

    JSONFileLoader.load_file = load_once  # type: ignore[method-assign]


def refuse_other_hosts() -> None:
    """Allow sockets and name resolution for this machine only."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        calls.append(str(address))
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            raise PermissionError(f"a test tried to reach {address}")
        connect(self, address)

    def guarded_lookup(host: Any, *rest: Any, **options: Any) -> Any:
        if host not in ("localhost", "127.0.0.1", "::1"):
            calls.append(str(host))
            raise PermissionError(f"a test tried to reach {host}")
        return lookup(host, *rest, **options)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign, assignment]  # that is the point
    socket.getaddrinfo = guarded_lookup


def answer(data: object) -> None:
    json.dump(data, _answers)
    _answers.flush()


def question() -> Any:
    return json.load(sys.stdin)


def seen(value: Any, depth: int = 0) -> Any:
    """Return the content of an SDK object as plain data. Objects with connections are replaced by their id."""
    assert depth < 20
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): seen(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [seen(item, depth + 1) for item in value]
    kind = type(value)
    if not kind.__module__.startswith("sagemaker") or "Session" in kind.__name__:
        return f"{kind.__name__} at {id(value)}"
    state = {**vars(value), **(getattr(value, "__pydantic_private__", None) or {})}
    return {"": kind.__name__, **seen(state, depth + 1)}
