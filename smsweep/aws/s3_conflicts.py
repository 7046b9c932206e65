"""S3 requests that conflict with another request at the same moment: sent again, as S3 asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFLICT = 409  # HTTP status
# S3's codes for "another request works on this object or bucket now"; the answer to a HEAD has only the status.
CODES = ("ConditionalRequestConflict", "OperationAborted", "409")
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)  # before each further attempt


def retry_conflicts(client: Any) -> None:
    """Have an S3 client send a request again after a conflict, which botocore does not.

    Args:
        client: A boto3 client of S3, also one that a transfer manager uses.
    """
    client.meta.events.register("needs-retry.s3", _pause_s, unique_id="smsweep-conflicts")


def _pause_s(response: tuple[Any, Mapping[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return how long to wait before the next attempt, in seconds; None for no attempt because of a conflict."""
    if response is None or attempts > len(PAUSES_S) or response[0].status_code != CONFLICT:
        return None
    return PAUSES_S[attempts - 1] if response[1].get("Error", {}).get("Code") in CODES else None
