"""JSON responses of the page's API, also for errors, and the state that request handlers share."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
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
from smsweep.report.figures.registry import FIGURES
from smsweep.report.snapshot import Snapshot
from smsweep.services.views.live_store import LiveStore
from smsweep.services.views.logs import LogPages

log = logging.getLogger(__name__)

STATUS = (  # HTTP status by type of error; the first match counts
    (NotFound, 404),
    (StoreConflict, 409),
    ((ConfigError, UsageError, SourceError, SpaceError), 400),
    ((StoreUnavailable, BackendUnavailable), 503),
    (JobError, 502),
    (SmsweepError, 500),
)
MAX_FIGURES = 64  # in the cache


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


class Figures:
    """A cache of figures as JSON. Each figure is drawn once per state of its sweep."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Snapshot, bytes]] = {}
        self._lock = threading.Lock()  # one at a time, because figures are CPU-bound

    def get(self, name: str, snapshot: Snapshot, revision: int) -> bytes:
        key = (snapshot.sweep["id"], name)
        with self._lock:
            known = self._made.pop(key, None)
            if known is None or known[0] is not snapshot:
                known = snapshot, as_json({**FIGURES[name].make(snapshot), "revision": revision})
            self._made[key] = known
            while len(self._made) > MAX_FIGURES:
                del self._made[next(iter(self._made))]
        return known[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppState:
    """What a handler needs: the store, the logs and the figures."""

    live: LiveStore
    logs: LogPages
    figures: Figures = field(default_factory=Figures)


def state_of(request: Request) -> AppState:
    """Return the state of the application that handles a request."""
    state = request.app.state.smsweep
    assert isinstance(state, AppState)
    return state
