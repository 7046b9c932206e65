"""Answers of the page's API: JSON, also for what went wrong."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from smsweep.errors import (
    BackendUnavailable,
    ConfigError,
    JobError,
    NotFound,
    SmsweepError,
    SourceError,
    SpaceError,
    StoreConflict,
    StoreUnavailable,
    UsageError,
)

log = logging.getLogger(__name__)

STATUS = (  # of HTTP for each kind of error; the first that fits
    (NotFound, 404),
    (StoreConflict, 409),
    ((ConfigError, UsageError, SourceError, SpaceError), 400),
    ((StoreUnavailable, BackendUnavailable), 503),
    (JobError, 502),
    (SmsweepError, 500),
)


def answer(value: Any, status: int = 200) -> Response:
    return Response(as_json(value), status, media_type="application/json")


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str, allow_nan=False).encode()


def told(handle: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Turn what a handler raises into an answer: `error` for a person, `problems` one by one."""

    @functools.wraps(handle)
    def run(request: Request) -> Response:
        try:
            return handle(request)
        except SmsweepError as err:
            status = next(code for kind, code in STATUS if isinstance(err, kind))
            problems = list(err.problems) if isinstance(err, ConfigError) else [str(err)]
            return answer({"error": str(err), "problems": problems}, status)
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            return answer({"error": "this should not happen; `smsweep ui` said more where it runs"}, 500)

    return run
