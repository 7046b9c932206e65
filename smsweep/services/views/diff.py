"""Compare two trials or two sweeps: facts, params, metrics, configs, requests, environments and source files."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.json_documents import (
    DiffDocument,
    DifferenceDocument,
    FactDifferenceDocument,
    FileDifferenceDocument,
    SourceDifferenceDocument,
    SweepDocument,
)
from smsweep.core.sweep import ConfigRevision, Sweep
from smsweep.core.trial import Trial, is_number
from smsweep.errors import SourceError, UsageError
from smsweep.runtime.job.environment_info import FILE
from smsweep.runtime.job.secrets import SECRETS_ENV
from smsweep.secrets.redact import make_redact, redact_file
from smsweep.services.agents.in_place import source_hash_of
from smsweep.services.labels import full_label, parse_label
from smsweep.services.sweeps.change import revision_of
from smsweep.services.views.json_views import flat_params, show, sweep_data, trial_data
from smsweep.services.workspace import Workspace, find_trial, read_stored
from smsweep.source.bundle import Bundle, bundle_path, extract
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.terminal_text import with_texts

ABSENT = object()
REVISION = re.compile(r"(.+)@([0-9]{1,9})")  # such as abcd1234@2
MAX_TEXT = 512_000  # maximum size in bytes of a file whose lines are compared
SECTIONS = ("facts", "params", "metrics", "config", "job", "request", "environment")
DECISIVE = (
    "params",
    "metrics",
    "config",
    "job",
    "request",
)  # two sides are the same if these sections and the source are the same

# Fields of a sweep that always differ, or that another section has.
OWN = ("id", "created_at", "trials", "best", "usage", "waiting", "source_hash", "metric", "metrics")
# The same for a trial.
OWN_OF_TRIAL = (
    *("number", "params", "metrics", "objective", "job_name", "created_at", "started_at", "ended_at"),
    *("retries", "usage"),
)
NO_AMOUNTS = ("seed", "exit_code", "attempt")  # numbers without a meaningful difference
# Fields of a request that always differ: the trial's identity, its params and the locations of its files.
OWN_OF_REQUEST = ("TrainingJobName", "HyperParameters", "OutputDataConfig", "CheckpointConfig", "Tags")
PARAMS = "smsweep"  # folder in a job's folder; see runtime/layout.py


def diff(a: str, b: str) -> DiffDocument:
    """Compare two trials or two sweeps. Secrets are masked.

    Args:
        a: A trial ("ID/N"), a sweep ("ID"), or a revision of a sweep's config ("ID@N").
        b: The other trial or sweep.

    Returns:
        `kind` (trial or sweep), `a`, `b`, `is_same`, `source` (see `source_diff`), and `same`: the number of equal
        entries in each section. The sections `facts`, `params`, `metrics`, `config`, `job`, `request` and
        `environment` are lists of the differences as {name, a, b}. A side without the entry lacks its key. Numbers
        also have `delta` (b minus a). The params and metrics of a sweep are those of its best trial.

    Raises:
        NotFound: If there is no such sweep, revision or trial.
        UsageError: If one is a trial and the other a sweep.
    """
    parts = [REVISION.fullmatch(text.strip()) for text in (a, b)]
    labels = [parse_label(full_label(part[1]) if part else text) for part, text in zip(parts, (a, b), strict=True)]
    is_trial = [number is not None for _, number in labels]
    if len(set(is_trial)) > 1:
        raise UsageError(
            f"{a} and {b}: cannot compare a trial with a sweep; give two of a kind, such as ID/0 ID/1"
        )
    workspace = Workspace()
    with workspace.store() as store:
        found = cache(store.get_sweep)  # a running sweep does not change between its two sides
        sweeps = [found(sweep_id) for sweep_id, _ in labels]
        revisions = [
            revision_of(store, sweep.id, int(part[2]) if part else sweep.config_revision) if any(parts) else None
            for part, sweep in zip(parts, sweeps, strict=True)
        ]
        sweeps = [_at(sweep, revision) for sweep, revision in zip(sweeps, revisions, strict=True)]
        trials = [find_trial(store, sweep_id, number) for sweep_id, number in labels if number is not None]
        origins = [notes.ORIGIN.get(store, sweep.id) for sweep in sweeps]
        redact = _redact(workspace, sweeps)
        hashes = [sweep.source_hash for sweep in sweeps]
        if trials:
            hashes = [source_hash_of(store, trial, sweep) for trial, sweep in zip(trials, sweeps, strict=True)]
            sides = [_of_trial(workspace, trial, sweep) for trial, sweep in zip(trials, sweeps, strict=True)]
        else:
            shown = cache(show)
            sides = [_of_sweep(sweep, shown(sweep.id)) for sweep in sweeps]
    for side, revision in zip(sides, revisions, strict=True):
        if revision is not None:
            side["facts"] |= _known({"revision": revision.number, "changed_by": revision.changed_by or None})
    for side, sweep, origin in zip(sides, sweeps, origins, strict=True):
        side |= {"config": sweep.config.document, "job": sweep.job.document, "environment": origin}
    differences: dict[str, list[DifferenceDocument]] = {}
    same: dict[str, int] = {}
    for section in SECTIONS:
        pairs = list(_pairs(*(dict(_leaves(side[section])) for side in sides)))
        differences[section] = [with_texts(pair, redact) for pair in pairs if not _is_same(pair)]
        same[section] = len(pairs) - len(differences[section])
    source = source_diff(workspace, (hashes[0], hashes[1]), redact)
    return {
        "kind": "trial" if trials else "sweep",
        "a": a.strip(),
        "b": b.strip(),
        "is_same": source["is_same"] and not any(differences[section] for section in DECISIVE),
        "source": source,
        "same": same,
        "facts": differences["facts"],
        "params": differences["params"],
        "metrics": differences["metrics"],
        "config": differences["config"],
        "job": differences["job"],
        "request": differences["request"],
        "environment": differences["environment"],
    }


def _at(sweep: Sweep, revision: ConfigRevision | None) -> Sweep:
    """Return a sweep with the config of a revision; unchanged without one."""
    if revision is None:
        return sweep
    config, job = read_stored(revision.sweep_yaml, revision.job_yaml)
    return replace(sweep, config=config, job=job, sweep_yaml=revision.sweep_yaml, job_yaml=revision.job_yaml)


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings and lists with their paths. The path of a package ends with its name."""
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


