"""GET requests of the page. They only read."""

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
from smsweep.report.axes import exact, thin
from smsweep.report.figures.registry import FIGURES
from smsweep.services import labels as labels_service
from smsweep.services.sweeps import draft as again
from smsweep.services.views import json_views
from smsweep.services.views import why as why_service
from smsweep.services.views.live_store import LiveSweep
from smsweep.web.responses import AppState, answer, json_errors, state_of

MAX_POINTS = 600  # of one curve
MAX_METRICS = 60  # of one trial
MAX_COMPARED = 12


@json_errors
def sweeps(request: Request) -> Response:
    """Return all sweeps, newest first, and their folder."""
    return answer(
        {"sweeps": state_of(request).live.sweeps(), "folder": os.environ.get("SMSWEEP_DIR") or str(Path.cwd())}
    )


@json_errors
def sweep(request: Request) -> Response:
    """Return a sweep, and the rows of its trials that changed after the revision `since`."""
    since = _number(request.query_params.get("since", "0"))

    def ask(live: LiveSweep) -> SweepAnswer:
        changes = live.changes(since)
        rows = [[exact(value) for value in row] for row in changes["rows"]]
        return {"sweep": live.summary(), **changes, "rows": rows}

    return answer(state_of(request).live.read(request.path_params["sweep_id"], ask))


@json_errors
def texts(request: Request) -> Response:
    """Return sweep.yaml, job.yaml and the origin of a sweep."""
    return answer(state_of(request).live.read(request.path_params["sweep_id"], LiveSweep.texts))


@json_errors
def figure(request: Request) -> Response:
    """Return a figure of a sweep as Plotly JSON."""
    state, name = state_of(request), request.path_params["name"]
    if name not in FIGURES:
        raise NotFound(f"unknown figure {name!r}; use one of {', '.join(FIGURES)}")
    snapshot = state.live.read(request.path_params["sweep_id"], LiveSweep.snapshot)
    return Response(state.figures.get(name, snapshot), media_type="application/json")


@json_errors
def trial(request: Request) -> Response:
    """Return a trial, with a curve of each metric."""
    found = request.path_params
    return answer(_trial(state_of(request), found["sweep_id"], found["number"]))


@json_errors
def why(request: Request) -> Response:
    """Return the explanation of a trial's state."""
    found = request.path_params
    return answer(json_views.json_safe(why_service.why(f"{found['sweep_id']}/{found['number']}")))


@json_errors
def compared(request: Request) -> Response:
    """Return several trials of one or more sweeps."""
    labels = list(dict.fromkeys(request.query_params.getlist("t")))
    if len(labels) > MAX_COMPARED:
        raise UsageError(f"{len(labels)} trials are too many to compare; choose at most {MAX_COMPARED}")
    pairs = [labels_service.parse_trial(label) for label in labels]
    return answer({"trials": [_trial(state_of(request), sweep_id, number) for sweep_id, number in pairs]})


@json_errors
def log_page(request: Request) -> Response:
    """Return the next lines of a trial's log."""
    state, number = state_of(request), request.path_params["number"]

    def ask(live: LiveSweep) -> tuple[Sweep, TrialFields]:
        return live.sweep, live.trial(number)

    found, data = state.live.read(request.path_params["sweep_id"], ask)
    page = state.logs.page(found, data["job_name"], data["place"], request.query_params.get("cursor", ""))
    return answer({**page, "state": data["state"]})


def _trial(state: AppState, sweep_id: str, number: int) -> TrialAnswer:
    data, shown = state.live.read(sweep_id, lambda live: (live.trial(number), live.shown))
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
        "curves": curves(state.live.points(sweep_id, number)),
    }


def curves(points: Iterable[MetricPoint]) -> dict[str, CurveDocument]:
    """Return a curve for each metric with numbers.

    Args:
        points: The metric points of one trial, oldest first.

    Returns:
        Metric name -> `x`, `y` and `by`: "step", or "report" if a point has no step. Long curves are thinned and
        keep their first, last, lowest and highest points.
    """
    steps: dict[str, list[int | None]] = {}
    values: dict[str, list[float]] = {}
    for point in points:
        if is_number(point.value) and (point.name in values or len(values) < MAX_METRICS):
            steps.setdefault(point.name, []).append(point.step)
            values.setdefault(point.name, []).append(float(point.value))
    found: dict[str, CurveDocument] = {}
    for name, every in values.items():
        kept = thin(every, MAX_POINTS)
        has_steps = all(step is not None for step in steps[name])
        x = [steps[name][place - 1] if has_steps else place for place, _ in kept]
        found[name] = {"x": x, "y": [value for _, value in kept], "by": "step" if has_steps else "report"}
    return found


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UsageError(f"{text!r} is not a revision; start with 0")
    return int(text)


@json_errors
def draft(request: Request) -> Response:
    """Return a draft of a new sweep. `t`: prior trials or sweeps; `narrow=1`: limit params to their ranges."""
    asked = request.query_params
    return answer(again.draft(asked.getlist("t"), is_narrow=asked.get("narrow") == "1"))
