"""Sweeps on W&B's server: attach agents to a sweep that the server controls, or import a sweep with its runs."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from smsweep.config_files.code_consent import hook_codes, refuse_code
from smsweep.config_files.sweep_yaml import ParsedSweep, parse_sweep
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.core.sweep import Sweep, SweepState
from smsweep.errors import AccessDenied, ConfigError, NotFound, UsageError
from smsweep.runtime.job.script_environment import WANDB_URL
from smsweep.runtime.script.records import WANDB_AGENT
from smsweep.secrets.redact import find_wandb_key
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.create import sweep
from smsweep.services.sweeps.load import JobLike, load_job, load_sweep, warn
from smsweep.services.sweeps.search_program import source_dir
from smsweep.services.sweeps.snapshot import origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.wandb_compat.hosted_sweep import (
    HostedRun,
    HostedSweep,
    SweepPath,
    WandbServer,
    parse_path,
    read_runs,
    read_sweep,
)
from smsweep.wandb_compat.runs_table import Row, read_rows

log = logging.getLogger(__name__)

# Keys of W&B's config that the local sweep keeps.
SERVERS = ("program", "name", "description", "metric", "method", "parameters")


def attach(path: str, *, project: str | None = None, entity: str | None = None, job: JobLike = None) -> str:
    """Return the id of the local sweep that mirrors a sweep on W&B's server.

    The first call creates the local sweep, with W&B's id and a snapshot of the program. Each local trial is a job
    that runs an agent of W&B's sweep.

    Args:
        path: "ID", "project/ID" or "entity/project/ID" of the sweep on W&B's server.
        project: W&B project, if `path` has none. Default: `WANDB_PROJECT`.
        entity: W&B entity, if `path` has none. Default: `WANDB_ENTITY`.
        job: Path or content of a job.yaml.

    Raises:
        NotFound: If W&B's server has no such sweep.
        AccessDenied: If there is no W&B key, or the server rejects it.
        ConfigError: If a config is invalid.
        SourceError: If the program is not in the source, or the source contains a secret.
        UsageError: If the store has another sweep with this id.
    """
    workspace = Workspace()
    environ = workspace.environ
    place = parse_path(
        path, project or environ.get("WANDB_PROJECT") or "", entity or environ.get("WANDB_ENTITY") or ""
    )
    hosted = read_sweep(open_server(environ), place)
    with workspace.store(create=True) as store:
        stored = _find(store, place)
        if stored is None:
            _create(store, workspace, place, hosted, job)
        elif stored.state is SweepState.FINISHED and hosted.is_open:
            store.set_sweep_state(stored.id, [SweepState.FINISHED], SweepState.RUNNING)  # W&B resumed it
    return place.id


def open_server(environ: Mapping[str, str]) -> WandbServer:
    """Return a client for W&B's server, configured like wandb itself. Raises AccessDenied without a key."""
    url = environ.get("WANDB_BASE_URL") or WANDB_URL
    key = find_wandb_key(environ)
    if key is None:
        raise AccessDenied(f"no key for W&B at {url}; run `wandb login`, or set WANDB_API_KEY")
    return WandbServer(url, key.value)


def make_poll(note: Mapping[str, str], workspace: Workspace) -> Callable[[], HostedSweep]:
    """Return a function that reads a sweep from W&B's server. note: the note WANDB_SWEEP of the local sweep."""
    path = SweepPath(**note)
    server = open_server(workspace.environ)
    return lambda: read_sweep(server, path)


def _find(store: Store, place: SweepPath) -> Sweep | None:
    try:
        stored = store.get_sweep(parse_sweep_id(place.id))
    except NotFound:
        return None
    if notes.WANDB_SWEEP.get(store, stored.id) != asdict(place):
        raise UsageError(f"the store has another sweep {stored.id}; set SMSWEEP_DIR to a new folder for {place}")
    return stored