def _of_trial(workspace: Workspace, trial: Trial, sweep: Sweep) -> dict[str, Any]:
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


def _of_sweep(sweep: Sweep, document: SweepDocument) -> dict[str, Any]:
    best = document["best"]
    facts = {name: value for name, value in sweep_data(sweep).items() if name not in OWN}
    facts |= {f"trials.{state}": count for state, count in document["trials"].items()}
    usage = document["usage"]
    facts |= {"usage.jobs": usage["jobs"], "usage.hours": usage["hours"], "usage.usd": usage["usd"]}
    metrics = dict(best["metrics"]) if best else {}
    if best and best["objective"] is not None:
        metrics["objective"] = best["objective"]
    request = dict(sweep.job.request)
    return {
        "facts": _known(facts),
        "params": flat_params(best["params"]) if best else {},
        "metrics": metrics,
        "request": request,
    }


def _request(workspace: Workspace, trial: Trial, sweep: Sweep) -> dict[str, Any]:
    """Return the request of a trial's job, or else that of job.yaml, without the fields that always differ."""
    folder = JobFolder(workspace.jobs_dir / trial.job_name)
    request = folder.find_request() if trial.job_name else None
    if request is None:  # the job did not run on this machine, or its folder is missing or damaged
        request = dict(sweep.job.request)
    kept = {name: value for name, value in request.items() if name not in OWN_OF_REQUEST}
    kept["InputDataConfig"] = [
        channel for channel in request.get("InputDataConfig", ()) if channel.get("ChannelName") != "smsweep"
    ]
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
    kept["Tags"] = {name: value for name, value in tags.items() if not name.startswith("smsweep:")}
    return kept


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[DifferenceDocument]:
    for name in dict.fromkeys([*a, *b]):
        pair: DifferenceDocument = {"name": name}
        if name in a:
            pair["a"] = a[name]
        if name in b:
            pair["b"] = b[name]
        if name not in NO_AMOUNTS and all(map(is_number, (pair.get("a"), pair.get("b")))):
            pair["delta"] = pair["b"] - pair["a"]
        yield pair


def _is_same(pair: DifferenceDocument) -> bool:
    a, b = pair.get("a", ABSENT), pair.get("b", ABSENT)
    return (a == b and isinstance(a, bool) == isinstance(b, bool)) or (a != a and b != b)


def _redact(workspace: Workspace, sweeps: list[Sweep]) -> Callable[[str], str]:
    both = [make_redact(_environ(workspace, sweep), sweep.job) for sweep in sweeps]
    return lambda text: both[1](both[0](text))


def _environ(workspace: Workspace, sweep: Sweep) -> dict[str, str]:
    return {**workspace.environ, **sweep.job.request.get("Environment", {})}


