"""GET requests of the page. They only read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from smsweep.backends.registry import backend_names
from smsweep.core.json_documents import (
    BackendChoicesDocument,
    CurveDocument,
    DraftAnswer,
    LocalAgentsAnswer,
    SweepAnswer,
    TrialAnswer,
    TrialFields,
)
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, is_number
from smsweep.errors import NotFound, UsageError
from smsweep.report.axes import exact, thin
from smsweep.report.figures.registry import FIGURES
from smsweep.services import labels as labels_service
from smsweep.services.agents import detach
from smsweep.services.agents.detach import costs_money
from smsweep.services.agents.records import list_agents
from smsweep.services.backends import backend_name
from smsweep.services.sweeps import draft as again
from smsweep.services.views import json_views, model_download
from smsweep.services.views import why as why_service
from smsweep.services.views.live_store import LiveSweep
from smsweep.services.workspace import Workspace
from smsweep.web.responses import AppState, answer, json_errors, state_of

MAX_POINTS = 600  # of one curve
MAX_METRICS = 60  # of one trial
MAX_COMPARED = 12
CHUNK = 1 << 20  # bytes of a download in memory


@json_errors
def sweeps(request: Request) -> Response:
    """Return all sweeps, newest first, and their folder."""
    return answer(
        {
            "sweeps": state_of(request).live.sweeps(),
            "folder": os.environ.get("SMSWEEP_DIR") or str(Workspace().dir.parent),
        }
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
    """Return a figure of a sweep as Plotly JSON, with the sweep's revision."""
    state, name = state_of(request), request.path_params["name"]
    if name not in FIGURES:
        raise NotFound(f"unknown figure {name!r}; use one of {', '.join(FIGURES)}")
    snapshot, revision = state.live.read(
        request.path_params["sweep_id"], lambda live: (live.snapshot(), live.revision)
    )
    return Response(state.figures.get(name, snapshot, revision), media_type="application/json")


@json_errors
def trial(request: Request) -> Response:
    """Return a trial, with a curve of each metric."""
    path_params = request.path_params
    return answer(_trial(state_of(request), path_params["sweep_id"], path_params["number"]))


@json_errors
def why(request: Request) -> Response:
    """Return the explanation of a trial's state."""
    path_params = request.path_params
    return answer(json_views.json_safe(why_service.why(f"{path_params['sweep_id']}/{path_params['number']}")))


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

    stored, data = state.live.read(request.path_params["sweep_id"], ask)
    page = state.logs.page(stored, data["job_name"], data["place"], request.query_params.get("cursor", ""))
    return answer({**page, "state": data["state"]})


def _trial(state: AppState, sweep_id: str, number: int) -> TrialAnswer:
    data, document = state.live.read(sweep_id, lambda live: (live.trial(number), live.document))
    params = json_views.flat_params(data["params"])
    return {
        **data,
        "params": {name: exact(value) for name, value in params.items()},
        "label": f"{sweep_id}/{number}",
        "sweep": {
            "id": document["id"],
            "name": document["name"],
            "state": document["state"],
            "metric": document["metric"],
            "metrics": document["metrics"],
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
    documents: dict[str, CurveDocument] = {}
    for name, every in values.items():
        kept = thin(every, MAX_POINTS)
        has_steps = all(step is not None for step in steps[name])
        x = [steps[name][place - 1] if has_steps else place for place, _ in kept]
        documents[name] = {"x": x, "y": [value for _, value in kept], "by": "step" if has_steps else "report"}
    return documents


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UsageError(f"{text!r} is not a revision; start with 0")
    return int(text)


@json_errors
def agents(request: Request) -> Response:
    """Return the agents that were started in the background on this machine, and the backends for a new one."""
    return answer(local_agents(request))


def local_agents(request: Request) -> LocalAgentsAnswer:
    """Return the agents of the sweep in the path, and the choices for a new agent."""
    stored = state_of(request).live.read(request.path_params["sweep_id"], lambda live: live.sweep)
    return {"agents": detach.local_agents(stored), "all": list_agents(stored.id), **_backend_choices()}


def _backend_choices() -> BackendChoicesDocument:
    return {
        "backends": [{"name": name, "costs_money": costs_money(name)} for name in backend_names()],
        "backend": backend_name(None, Workspace()),
    }


@json_errors
def model(request: Request) -> Response:
    """Return the model of a trial as a tarball."""
    sweep_id = labels_service.parse_sweep_id(request.path_params["sweep_id"])
    number = state_of(request).live.read(sweep_id, lambda live: live.trial(request.path_params["number"]))[
        "number"
    ]
    with tempfile.TemporaryDirectory(dir=Workspace().dir, prefix=".model-") as scratch:
        # The response reads the open file. Its name is deleted now, also if the client does not read to the end.
        archive = model_download.model_archive(sweep_id, number, Path(scratch)).open("rb")
    return StreamingResponse(
        _parts(archive),
        media_type="application/gzip",
        headers={
            "Content-Disposition": f'attachment; filename="model-{sweep_id}-{number}.tar.gz"',
            "Content-Length": str(os.fstat(archive.fileno()).st_size),
        },
    )


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(CHUNK):
            yield part


@json_errors
def draft(request: Request) -> Response:
    """Return a draft of a new sweep. `t`: prior trials or sweeps; `narrow=1`: limit params to their ranges."""
    query = request.query_params
    document: DraftAnswer = {
        **again.draft(query.getlist("t"), is_narrow=query.get("narrow") == "1"),
        **_backend_choices(),
    }
    return answer(document)
