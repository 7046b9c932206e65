"""What the page's handlers share: the open store, the open logs, the figures already made."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from starlette.requests import Request

from smsweep.report.figures.registry import FIGURES
from smsweep.report.snapshot import Snapshot
from smsweep.services.views.live_store import LiveStore
from smsweep.services.views.log_pages import LogPages
from smsweep.web.responses import as_json

MOST_FIGURES = 64  # kept


class Figures:
    """Figures as JSON, each made once for each state of its sweep."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Snapshot, bytes]] = {}
        self._lock = threading.Lock()  # one at a time: two would only wait for each other's Python

    def get(self, name: str, snapshot: Snapshot) -> bytes:
        key = (snapshot.sweep["id"], name)
        with self._lock:
            known = self._made.pop(key, None)
            if known is None or known[0] is not snapshot:
                known = snapshot, as_json(FIGURES[name].make(snapshot))
            self._made[key] = known
            while len(self._made) > MOST_FIGURES:
                del self._made[next(iter(self._made))]
        return known[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    live: LiveStore
    logs: LogPages
    figures: Figures = field(default_factory=Figures)


def desk_of(request: Request) -> Desk:
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk
