"""What W&B's server knows of one of its sweeps and of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smsweep.errors import NotFound, UsageError
from smsweep.wandb_compat.client import WandbServer

SWEEP_QUERY = """
query Sweep($entity: String, $project: String, $name: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $name) { name displayName state config runCount runCountExpected }
  }
}
"""
RUNS_QUERY = """
query Runs($entity: String, $project: String, $filters: JSONString, $cursor: String, $n: Int) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, after: $cursor, first: $n, order: "+created_at") {
      edges { node { name displayName state config summaryMetrics } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
PAGE = 100  # runs an answer
OPEN = ("PENDING", "RUNNING")  # states in which a sweep hands out runs
PAUSED = "PAUSED"
ENDLESS = 1_000_000_000  # runs


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPath:
    entity: str  # "" for the key's own
    project: str
    id: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.entity, self.project, self.id) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedSweep:
    """A snapshot."""

    name: str  # as people gave it; "" for none
    state: str  # PENDING, RUNNING, PAUSED, FINISHED, CANCELED, ...
    config: str  # YAML
    n_runs: int  # that there are
    n_expected: int | None  # of a grid; None where there is no end

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_paused(self) -> bool:
        return self.state == PAUSED

    @property
    def n_open(self) -> int:
        """How many runs the server can still give; a number without meaning above any n for an endless sweep."""
        return ENDLESS if self.n_expected is None else self.n_expected - self.n_runs


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedRun:
    id: str
    name: str
    state: str  # finished, failed, crashed, killed, running, ...
    config: dict[str, Any]  # nested, without what W&B keeps there for itself
    summary: dict[str, Any]  # nested


def parse_path(text: str, project: str, entity: str) -> SweepPath:
    """Return the place of `ID`, `project/ID`, `entity/project/ID` or the address of the sweep's page.

    project, entity: for what the text leaves out. Raises UsageError where no project is to be had.
    """
    parts = [part for part in urlsplit(text.strip()).path.split("/") if part]
    if len(parts) == 4 and parts[2] == "sweeps":
        del parts[2]
    if not 1 <= len(parts) <= 3:
        raise UsageError(f"{text!r} is no sweep of W&B; write entity/project/ID")
    *named, sweep_id = parts
    entity, project = [entity, project][: 2 - len(named)] + named
    if not project:
        raise UsageError(f"{text!r}: of which project? write entity/project/ID, or give --project")
    return SweepPath(entity=entity, project=project, id=sweep_id)


def read_sweep(server: WandbServer, path: SweepPath) -> HostedSweep:
    """Raises NotFound."""
    data = server.ask(SWEEP_QUERY, _variables(path) | {"name": path.id})
    found = (data.get("project") or {}).get("sweep")
    if not found:
        raise NotFound(f"W&B at {server.url} has no sweep {path}; is the entity right, and the key's user in it?")
    return HostedSweep(
        name=found.get("displayName") or "",
        state=str(found.get("state") or "").upper(),
        config=found.get("config") or "",
        n_runs=found.get("runCount") or 0,
        n_expected=found.get("runCountExpected"),
    )


def read_runs(server: WandbServer, path: SweepPath) -> Iterator[HostedRun]:
    """Yield the sweep's runs, oldest first."""
    cursor: str | None = None
    while True:
        page = {"filters": json.dumps({"sweep": path.id}), "cursor": cursor, "n": PAGE}
        runs = (server.ask(RUNS_QUERY, _variables(path) | page).get("project") or {}).get("runs") or {}
        yield from (_run(edge["node"]) for edge in runs.get("edges", ()))
        info = runs.get("pageInfo") or {}
        cursor = info.get("endCursor")
        if not info.get("hasNextPage") or not cursor:
            return


def _variables(path: SweepPath) -> dict[str, Any]:
    return {"entity": path.entity or None, "project": path.project}


def _run(node: dict[str, Any]) -> HostedRun:
    config = json.loads(node.get("config") or "{}")
    summary = json.loads(node.get("summaryMetrics") or "{}")
    return HostedRun(
        id=node["name"],
        name=node.get("displayName") or node["name"],
        state=str(node.get("state") or "").lower(),
        config={
            name: item.get("value") if isinstance(item, dict) else item
            for name, item in config.items()
            if not name.startswith("_") and name != "wandb_version"
        },
        summary={name: value for name, value in summary.items() if not name.startswith("_")},
    )
