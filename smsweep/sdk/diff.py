"""Two trials, or two sweeps, side by side: what is not the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smsweep.config.yaml_reader import read_yaml
from smsweep.errors import UsageError
from smsweep.printable import with_texts
from smsweep.sdk.hidden import make_redact
from smsweep.sdk.job_text import load_job_text
from smsweep.sdk.labels import parse_label
from smsweep.sdk.origin import ORIGIN_NOTE
from smsweep.sdk.source_diff import source_diff
from smsweep.sdk.views import flat_params, show, sweep_data, trial_data
from smsweep.sdk.workspace import Workspace, find_trial
from smsweep.store.base import Store
from smsweep.sweeps import Sweep
from smsweep.trials import Trial, is_number

Data = dict[str, Any]
ABSENT = object()

# Of a sweep: what is its own in any case, and what another section shows.
OWN = ("id", "created_at", "trials", "best", "usage", "waiting", "source_hash", "metric", "metrics")
# Of a trial, likewise.
OWN_OF_TRIAL = (
    *("number", "params", "metrics", "objective", "job_name", "created_at", "started_at", "ended_at"),
    *("retries", "usage"),
)
NO_AMOUNTS = ("seed", "exit_code", "attempt")  # numbers without a distance between them
# Of a request: the trial's identity, its params, and where its own files lie.
OWN_OF_REQUEST = ("TrainingJobName", "HyperParameters", "OutputDataConfig", "CheckpointConfig", "Tags")


def diff(a: str, b: str) -> Data:
    """Compare two trials ("ID/N") or two sweeps ("ID"), secrets masked.

    Returns `kind` (trial or sweep), `a`, `b`, `is_same`, and what differs in each of `facts`, `params`, `metrics`,
    `config`, `job`, `request`, `environment`: lists of {name, a, b}, numbers with `delta` (b minus a) as well; a
    side that has no such thing lacks the key. Params and metrics of sweeps are those of their best trials. Beside
    them `same`, how many entries of each section are equal, and `source` as of source_diff.
    Raises NotFound; UsageError for a trial and a sweep.
    """
    labels = [parse_label(text) for text in (a, b)]
    is_trial = [number is not None for _, number in labels]
    if len(set(is_trial)) > 1:
        raise UsageError(f"{a} and {b}: one is a trial, the other a sweep; name two of a kind, such as ID/0 ID/1")
    workspace = Workspace()
    with workspace.store() as store:
        sweeps = [store.get_sweep(sweep_id) for sweep_id, _ in labels]
        trials = [find_trial(store, sweep_id, number) for sweep_id, number in labels if number is not None]
        origins = [store.get_note(sweep.id, ORIGIN_NOTE) or {} for sweep in sweeps]
        redact = _redact(workspace, sweeps)
        if trials:
            sides = [_of_trial(workspace, trial, sweep) for trial, sweep in zip(trials, sweeps, strict=True)]
        else:
            sides = [_of_sweep(store, sweep) for sweep in sweeps]
    for side, sweep, origin in zip(sides, sweeps, origins, strict=True):
        side |= {"config": _document(sweep.sweep_yaml), "job": _document(sweep.job_yaml), "environment": origin}
    found: Data = {
        "kind": "trial" if trials else "sweep",
        "a": a.strip(),
        "b": b.strip(),
        "source": source_diff(workspace, (sweeps[0].source_hash, sweeps[1].source_hash), redact),
        "same": {},
    }
    for section in ("facts", "params", "metrics", "config", "job", "request", "environment"):
        pairs = list(_pairs(*(dict(_leaves(side[section])) for side in sides)))
        found[section] = [with_texts(pair, redact) for pair in pairs if not _is_same(pair)]
        found["same"][section] = len(pairs) - len(found[section])
    told = ("params", "metrics", "config", "job", "request")
    found["is_same"] = found["source"]["is_same"] and not any(found[section] for section in told)
    return found


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings and lists with their paths; of lists of packages, each by its name."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, str) and "==" in item for item in value):
        for item in value:
            name, _, version = item.partition("==")
            yield f"{prefix}.{name}", version
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{prefix}[{index}]")
    elif value not in ({}, [], ""):
        yield prefix, value


def _of_trial(workspace: Workspace, trial: Trial, sweep: Sweep) -> Data:
    data = trial_data(trial, sweep)
    seconds = (trial.ended_at - trial.started_at).total_seconds() if trial.ended_at and trial.started_at else None
    facts = {name: value for name, value in data.items() if name not in OWN_OF_TRIAL}
    facts |= {"seconds": seconds, "sweep": sweep.id, "seed": sweep.seed, **data["usage"]}
    return {
        "facts": _known(facts),
        "params": flat_params(data["params"]),
        "metrics": {
            **data["metrics"],
            **({"objective": data["objective"]} if data["objective"] is not None else {}),
        },
        "request": _request(workspace, trial, sweep),
    }


def _of_sweep(store: Store, sweep: Sweep) -> Data:
    shown = show(sweep.id)
    best = shown["best"] or {"params": {}, "metrics": {}, "objective": None}
    facts = {name: value for name, value in sweep_data(sweep).items() if name not in OWN}
    facts |= {f"trials.{state}": count for state, count in shown["trials"].items()}
    facts |= {f"usage.{name}": shown["usage"][name] for name in ("jobs", "hours", "usd")}
    metrics = {**best["metrics"], **({"objective": best["objective"]} if best["objective"] is not None else {})}
    request = dict(load_job_text(sweep.job_yaml).request)
    return {"facts": _known(facts), "params": flat_params(best["params"]), "metrics": metrics, "request": request}


def _request(workspace: Workspace, trial: Trial, sweep: Sweep) -> Data:
    """Return the request of a trial's job as it was sent, or else as job.yaml has it, without what is its own."""
    path = workspace.jobs_dir / trial.job_name / "request.json"
    try:
        request = json.loads(path.read_text(encoding="utf-8")) if trial.job_name else None
    except (OSError, ValueError):  # it ran elsewhere, or its folder is gone
        request = None
    if request is None:
        request = dict(load_job_text(sweep.job_yaml).request)
    kept = {name: value for name, value in request.items() if name not in OWN_OF_REQUEST}
    kept["InputDataConfig"] = [
        channel for channel in request.get("InputDataConfig", ()) if channel.get("ChannelName") != "smsweep"
    ]
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
    kept["Tags"] = {name: value for name, value in tags.items() if not name.startswith("smsweep:")}
    return kept


