"""What the page changes: states of sweeps, trials to run again or to remove, new sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from smsweep.core.json_documents import ChangedTrialsAnswer, CreatedSweepAnswer, DraftCheckDocument
from smsweep.core.sweep import VERBS
from smsweep.errors import NotFound, UsageError
from smsweep.services.sweeps import control, draft
from smsweep.web.responses import answer, told


async def change(request: Request) -> Response:
    """Carry out what the address says with what the body says."""
    request.state.body = await request.body()
    return await run_in_threadpool(_change, request)


@told
def _change(request: Request) -> Response:
    given, words = _document(request.state.body), request.path_params
    if "sweep_id" in words:
        if words["verb"] not in VERBS:
            raise NotFound(f"nothing called {words['verb']!r}; a sweep can {', '.join(VERBS)}")
        swept = control.set_state(words["sweep_id"], words["verb"])
        return answer({"id": swept.id, "state": swept.state.value})
    return answer(ACTS[words["act"]](given) if words["act"] in ACTS else _unknown(words["act"]))


def _retry(given: Mapping[str, Any]) -> ChangedTrialsAnswer:
    trials = control.retry(_labels(given), failed=given.get("failed") is True)
    return {"labels": [trial.label for trial in trials]}


def _remove(given: Mapping[str, Any]) -> ChangedTrialsAnswer:
    return {"labels": control.remove(_labels(given))}


def _check(given: Mapping[str, Any]) -> DraftCheckDocument:
    return draft.check(**_draft(given))


def _create(given: Mapping[str, Any]) -> CreatedSweepAnswer:
    sweep_id = draft.create(**_draft(given))
    return {"id": sweep_id, "agent": f"smsweep agent {sweep_id}"}


Act = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ACTS: Mapping[str, Act] = {
    "retry": _retry,
    "remove": _remove,
    "check": _check,
    "create": _create,
}
DRAFT = ("sweep_yaml", "job_yaml", "name", "like", "prior_runs")


def _draft(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: given.get(key, "") for key in DRAFT if key != "prior_runs"}
    if not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"{', '.join(found)} are texts")
    return {**found, "prior_runs": _strings(given.get("prior_runs", []), "prior_runs")}


def _labels(given: Mapping[str, Any]) -> list[str]:
    labels = _strings(given.get("labels"), "labels")
    if not labels:
        raise UsageError("labels: name at least one trial or sweep")
    return labels


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{name}: expected a list of texts, got {value!r}")
    return value


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as err:
        raise UsageError(f"the request is no JSON: {err}") from err
    except RecursionError as err:
        raise UsageError("the request is nested too deeply") from err
    if not isinstance(document, dict):
        raise UsageError("the request is no JSON object")
    return document


def _unknown(act: str) -> dict[str, Any]:
    raise NotFound(f"nothing called {act!r}; there are {', '.join(ACTS)}")
