"""The current time, and times as text."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(timezone.utc)


def time_text(moment: datetime | str | None) -> str:
    """Return a time for users, such as `2026-11-24 00:09:42 UTC`; "" for None. A time without a zone is in UTC."""
    if not moment:
        return ""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    at = at.astimezone(timezone.utc) if at.tzinfo else at
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
