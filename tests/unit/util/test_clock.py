"""Times as text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from smsweep.util.clock import time_text


def test_time_has_its_zone() -> None:
    at = datetime(2026, 11, 24, 2, 9, 42, 5000, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(at) == time_text(at.isoformat()) == "2026-11-24 00:09:42 UTC"
    assert time_text("2026-11-24T00:09:42") == "2026-11-24 00:09:42 UTC"
    assert time_text(None) == ""
