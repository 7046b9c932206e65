"""POST requests of the page: change sweeps, retry and remove trials, create sweeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from smsweep.config_files.config_change import parse_change
from smsweep.core.agent_record import ORDERS
from smsweep.core.json_documents import (
    ChangedConfigAnswer,
    ChangedTrialsAnswer,
    CreatedSweepAnswer,
    DraftCheckDocument,
    NotesAnswer,
)
from smsweep.core.sweep import VERBS
from smsweep.errors import NotFound, UsageError
from smsweep.services.agents import detach
from smsweep.services.agents.records import order_agent
from smsweep.services.sweeps import control, draft
from smsweep.services.sweeps.change import change as change_sweep
from smsweep.services.sweeps.change import revision_data
from smsweep.services.sweeps.remove import remove
from smsweep.web.queries import local_agents
from smsweep.web.responses import answer, json_errors, state_of


async def change(request: Request) -> Response:
    """Carry out the action in the path with the JSON document in the body."""
    request.state.body = await request.body()
    return await run_in_threadpool(_change, request)


@json_errors
def _change(request: Request) -> Response:
    document, names = _document(request.state.body), request.path_params
    if "sweep_id" in names and "verb" not in names:
        _change_agents(names, document)
        return answer(local_agents(request))
    if names.get("verb") == "notes":
        text = control.set_notes(names["sweep_id"], _text(document, "text"))
        state_of(request).live.forget(names["sweep_id"])
        noted: NotesAnswer = {"id": names["sweep_id"], "notes": text}
        return answer(noted)
    if names.get("verb") == "set":
        changes = map(parse_change, _strings(document.get("changes"), "changes"))
        made = change_sweep(names["sweep_id"], changes)
        set_to: ChangedConfigAnswer = {
            "id": made.sweep.id,
            "revision": revision_data(made.revision),
            "is_changed": made.is_changed,
            "hint": made.hint,
        }
        return answer(set_to)
    if "sweep_id" in names:
        if names["verb"] not in VERBS:
            raise NotFound(f"unknown action {names['verb']!r}; use one of {', '.join((*VERBS, 'set'))}")
        changed = detach.set_state(names["sweep_id"], names["verb"])
        return answer({"id": changed.id, "state": changed.state.value})
    if names["action"] not in ACTIONS:
        raise NotFound(f"unknown action {names['action']!r}; use one of {', '.join(ACTIONS)}")
    return answer(ACTIONS[names["action"]](document))


def _change_agents(names: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Start an agent, stop the agent with the number in the path, or order something from one on any machine."""
    sweep_id = names["sweep_id"]
    if "agent" in document:
        order, n_slots = document.get("order", ""), document.get("parallel")
        if order not in ("", *ORDERS) or not (n_slots is None or type(n_slots) is int):
            raise UsageError(f"expected order {' or '.join(ORDERS)}, or a number as parallel")
        order_agent(_text(document, "agent"), order=order, parallel=n_slots)
        return None
    if "number" in names:
        return detach.stop_local_agent(sweep_id, names["number"], at_once=document.get("at_once") is True)
    parallel = document.get("parallel", 1)
    if isinstance(parallel, bool) or not isinstance(parallel, int):
        raise UsageError(f"parallel: expected a whole number, got {parallel!r}")
    detach.start_local_agent(
        sweep_id,
        parallel=parallel,
        backend=_text(document, "backend"),
        accepts_cost=document.get("accepts_cost") is True,
    )
    return None


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected text, got {value!r}")
    return value


def _retry(document: Mapping[str, Any]) -> ChangedTrialsAnswer:
    trials = control.retry(_labels(document), failed=document.get("failed") is True)
    return {"labels": [trial.label for trial in trials]}


def _remove(document: Mapping[str, Any]) -> ChangedTrialsAnswer:
    return {"labels": remove(_labels(document))}


def _check(document: Mapping[str, Any]) -> DraftCheckDocument:
    return draft.check(**_draft(document))


def _create(document: Mapping[str, Any]) -> CreatedSweepAnswer:
    sweep_id = draft.create(**_draft(document))
    return {"id": sweep_id, "agent": f"smsweep agent {sweep_id}"}


Action = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ACTIONS: Mapping[str, Action] = {"retry": _retry, "remove": _remove, "check": _check, "create": _create}
DRAFT = ("sweep_yaml", "job_yaml", "name", "like", "prior_runs")


def _draft(document: Mapping[str, Any]) -> dict[str, Any]:
    texts = {key: document.get(key, "") for key in DRAFT if key != "prior_runs"}
    if not all(isinstance(value, str) for value in texts.values()):
        raise UsageError(f"{', '.join(texts)}: expected text")
    return {**texts, "prior_runs": _strings(document.get("prior_runs", []), "prior_runs")}


def _labels(document: Mapping[str, Any]) -> list[str]:
    labels = _strings(document.get("labels"), "labels")
    if not labels:
        raise UsageError("labels: expected at least one trial or sweep")
    return labels


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{name}: expected a list of strings, got {value!r}")
    return value


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as err:
        raise UsageError(f"the request is not valid JSON: {err}") from err
    except RecursionError as err:
        raise UsageError("the request is nested too deeply") from err
    if not isinstance(document, dict):
        raise UsageError("the request is not a JSON object")
    return document
