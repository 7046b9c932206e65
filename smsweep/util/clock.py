"""Find the store, make its folder and schema where they are missing, and open it."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    return datetime.now(timezone.utc)
