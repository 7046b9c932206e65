"""Retry S3 requests that conflict with another request, as S3's documentation requires."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFLICT = 409  # HTTP status
# S3's codes for "another request works on this object or bucket now"; the answer to a HEAD has only the status.
CODES = ("ConditionalRequestConflict", "OperationAborted", "409")
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)  # before each further attempt


def retry_conflicts(client: Any) -> None:
    """Make an S3 client retry a request after a conflict. botocore does not.

    Args:
        client: A boto3 client of S3, also one that a transfer manager uses.
    """
    client.meta.events.register("needs-retry.s3", _pause_s, unique_id="smsweep-conflicts")


def _pause_s(response: tuple[Any, Mapping[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return the seconds to wait before the next attempt; None without a conflict, or after the last attempt."""
    if response is None or attempts > len(PAUSES_S) or response[0].status_code != CONFLICT:
        return None
    return PAUSES_S[attempts - 1] if response[1].get("Error", {}).get("Code") in CODES else None