def _create(store: Store, workspace: Workspace, place: SweepPath, hosted: HostedSweep, job: JobLike) -> None:
    parsed, parsed_job = _parsed(place, hosted), load_job(job)
    warn(parsed_job.warnings)
    for key, is_set in (
        ("confirm", parsed_job.template.confirm is not None),
        ("search.cost", parsed_job.template.search.cost is not None),
        ("search.conditions", bool(parsed_job.template.search.conditions)),
        ("search.constraints", bool(parsed_job.template.search.constraints)),
        ("search.beliefs", bool(parsed_job.template.search.beliefs)),
        ("search.start_points", bool(parsed_job.template.search.start_points)),
    ):
        if is_set:
            raise ConfigError(f"{key}: W&B chooses the params of sweep {place}; remove {key} from job.yaml")
    refuse_code(hook_codes(parsed_job.template.notify), workspace.environ)
    store.create_sweep(
        Sweep(
            id=place.id,
            config=parsed.config,
            job=parsed_job.template,
            seed=random.SystemRandom().getrandbits(32),
            name=hosted.name or parsed.config.name or "",
            project=place.project,
            entity=place.entity,
            sweep_yaml=parsed.text,
            job_yaml=parsed_job.text,
            source_hash=snapshot(workspace, parsed, parsed_job, None),
            created_at=datetime.now(timezone.utc),
        )
    )
    notes.ORIGIN.put(store, place.id, origin(Path.cwd()))
    if folder := source_dir(parsed.config, parsed_job, None):
        notes.SOURCE_FOLDER.put(store, place.id, str(folder.resolve()))
    notes.WANDB_SWEEP.put(store, place.id, asdict(place))


def _parsed(place: SweepPath, hosted: HostedSweep) -> ParsedSweep:
    """Return W&B's config with the command of the local trials.

    Only W&B's server reads the parameters. If smsweep does not accept them, a placeholder replaces them.
    """
    config: dict[str, Any] = read_yaml(hosted.config, str(place)).data or {}
    document = {name: config[name] for name in SERVERS if config.get(name) is not None}
    document["command"] = ["${env}", "${interpreter}", "-m", WANDB_AGENT, str(place)]
    try:
        return parse_sweep(document, name=str(place))
    except ConfigError:
        placeholder = {"method": "random", "parameters": {"wandb_sweep": {"value": str(place)}}}
        return parse_sweep({**document, **placeholder}, name=str(place))


def import_sweep(
    path: str,
    *,
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    seed: int | None = None,
) -> tuple[str, int]:
    """Create a sweep with the config of a sweep on W&B's server. The server's sweep does not change.

    The server's runs inform the search as prior runs do. A grid skips the cells that they cover.

    Args:
        path: "ID", "project/ID" or "entity/project/ID" of the sweep on W&B's server.
        project: W&B project, if `path` has none. Default: `WANDB_PROJECT`.
        entity: W&B entity, if `path` has none. Default: `WANDB_ENTITY`.
        name: Name of the new sweep. Default: that on the server.
        program: Script that runs instead of the config's `program`.
        job: Path or content of a job.yaml.
        seed: Random seed for the search. Default: random.

    Returns:
        Id of the new sweep, and the number of imported runs.

    Raises:
        NotFound: If W&B's server has no such sweep.
        AccessDenied: If there is no W&B key, or the server rejects it.
        ConfigError: If a config is invalid.
        SourceError: If the program is not in the source, or the source contains a secret.
    """
    workspace = Workspace()
    environ = workspace.environ
    place = parse_path(
        path, project or environ.get("WANDB_PROJECT") or "", entity or environ.get("WANDB_ENTITY") or ""
    )
    server = open_server(environ)
    hosted = read_sweep(server, place)
    config = read_yaml(hosted.config, str(place)).data
    parsed = load_sweep(config).config
    read = read_rows(str(place), [_row(run) for run in read_runs(server, place)], parsed.space, parsed.all_metrics)
    for warning in read.warnings:
        log.warning("%s", warning)
    sweep_id = sweep(
        config,
        place.entity,
        place.project,
        name=name or hosted.name,
        program=program,
        job=job,
        seed=seed,
    )
    with workspace.store() as store:
        notes.PRIOR_READ_RUNS.put(store, sweep_id, list(read.runs))
    return sweep_id, len(read.runs)


def _row(run: HostedRun) -> Row:
    """Return a run as a row of texts. A nested value is in the row as a whole and by its parts."""
    cells = {"Name": run.name, "State": run.state}
    for prefix, values in (("config.", run.config), ("summary.", run.summary)):
        cells |= {prefix + name: _text(value) for name, value in _flat(values)}
    return cells


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield prefix + name, value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, (list, Mapping)):
        return repr(value)
    return value if isinstance(value, str) else json.dumps(value)