def source_diff(
    workspace: Workspace, hashes: tuple[str, str], redact: Callable[[str], str]
) -> SourceDifferenceDocument:
    """Compare two source snapshots.

    Args:
        workspace: The workspace with the snapshots.
        hashes: Hashes of the two snapshots; "" for no source.
        redact: Masks secrets in a text.

    Returns:
        `a`, `b`, `is_same`, and `files`: the files that differ, with `name`, `change` and `diff` (lines of a
        unified diff). `change` is added, removed, changed, or mode (only the executable bit differs). `diff` is
        null for a binary or large file and for a file of secrets. `missing` lists the snapshots that are not on
        this machine; `files` is null then.
    """
    about: SourceDifferenceDocument = {
        "a": hashes[0],
        "b": hashes[1],
        "is_same": hashes[0] == hashes[1],
        "files": [],
        "missing": [],
    }
    if about["is_same"]:
        return about
    about["missing"] = [name for name in hashes if name and not bundle_path(workspace.bundles_dir, name).is_file()]
    if about["missing"]:
        return {**about, "files": None}
    with tempfile.TemporaryDirectory(prefix="smsweep-diff-") as scratch:
        folders = (Path(scratch) / "a", Path(scratch) / "b")
        try:
            bundles = [_extract(workspace, name, folder) for name, folder in zip(hashes, folders, strict=True)]
        except SourceError as err:
            return {**about, "files": None, "missing": [str(err)]}
        return {**about, "files": _files(bundles, folders, redact)}


def _extract(workspace: Workspace, source_hash: str, into: Path) -> Bundle | None:
    if not source_hash:
        return None  # a sweep of a Python function
    return extract(bundle_path(workspace.bundles_dir, source_hash), into, expect=source_hash)


def _files(
    bundles: list[Bundle | None], folders: tuple[Path, Path], redact: Callable[[str], str]
) -> list[FileDifferenceDocument]:
    before, after = ({member.name: member for member in bundle.members} if bundle else {} for bundle in bundles)
    differences: list[FileDifferenceDocument] = []
    for name in sorted({*before, *after}):
        a, b = before.get(name), after.get(name)
        if a == b:
            continue
        change: Literal["added", "removed", "changed", "mode"]
        if a is None or b is None:
            change = "added" if a is None else "removed"
        else:
            change = "changed" if a.sha256 != b.sha256 else "mode"
        texts = [
            _lines(folder / name, name) if member else [] for folder, member in zip(folders, (a, b), strict=True)
        ]
        differences.append({"name": name, "change": change, "diff": _unified(name, *texts, redact=redact)})
    return differences


def _lines(path: Path, name: str) -> list[str] | None:
    """Return the lines of a text file; None for a file that is binary, too large or a file of secrets."""
    if name == SECRETS_ENV or path.stat().st_size > MAX_TEXT:
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else redact_file(name, text).splitlines()


def _unified(
    name: str, before: list[str] | None, after: list[str] | None, *, redact: Callable[[str], str]
) -> list[str] | None:
    if before is None or after is None:
        return None
    lines = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
    return redact("\n".join(lines)).splitlines()


def differing_facts(store: Store, a: Trial, b: Trial) -> list[FactDifferenceDocument]:
    """Return the facts that differ between two trials, as {name, a, b}. An unknown fact is None."""
    facts = facts_of(store, a), facts_of(store, b)
    names = dict.fromkeys([*facts[0], *facts[1]])
    pairs: list[FactDifferenceDocument] = [
        {"name": name, "a": facts[0].get(name), "b": facts[1].get(name)} for name in names
    ]
    return [pair for pair in pairs if pair["a"] != pair["b"]]


def facts_of(store: Store, trial: Trial) -> dict[str, str]:
    """Return the known facts about where a trial ran.

    `python`, `platform` and `packages.NAME` are from the job's folder on this machine. For a process whose folder
    is missing, they are those at the time when the sweep was created.
    """
    sweep = store.get_sweep(trial.sweep_id)
    folder = JobFolder(Workspace().jobs_dir / trial.job_name) if trial.job_name else None
    request = (folder and folder.find_request()) or dict(sweep.job.request)
    origin = notes.ORIGIN.get(store, trial.sweep_id)
    backend, _, machine = trial.place.partition("@")
    environment = (folder and folder.find_document(PARAMS, FILE)) or (origin if backend == "process" else {})
    has_other_job = notes.HAS_OTHER_JOB.get(store, sweep.id)
    resources = request.get("ResourceConfig", {})
    facts = {
        "backend": backend,
        "machine": machine,
        "image": request.get("AlgorithmSpecification", {}).get("TrainingImage"),
        "image digest": trial.usage.get("image"),
        "instance type": trial.usage.get("instance_type") or resources.get("InstanceType"),
        "instance count": trial.usage.get("instance_count") or resources.get("InstanceCount"),
        "smsweep": origin.get("smsweep"),
        "python": environment.get("python"),
        "platform": environment.get("platform"),
        "source": source_hash_of(store, trial, sweep)[:16],
        "job.yaml": "some trials ran with a different job.yaml than their sweep's" if has_other_job else None,
    }
    for package in environment.get("packages", ()):
        name, _, version = package.partition("==")
        facts[f"packages.{canonical(name)}"] = version
    return {name: str(value) for name, value in facts.items() if value}


def canonical(name: str) -> str:
    """Return the normalized name of a package. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
