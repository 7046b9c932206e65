"""The address of the web page."""

from __future__ import annotations

import socket

import pytest

from smsweep.errors import UsageError
from smsweep.web.server import LOOPBACK, bound


def test_response_is_not_delayed_by_nagle() -> None:
    with bound(LOOPBACK, 0) as opened, socket.create_connection(opened.getsockname()):
        connection, _ = opened.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_used_address_gets_an_error() -> None:
    with bound(LOOPBACK, 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(UsageError, match=f"{LOOPBACK}:{port}: .*give another --port"), bound(LOOPBACK, port):
            pass
