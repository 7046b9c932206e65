"""Reuse the results of identical trials of earlier sweeps instead of running them again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from smsweep.core.objective import objective
from smsweep.core.repeats import repeat_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.errors import SourceError
from smsweep.source.bundle import bundle_path, content_hash, open_bundle
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

# Keys of a job.yaml that do not affect the results of a trial.
IRRELEVANT = frozenset(
    {
        *("budget", "confirm", "notify", "price_per_hour", "repeats", "retries", "search", "stop_if", "tags"),
        *("keep_alive_period_in_seconds", "max_retry_attempts", "max_run", "max_wait", "use_spot_instances"),
    }
)

Key = tuple[str, int]  # params, and the index of the repetition


class Reuse:
    """Finds a finished trial of another sweep that is identical to a trial, and copies its metrics.

    Trials are identical if their params, source (see `CodeHash`), program, command, job.yaml and kind of backend
    are the same. Input data are compared by location only. The store is searched once, at the first call.
    """

    def __init__(self, store: Store, sweep: Sweep, backends: Collection[str], bundles_dir: Path) -> None:
        self._store = store
        self._sweep = sweep
        self._backends = backends
        self._bundles_dir = bundles_dir
        self._repeats = sweep.job.repeats
        self._twins: dict[Key, Trial] | None = None

    def __call__(self, trial: Trial) -> str:
        """Copy the points and the summary of an identical trial.

        Args:
            trial: A trial that its agent holds. A retried trial always runs again.

        Returns:
            The reason why the trial has finished; "" if the trial must run.
        """
        if trial.attempt or trial.n_points or not self._sweep.source_hash:
            return ""
        if self._twins is None:
            self._twins = dict(self._find_twins())
        twin = self._twins.get(_key(trial, self._repeats))
        if twin is None:
            return ""
        points = self._store.read_points(twin.sweep_id, twin.number)
        self._store.append_points(
            trial.sweep_id,
            trial.number,
            points,
            trial.cursor,
            expect_cursor=trial.cursor,
            summary=twin.summary,
            agent_id=trial.agent_id,
        )
        return f"reused from {twin.label}"

    def _find_twins(self) -> Iterator[tuple[Key, Trial]]:
        wanted, metric = _what_runs(self._sweep), self._sweep.config.metric
        sweeps = self._store.list_sweeps()
        code_of = CodeHash(self._bundles_dir, sweeps)
        for sweep in sweeps:
            if sweep.id == self._sweep.id or _what_runs(sweep) != wanted:
                continue
            hashes = {sweep.source_hash, self._sweep.source_hash}
            if len(hashes) > 1 and len(set(map(code_of, hashes))) > 1:
                continue
            if notes.HAS_OTHER_JOB.get(self._store, sweep.id):
                continue
            repeats = sweep.job.repeats
            for trial in self._store.list_trials(sweep.id):
                is_same_backend = trial.place.partition("@")[0] in self._backends
                has_result = metric is None or objective(trial, metric) is not None
                is_changed = notes.changed_source(trial).get(self._store, sweep.id) is not None
                if trial.state is TrialState.FINISHED and is_same_backend and has_result and not is_changed:
                    yield _key(trial, repeats), trial


def reuse_none(trial: Trial) -> str:
    """Return "". Use this instead of `Reuse` if every trial must run."""
    return ""


def make_reuse(
    store: Store, sweep: Sweep, backends: Collection[str], bundles_dir: Path, *, is_requested: bool
) -> Callable[[Trial], str]:
    """Return the callable that reuses results. is_requested: the agent's option; the sweep can have it as well."""
    if not is_requested and not notes.IS_REUSE.get(store, sweep.id):
        return reuse_none
    if notes.HAS_OTHER_JOB.get(store, sweep.id):
        log.warning("sweep %s: some trials ran with a different job.yaml, so no results are reused", sweep.id)
        return reuse_none
    return Reuse(store, sweep, backends, bundles_dir)


def _key(trial: Trial, repeats: int) -> Key:
    return _canonical(trial.params), repeat_of(trial, repeats)


def _what_runs(sweep: Sweep) -> tuple[Any, ...]:
    relevant = {key: value for key, value in sweep.job.document.items() if key not in IRRELEVANT}
    return sweep.config.program, sweep.config.command, _canonical(relevant)


def _canonical(value: Params) -> str:
    return json.dumps(value, sort_keys=True, default=str)


class CodeHash:
    """Returns a hash of a source without the configs of the sweeps in the store.

    A sweep whose config was edited in the source folder still runs the same code. A file counts as a config if its
    text is the sweep.yaml or the job.yaml of one of the sweeps.
    """

    def __init__(self, bundles_dir: Path, sweeps: Iterable[Sweep]) -> None:
        self._bundles_dir = bundles_dir
        texts = {text for sweep in sweeps for text in (sweep.sweep_yaml, sweep.job_yaml) if text}
        self._configs = {hashlib.sha256(text.encode()).hexdigest() for text in texts}
        self._known: dict[str, str] = {}

    def __call__(self, source_hash: str) -> str:
        if source_hash not in self._known:
            self._known[source_hash] = self._read(source_hash)
        return self._known[source_hash]

    def _read(self, source_hash: str) -> str:
        path = bundle_path(self._bundles_dir, source_hash)
        if not source_hash or not path.is_file():
            return source_hash
        try:
            members = open_bundle(path, expect=source_hash).members
        except SourceError as err:
            log.warning("%s", err)
            return source_hash
        return content_hash(member for member in members if member.sha256 not in self._configs)
