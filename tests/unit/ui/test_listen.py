"""The address that the live page holds."""

from __future__ import annotations

import socket

import pytest

from smsweep.errors import UsageError
from smsweep.web.server import LOOPBACK, bound


def test_the_end_of_an_answer_waits_for_no_acknowledgement() -> None:
    with bound(LOOPBACK, 0) as opened, socket.create_connection(opened.getsockname()):
        connection, _ = opened.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_told() -> None:
    with bound(LOOPBACK, 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(UsageError, match=f"{LOOPBACK}:{port}: .*give another --port"), bound(LOOPBACK, port):
            pass
