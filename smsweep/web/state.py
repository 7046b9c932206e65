"""The state that request handlers share: store, logs and a cache of figures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from starlette.requests import Request

from smsweep.report.figures.registry import FIGURES
from smsweep.report.snapshot import Snapshot
from smsweep.services.views.live_store import LiveStore
from smsweep.services.views.logs import LogPages
from smsweep.web.responses import as_json

MAX_FIGURES = 64  # in the cache


class Figures:
    """A cache of figures as JSON. Each figure is drawn once per state of its sweep."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Snapshot, bytes]] = {}
        self._lock = threading.Lock()  # one at a time, because figures are CPU-bound

    def get(self, name: str, snapshot: Snapshot) -> bytes:
        key = (snapshot.sweep["id"], name)
        with self._lock:
            known = self._made.pop(key, None)
            if known is None or known[0] is not snapshot:
                known = snapshot, as_json(FIGURES[name].make(snapshot))
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
