"""AddTags, ListTags and DeleteTags for training jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smsweep.core.job import MAX_TAGS
from smsweep.emulator import api_error
from smsweep.emulator.api import paging
from smsweep.emulator.api.documents import tag_list
from smsweep.emulator.jobs.job import Job
from smsweep.emulator.jobs.job_table import JobTable

DEFAULT_SIZE = 50


def tag_map(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the tags of a request by key. Raises ApiError for keys that AWS reserves."""
    if any(tag["Key"].lower().startswith("aws:") for tag in tags):
        raise api_error.reserved_tag()
    return {tag["Key"]: tag["Value"] for tag in tags}


class Tags:
    """Handles calls about tags.

    Args:
        table: All jobs.
    """

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def add(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of AddTags."""
        added = tag_map(request["Tags"])
        with self._table.lock:
            job = self._find(request)
            tags = {**job.tags, **added}
            if len(tags) > MAX_TAGS:
                raise api_error.invalid(f"A resource may have at most {MAX_TAGS} tags.")
            job.tags = tags
            self._table.save(job)
            return {"Tags": tag_list(tags)}

    def list(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of ListTags."""
        with self._table.lock:
            tags = tag_list(self._find(request).tags)
        by_key: Callable[[dict[str, str]], tuple[str]] = lambda tag: (tag["Key"],)  # noqa: E731 - mypy needs the type
        shown, token = paging.page(
            tags, by_key, request.get("NextToken"), request.get("MaxResults", DEFAULT_SIZE), is_reverse=False
        )
        return {"Tags": shown, **({"NextToken": token} if token else {})}

    def delete(self, request: dict[str, Any], region: str) -> dict[str, Any]:
        """Return the response of DeleteTags."""
        with self._table.lock:
            job = self._find(request)
            job.tags = {key: value for key, value in job.tags.items() if key not in request["TagKeys"]}
            self._table.save(job)
        return {}

    def _find(self, request: dict[str, Any]) -> Job:
        arn = request["ResourceArn"]
        job = self._table.get(arn.rpartition("/")[2])
        if job is None or job.arn != arn:
            raise api_error.no_such_resource(arn)
        return job
