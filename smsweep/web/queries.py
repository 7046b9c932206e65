"""What the page reads. Nothing here changes anything."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from smsweep.core.json_documents import CurveDocument, SweepAnswer, TrialAnswer, TrialFields
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, is_number
from smsweep.errors import NotFound, UsageError
from smsweep.report.browser_text import exact
from smsweep.report.downsample import thin
from smsweep.report.figures.registry import FIGURES
from smsweep.services import labels as labels_service
from smsweep.services.sweeps import draft as again
from smsweep.services.views import json_views
from smsweep.services.views import why as why_service
from smsweep.services.views.live_store import LiveSweep
from smsweep.web.responses import answer, told
from smsweep.web.state import Desk, desk_of

MOST_POINTS = 600  # of one curve
MOST_METRICS = 60  # of one trial
MOST_COMPARED = 12


@told
def sweeps(request: Request) -> Response:
    """All sweeps, newest first, and the folder that they are in."""
    return answer(
        {"sweeps": desk_of(request).live.sweeps(), "folder": os.environ.get("SMSWEEP_DIR") or str(Path.cwd())}
    )


@told
def sweep(request: Request) -> Response:
    """One sweep, and the rows of its trials that changed after the revision `since`."""
    since = _number(request.query_params.get("since", "0"))

    def ask(live: LiveSweep) -> SweepAnswer:
        changes = live.changes(since)
        rows = [[exact(value) for value in row] for row in changes["rows"]]
        return {"sweep": live.summary(), **changes, "rows": rows}

    return answer(desk_of(request).live.read(request.path_params["sweep_id"], ask))


@told
def texts(request: Request) -> Response:
    """Both files of a sweep, and where it comes from."""
    return answer(desk_of(request).live.read(request.path_params["sweep_id"], LiveSweep.texts))


@told
def figure(request: Request) -> Response:
    """One figure of a sweep, as Plotly's JSON."""
    desk, name = desk_of(request), request.path_params["name"]
    if name not in FIGURES:
        raise NotFound(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    snapshot = desk.live.read(request.path_params["sweep_id"], LiveSweep.snapshot)
    return Response(desk.figures.get(name, snapshot), media_type="application/json")


@told
def trial(request: Request) -> Response:
    """One trial, with a curve of each of its metrics."""
    found = request.path_params
    return answer(_trial(desk_of(request), found["sweep_id"], found["number"]))


@told
def why(request: Request) -> Response:
    """Why a trial is in the state it is in."""
    found = request.path_params
    return answer(json_views.json_safe(why_service.why(f"{found['sweep_id']}/{found['number']}")))


@told
def compared(request: Request) -> Response:
    """Several trials, of one sweep or of several."""
    labels = list(dict.fromkeys(request.query_params.getlist("t")))
    if len(labels) > MOST_COMPARED:
        raise UsageError(f"{len(labels)} trials are more than can be told apart; choose at most {MOST_COMPARED}")
    pairs = [labels_service.parse_trial(label) for label in labels]
    return answer({"trials": [_trial(desk_of(request), sweep_id, number) for sweep_id, number in pairs]})


@told
def log_page(request: Request) -> Response:
    """The next lines of a trial's log."""
    desk, number = desk_of(request), request.path_params["number"]

    def ask(live: LiveSweep) -> tuple[Sweep, TrialFields]:
        return live.sweep, live.trial(number)

    found, data = desk.live.read(request.path_params["sweep_id"], ask)
    page = desk.logs.page(found, data["job_name"], data["place"], request.query_params.get("cursor", ""))
    return answer({**page, "state": data["state"]})


def _trial(desk: Desk, sweep_id: str, number: int) -> TrialAnswer:
    data, shown = desk.live.read(sweep_id, lambda live: (live.trial(number), live.shown))
    params = json_views.flat_params(data["params"])
    return {
        **data,
        "params": {name: exact(value) for name, value in params.items()},
        "label": f"{sweep_id}/{number}",
        "sweep": {
            "id": shown["id"],
            "name": shown["name"],
            "state": shown["state"],
            "metric": shown["metric"],
            "metrics": shown["metrics"],
        },
        "curves": curves(desk.live.points(sweep_id, number)),
    }


def curves(points: Iterable[MetricPoint]) -> dict[str, CurveDocument]:
    """Return a curve for each metric that has numbers: its values over steps, or reports where it has none.

    Long ones keep their first, last, lowest and highest points.
    """
    steps: dict[str, list[int | None]] = {}
    values: dict[str, list[float]] = {}
    for point in points:
        if is_number(point.value) and (point.name in values or len(values) < MOST_METRICS):
            steps.setdefault(point.name, []).append(point.step)
            values.setdefault(point.name, []).append(float(point.value))
    found: dict[str, CurveDocument] = {}
    for name, every in values.items():
        kept = thin(every, MOST_POINTS)
        has_steps = all(step is not None for step in steps[name])
        x = [steps[name][place - 1] if has_steps else place for place, _ in kept]
        found[name] = {"x": x, "y": [value for _, value in kept], "by": "step" if has_steps else "report"}
    return found


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UsageError(f"{text!r} is no revision; begin with 0")
    return int(text)


@told
def draft(request: Request) -> Response:
    """A draft. `t`: trials or whole sweeps whose results are to inform it; `narrow=1`: within their ranges."""
    asked = request.query_params
    return answer(again.draft(asked.getlist("t"), is_narrow=asked.get("narrow") == "1"))
