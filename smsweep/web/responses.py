"""JSON responses of the page's API, also for errors."""

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

STATUS = (  # HTTP status by type of error; the first match counts
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


def json_errors(handle: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Wrap a handler so that its exceptions become JSON: `error` is the message, `problems` a list of messages."""

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
            return answer({"error": "internal error; see the terminal that runs `smsweep ui`"}, 500)

    return run
