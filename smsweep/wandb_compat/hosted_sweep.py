"""A sweep on W&B's server: the GraphQL client, the sweep and its runs, and its controller.

The server chooses the params. The controller adds one trial per run.
"""

from __future__ import annotations

import base64
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from smsweep.core.trial import Trial
from smsweep.engine.controller import ATTEMPTS, Controller, Proposal
from smsweep.errors import AccessDenied, BackendUnavailable, NotFound, UsageError
from smsweep.runtime.script.records import IDLE, RUN

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
PAGE = 100  # runs per answer
OPEN = ("PENDING", "RUNNING")  # states of a sweep that offers runs
PAUSED = "PAUSED"
ENDLESS = 1_000_000_000  # runs
TIMEOUT_S = 20.0
POLL_S = 10.0  # between two polls of the server


class WandbServer:
    """One W&B server, with the key of one user."""

    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise NotFound(f"WANDB_BASE_URL: {url!r} is not the URL of a server; use https://...")
        self.url = url.rstrip("/")
        self._authorization = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Run a GraphQL query and return the data of the answer.

        Raises:
            AccessDenied: If the server refuses the key.
            NotFound: If the answer reports an error.
            BackendUnavailable: If the server does not answer.
        """
        request = urllib.request.Request(  # noqa: S310 - checked above to be http or https
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": dict(variables)}).encode(),
            headers={"Content-Type": "application/json", "Authorization": self._authorization},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - likewise # nosec B310
                answer = json.load(response)
        except urllib.error.HTTPError as err:
            raise self._refused(err) from err
        except (OSError, ValueError) as err:
            raise BackendUnavailable(f"W&B at {self.url} does not answer: {err}") from err
        if answer.get("errors"):
            raise NotFound(f"W&B reports: {_messages(answer)}")
        return dict(answer.get("data") or {})

    def _refused(self, err: urllib.error.HTTPError) -> AccessDenied | BackendUnavailable | NotFound:
        try:
            message = _messages(json.load(err))
        except (OSError, ValueError):
            message = err.reason
        if err.code in (401, 403):
            return AccessDenied(f"W&B at {self.url} refuses the key: {message}; run `wandb login` again")
        if err.code in (400, 404):
            return NotFound(f"W&B at {self.url} reports: {message}")
        return BackendUnavailable(f"W&B at {self.url} answers {err.code}: {message}")


def _messages(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors") or [answer]
    return "; ".join(str(error.get("message") or error) for error in errors)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPath:
    """The path of a sweep on W&B's server."""

    entity: str  # "" for the default entity of the key
    project: str
    id: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.entity, self.project, self.id) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedSweep:
    """A sweep on W&B's server at one moment."""

    name: str  # display name; "" for none
    state: str  # PENDING, RUNNING, PAUSED, FINISHED, CANCELED, ...
    config: str  # YAML
    n_runs: int  # existing runs
    n_expected: int | None  # runs of a grid; None for an endless sweep

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_paused(self) -> bool:
        return self.state == PAUSED

    @property
    def n_open(self) -> int:
        """How many runs the server can still offer; a very large number for an endless sweep."""
        return ENDLESS if self.n_expected is None else self.n_expected - self.n_runs


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedRun:
    """A run on W&B's server."""

    id: str
    name: str
    state: str  # finished, failed, crashed, killed, running, ...
    config: dict[str, Any]  # nested, without W&B's internal keys
    summary: dict[str, Any]  # nested


def parse_path(text: str, project: str, entity: str) -> SweepPath:
    """Return the path of `ID`, `project/ID`, `entity/project/ID` or the URL of the sweep's page.

    Args:
        text: What the user wrote.
        project: Project to use if the text has none.
        entity: Entity to use if the text has none.

    Raises:
        UsageError: If the text is not valid or there is no project.
    """
    parts = [part for part in urlsplit(text.strip()).path.split("/") if part]
    if len(parts) == 4 and parts[2] == "sweeps":
        del parts[2]
    if not 1 <= len(parts) <= 3:
        raise UsageError(f"{text!r} is not a sweep of W&B; use entity/project/ID")
    *named, sweep_id = parts
    entity, project = [entity, project][: 2 - len(named)] + named
    if not project:
        raise UsageError(f"{text!r}: the project is missing; use entity/project/ID, or add --project")
    return SweepPath(entity=entity, project=project, id=sweep_id)


def read_sweep(server: WandbServer, path: SweepPath) -> HostedSweep:
    """Read a sweep from the server. Raises NotFound."""
    data = server.ask(SWEEP_QUERY, _variables(path) | {"name": path.id})
    sweep = (data.get("project") or {}).get("sweep")
    if not sweep:
        raise NotFound(
            f"W&B at {server.url} has no sweep {path}; check the entity, and that the key's user is a member of it"
        )
    return HostedSweep(
        name=sweep.get("displayName") or "",
        state=str(sweep.get("state") or "").upper(),
        config=sweep.get("config") or "",
        n_runs=sweep.get("runCount") or 0,
        n_expected=sweep.get("runCountExpected"),
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


log = logging.getLogger(__name__)


class HostedController(Controller):
    """A controller that asks W&B whether there are more runs. Its trials have no params of their own.

    Args:
        poll: Reads the sweep from the server.
        clock: Returns the time, aware UTC.
    """

    def __init__(
        self, *args: Any, poll: Callable[[], HostedSweep], clock: Callable[[], datetime], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._poll = poll
        self._clock = clock
        self._polled_at: datetime | None = None
        self._hosted: HostedSweep | None = None
        self._has_ended = False  # a trial got this answer from the server

    def propose(self, n: int) -> Proposal:
        """Add trials while the server has runs for them, as far as this is known in advance."""
        for _ in range(ATTEMPTS):
            if (blocked := self._blocked()) is not None:
                return blocked
            if self._add([{}] * min(n, self._n_allowed())):
                return Proposal.ADDED
        return Proposal.CONTENDED

    def is_exhausted(self, n_waiting: int = 0) -> bool:
        """Return True if the server has no more runs."""
        return self._blocked() is Proposal.EXHAUSTED

    def missing_objective(self, trial: Trial) -> str:
        """Return "" for a trial that got no run from the server, which means that the sweep has no more runs."""
        if trial.summary.get(IDLE):
            if not self._has_ended:
                log.info(
                    "sweep %s: W&B had no run for %s, so the sweep has no more runs", self.sweep.id, trial.label
                )
            self._has_ended = True
            return ""
        return super().missing_objective(trial)

    def _blocked(self) -> Proposal | None:
        if self._has_ended:
            return Proposal.EXHAUSTED
        blocked = super()._blocked()
        if blocked is not None:
            return blocked
        hosted = self._read_hosted()
        if hosted.is_paused:
            return Proposal.CLOSED
        if not hosted.is_open or hosted.n_open <= 0:
            return Proposal.EXHAUSTED
        return None if hosted.n_open > self._n_waiting() else Proposal.RESERVED

    def _n_allowed(self) -> int:
        return min(super()._n_allowed(), self._read_hosted().n_open - self._n_waiting())

    def _n_waiting(self) -> int:
        """Return how many trials wait for a run from the server."""
        return sum(1 for trial in self.history if not trial.state.is_terminal and RUN not in trial.summary)

    def _read_hosted(self) -> HostedSweep:
        now = self._clock()
        if self._hosted is None or self._polled_at is None or (now - self._polled_at).total_seconds() >= POLL_S:
            self._hosted, self._polled_at = self._poll(), now
        return self._hosted