def _known(facts: Data) -> Data:
    return {name: value for name, value in facts.items() if value is not None}


def _document(text: str) -> Any:
    return (read_yaml(text, "document").data or {}) if text else {}


def _pairs(a: Data, b: Data) -> Iterator[Data]:
    for name in dict.fromkeys([*a, *b]):
        pair: Data = {"name": name}
        for side, values in (("a", a), ("b", b)):
            if name in values:
                pair[side] = values[name]
        if name not in NO_AMOUNTS and all(map(is_number, (pair.get("a"), pair.get("b")))):
            pair["delta"] = pair["b"] - pair["a"]
        yield pair


def _is_same(pair: Data) -> bool:
    a, b = pair.get("a", ABSENT), pair.get("b", ABSENT)
    return (a == b and isinstance(a, bool) == isinstance(b, bool)) or (a != a and b != b)


def _redact(workspace: Workspace, sweeps: list[Sweep]) -> Callable[[str], str]:
    both = [make_redact(_environ(workspace, sweep), load_job_text(sweep.job_yaml)) for sweep in sweeps]
    return lambda text: both[1](both[0](text))


def _environ(workspace: Workspace, sweep: Sweep) -> dict[str, str]:
    return {**workspace.environ, **load_job_text(sweep.job_yaml).request.get("Environment", {})}
