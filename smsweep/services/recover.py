"""A sweep whose store was lost, rebuilt from its jobs: each of them carries its trial.

What is written is only which job each trial has. The rest is what an agent does anyway with trials of one that is
gone: it finds the jobs, reads their logs from the beginning, and settles those that have ended.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.core.job import job_name
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.errors import ConfigError, NotFound, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.trial_document import KEY, Assignment, read_assignment
from smsweep.services.agent_ids import new_agent_id, release_dead_agents
from smsweep.services.backends import backend_name, open_backend
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.create import keep
from smsweep.services.sweeps.load import JobLike, SweepLike, origin_of, read
from smsweep.services.sweeps.search_program import read_code
from smsweep.services.sweeps.snapshot import origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

LEASE_S = 3600.0  # longer than it takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """What was found of a sweep."""

    sweep_id: str
    n_trials: int  # that have a job
    n_lost: int  # of lower number that have none: their params are free again


def recover(
    sweep_id: str,
    sweep: SweepLike,
    *,
    program: str | None = None,
    job: JobLike = None,
    backend: str | None = None,
    name: str | None = None,
    seed: int | None = None,
) -> Recovered:
    """Put a sweep that this store does not have into it, with a trial for each job of it that the backend knows.

    sweep, program, job, name, seed: as when it was created. Done again after it was interrupted, it goes on.
    Raises NotFound where there is no job of it, UsageError where the store has the sweep, ConfigError, JobError.
    """
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    place = backend_name(backend, workspace)
    parsed, parsed_job = read(sweep, job, program=program)
    found = _assignments(sweep_id, place, workspace)
    fixed = parsed_job.template.request.get("HyperParameters", {})
    params = {number: _params(assignment, parsed.config, fixed) for number, assignment in found.items()}
    attempts = {number: assignment.attempt for number, assignment in found.items()}
    with workspace.store(create=True) as store:
        is_new = sweep_id not in {known.id for known in store.list_sweeps()}
        if not is_new and not notes.IS_RECOVERING.get(store, sweep_id) and store.list_trials(sweep_id, since=0):
            raise UsageError(
                f"this store has sweep {sweep_id}; `smsweep agent {sweep_id}` goes on with it, whatever became of "
                "its agents"
            )
    if is_new:
        first = next(iter(found.values()))
        keep(
            workspace,
            parsed,
            parsed_job,
            source=lambda: snapshot(workspace, parsed, parsed_job, origin_of(sweep)),
            origin=lambda: origin(origin_of(sweep) or workspace.dir.parent),
            entity=first.entity,
            project=first.project,
            name=name,
            seed=seed,
            sweep_id=sweep_id,
            code=read_code(parsed.config, parsed_job, origin_of(sweep)),
        )
    with workspace.store() as store, closing(open_backend(place, workspace)) as opened:
        return rebuild(store, sweep_id, params, attempts, opened.place)


def rebuild(
    store: Store, sweep_id: str, params: Mapping[int, Params], attempts: Mapping[int, int], place: str
) -> Recovered:
    """Write the trials of a sweep that has none, or some from an earlier call, and leave them for an agent.

    params, attempts: of each trial that has a job, by its number. place: where those jobs are.
    """
    agent_id = new_agent_id()
    notes.IS_RECOVERING.put(store, sweep_id, True)
    release_dead_agents(store, sweep_id)
    while store.claim(sweep_id, agent_id, place, LEASE_S, abandoned_only=True):
        pass  # of the earlier call
    known = {trial.number: trial for trial in store.list_trials(sweep_id, since=0)}
    for number in range(max(params) + 1):
        trial = known.get(number) or store.add_trials(sweep_id, number, [params.get(number, {})])[0]
        if number in params:
            _bring(store, trial, attempts[number], agent_id, place)
        elif not trial.is_removed:
            store.remove_trial(sweep_id, number)
    store.release(agent_id)
    notes.IS_RECOVERING.put(store, sweep_id, False)
    return Recovered(sweep_id=sweep_id, n_trials=len(params), n_lost=max(params) + 1 - len(params))


def _bring(store: Store, trial: Trial, attempt: int, agent_id: str, place: str) -> None:
    """Have a trial run in an attempt. Of those before it, which are all claimed, none stands in its way."""
    while trial.state is TrialState.PENDING or (trial.state is TrialState.RUNNING and trial.attempt < attempt):
        if trial.state is TrialState.RUNNING:
            trial = store.move(
                trial.sweep_id, trial.number, [TrialState.RUNNING], TrialState.PENDING, agent_id=agent_id
            )
        claimed = store.claim(trial.sweep_id, agent_id, place, LEASE_S)
        if claimed is None or claimed.number != trial.number:
            raise UsageError(f"an agent is at work on {trial.sweep_id}; let it end, then recover the sweep")
        trial = claimed


def _assignments(sweep_id: str, backend: str, workspace: Workspace) -> dict[int, Assignment]:
    """Return what each trial's last job was told to run, by the trial's number. Raises NotFound for none."""
    found: dict[int, Assignment] = {}
    find = backend_spec(backend).find_jobs
    if find is None:
        raise UsageError(f"--backend {backend} cannot tell which jobs there are")
    beginning = job_name(sweep_id, 0, 0).removesuffix("0-0")
    for request in find(beginning, workspace.jobs_dir, workspace.environ):
        name, carried = str(request["TrainingJobName"]), request.get("HyperParameters", {})
        if KEY not in carried:
            continue  # an agent's own job
        try:
            assignment = read_assignment(carried)
        except JobFailure as err:
            log.warning("%s is left out: %s", name, err)
            continue
        if name != job_name(sweep_id, assignment.number, assignment.attempt) or assignment.sweep_id != sweep_id:
            log.warning("%s is left out: it is a job of %s", name, assignment.sweep_id)
            continue
        known = found.get(assignment.number)
        if known is None or known.attempt < assignment.attempt:
            found[assignment.number] = assignment
    if not found:
        raise NotFound(
            f"there is no job of sweep {sweep_id} with --backend {backend}; name the one that it ran with, and "
            "for jobs of this machine set SMSWEEP_DIR to the folder that they are in"
        )
    return found


def _params(assignment: Assignment, config: SweepConfig, fixed: Collection[str]) -> Params:
    """Return a trial's own params, without its template's fixed ones. Raises ConfigError for another sweep's."""
    named: Mapping[str, Any] = config.document.get("parameters", {})
    missing = [name for name in named if name not in assignment.params]
    if missing:
        raise ConfigError(
            f"parameters: trial {assignment.number} has no {', '.join(missing)}; give the config that the sweep "
            "was created with"
        )
    if "search_space" in (config.scheduler or {}):  # a program, which knows more of them
        return {name: value for name, value in assignment.params.items() if name in named or name not in fixed}
    return {name: assignment.params[name] for name in named}
