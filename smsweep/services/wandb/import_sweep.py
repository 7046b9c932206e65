"""Take over a sweep from W&B's server: its config, and its runs as what the search already knows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from smsweep.config_files.yaml_reader import read_yaml
from smsweep.services.sweeps.create import sweep
from smsweep.services.sweeps.load import JobLike, load_sweep
from smsweep.services.wandb.hosted import open_server
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.wandb_compat.hosted_sweep import HostedRun, parse_path, read_runs, read_sweep
from smsweep.wandb_compat.runs_csv import Row, read_rows

log = logging.getLogger(__name__)


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
    """Create a sweep with the config of one on W&B's server, and return its id and how many runs it knows of.

    path: "ID", "project/ID" or "entity/project/ID" there. The runs inform the search as prior runs do: a grid
    leaves out the cells they cover. The server's sweep stays as it is.
    Raises NotFound, AccessDenied, ConfigError, SourceError.
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
        notes.PRIOR_CSV_RUNS.put(store, sweep_id, list(read.runs))
    return sweep_id, len(read.runs)


def _row(run: HostedRun) -> Row:
    """Return a run as a row of a table: each value as text, that of a nested group both whole and by its parts."""
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
