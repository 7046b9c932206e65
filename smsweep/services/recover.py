"""Recover a sweep whose store was lost from its jobs, whose requests contain their trials.

This writes only which job each trial has. An agent then does what it does with the trials of a killed agent: it
finds the jobs, reads their logs from the beginning, and ends the trials whose jobs have ended.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.core.job import job_name
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import Params, Trial, TrialState
from smsweep.engine.job_request import CONFIRMS_VARIABLE, REPEAT_VARIABLE, read_plain_params
from smsweep.errors import ConfigError, NotFound, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.trial_document import KEY, Assignment, read_assignment
from smsweep.services.agent_ids import new_agent_id, release_dead_agents
from smsweep.services.backends import backend_name, open_backend
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.create import keep
from smsweep.services.sweeps.load import JobLike, SweepLike, origin_of, read
from smsweep.services.sweeps.search_program import read_code, source_dir
from smsweep.services.sweeps.snapshot import origin, snapshot
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

LEASE_S = 3600.0  # longer than a recovery takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """The result of a recovery."""

    sweep_id: str
    n_trials: int  # trials that have a job
    n_lost: int  # trials with lower numbers that have no job; the search can propose their params again


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
    """Create a lost sweep again in this store, with a trial for each of its jobs that the backend knows.

    If a call is interrupted, call again with the same arguments.

    Args:
        sweep_id: Id of the lost sweep.
        sweep: Its config, as when the sweep was created.
        program: Its program, as when the sweep was created.
        job: Its job.yaml, as when the sweep was created.
        backend: Name of the backend that ran the jobs. Default: `SMSWEEP_BACKEND`, then "process".
        name: Its name, as when the sweep was created.
        seed: Its seed, as when the sweep was created.

    Raises:
        NotFound: If there is no job of the sweep.
        UsageError: If the store has the sweep, or an agent runs its trials.
        ConfigError: If a config is invalid, or is not the sweep's.
        JobError: If AWS rejects a request.
    """
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    place = backend_name(backend, workspace)
    parsed, parsed_job = read(sweep, job, program=program)
    assignments, repeats = _assignments(
        sweep_id, place, workspace, parsed.config, runs_image=parsed_job.template.runs_image
    )
    fixed = parsed_job.template.request.get("HyperParameters", {})
    params = {number: _params(assignment, parsed.config, fixed) for number, assignment in assignments.items()}
    attempts = {number: assignment.attempt for number, assignment in assignments.items()}
    with workspace.store(create=True) as store:
        is_new = sweep_id not in {known.id for known in store.list_sweeps()}
        if not is_new and not notes.IS_RECOVERING.get(store, sweep_id) and store.list_trials(sweep_id, since=0):
            raise UsageError(
                f"sweep {sweep_id} is already in this store; continue it with: smsweep agent {sweep_id}"
            )
    if is_new:
        first = next(iter(assignments.values()))
        keep(
            workspace,
            parsed,
            parsed_job,
            source=lambda: snapshot(workspace, parsed, parsed_job, origin_of(sweep)),
            folder=lambda: source_dir(parsed.config, parsed_job, origin_of(sweep)),
            origin=lambda: origin(origin_of(sweep) or workspace.dir.parent),
            entity=first.entity,
            project=first.project,
            name=name,
            seed=seed,
            sweep_id=sweep_id,
            code=read_code(parsed.config, parsed_job, origin_of(sweep)),
        )
    with workspace.store() as store, closing(open_backend(place, workspace)) as opened:
        return rebuild(store, sweep_id, params, attempts, opened.place, repeats)


def rebuild(
    store: Store,
    sweep_id: str,
    params: Mapping[int, Params],
    attempts: Mapping[int, int],
    place: str,
    repeats: Mapping[int, tuple[int, int]] = {},
) -> Recovered:
    """Write the trials of a sweep to the store, so that an agent can continue them.

    Args:
        store: The store.
        sweep_id: Id of a sweep without trials, or with trials of an interrupted recovery.
        params: Params of each trial that has a job, by trial number.
        attempts: Current attempt of each trial that has a job, by trial number.
        place: Place of the jobs.
        repeats: Number of a trial that repeats another one -> the number of that trial, and which repeat it is.

    Raises:
        UsageError: If an agent runs trials of the sweep.
    """
    agent_id = new_agent_id()
    notes.IS_RECOVERING.put(store, sweep_id, True)
    release_dead_agents(store, sweep_id)
    while store.claim(sweep_id, agent_id, place, LEASE_S, abandoned_only=True):
        pass  # trials of an interrupted recovery
    known = {trial.number: trial for trial in store.list_trials(sweep_id, since=0)}
    for number in range(max(params) + 1):
        repeated = [repeats[number]] if number in repeats else []
        trial = (
            known.get(number) or store.add_trials(sweep_id, number, [params.get(number, {})], repeats=repeated)[0]
        )
        if number in params:
            _move_to_attempt(store, trial, attempts[number], agent_id, place)
        elif not trial.is_removed:
            store.remove_trial(sweep_id, number)
    store.release(agent_id)
    notes.IS_RECOVERING.put(store, sweep_id, False)
    return Recovered(sweep_id=sweep_id, n_trials=len(params), n_lost=max(params) + 1 - len(params))


def _move_to_attempt(store: Store, trial: Trial, attempt: int, agent_id: str, place: str) -> None:
    """Move a trial to RUNNING in the given attempt. All trials with lower numbers must be claimed."""
    while trial.state is TrialState.PENDING or (trial.state is TrialState.RUNNING and trial.attempt < attempt):
        if trial.state is TrialState.RUNNING:
            trial = store.move(
                trial.sweep_id, trial.number, [TrialState.RUNNING], TrialState.PENDING, agent_id=agent_id
            )
        claimed = store.claim(trial.sweep_id, agent_id, place, LEASE_S)
        if claimed is None or claimed.number != trial.number:
            raise UsageError(
                f"an agent runs trials of sweep {trial.sweep_id}; stop the agent, then recover the sweep"
            )
        trial = claimed


def _assignments(
    sweep_id: str, backend: str, workspace: Workspace, config: SweepConfig, *, runs_image: bool
) -> tuple[dict[int, Assignment], dict[int, tuple[int, int]]]:
    """Return the assignment of each trial's last job, and the repeats as of `rebuild`, by trial number.

    Raises NotFound if there is no job.
    """
    assignments: dict[int, Assignment] = {}
    repeats: dict[int, tuple[int, int]] = {}
    find = backend_spec(backend).find_jobs
    if find is None:
        raise UsageError(
            f"--backend {backend}: this backend cannot list its jobs; name the backend that ran the sweep"
        )
    prefix = job_name(sweep_id, 0, 0).removesuffix("0-0")
    for request in find(prefix, workspace.jobs_dir, workspace.environ):
        name, carried = str(request["TrainingJobName"]), request.get("HyperParameters", {})
        if (KEY in carried) == runs_image:
            continue  # the job of a detached agent
        try:
            assignment = _of_image(name, sweep_id, carried, config) if runs_image else read_assignment(carried)
        except JobFailure as err:
            log.warning("job %s is skipped: %s", name, err)
            continue
        if name != job_name(sweep_id, assignment.number, assignment.attempt) or assignment.sweep_id != sweep_id:
            log.warning("job %s is skipped: it belongs to sweep %s", name, assignment.sweep_id)
            continue
        known = assignments.get(assignment.number)
        if known is None or known.attempt < assignment.attempt:
            assignments[assignment.number] = assignment
            environment = request.get("Environment", {})
            of, which = (str(environment.get(name, "")) for name in (CONFIRMS_VARIABLE, REPEAT_VARIABLE))
            if of.isdecimal() and which.isdecimal():
                repeats[assignment.number] = int(of), int(which)
    if not assignments:
        raise NotFound(
            f"there is no job of sweep {sweep_id} with --backend {backend}; name the backend that ran it, and "
            "for jobs on this machine set SMSWEEP_DIR to the folder that has them"
        )
    return assignments, repeats


def _of_image(name: str, sweep_id: str, carried: Mapping[str, str], config: SweepConfig) -> Assignment:
    """Return the assignment of a job whose image runs its own program. Raises JobFailure for another job."""
    numbers = re.fullmatch(r"(\d+)-(\d+)", name.removeprefix(job_name(sweep_id, 0, 0).removesuffix("0-0")))
    if numbers is None:
        raise JobFailure("it runs no trial")
    number, attempt = map(int, numbers.groups())
    params = read_plain_params(carried, config.space)
    return Assignment(params=params, sweep_id=sweep_id, number=number, attempt=attempt)


def _params(assignment: Assignment, config: SweepConfig, fixed: Collection[str]) -> Params:
    """Return a trial's params without the fixed ones of the template. Raises ConfigError if a param is missing."""
    named: Mapping[str, Any] = config.document.get("parameters", {})
    lacking = {path[0] for path in config.space.missing(assignment.params)}
    missing = [name for name in named if name not in assignment.params and name in lacking]
    if missing:
        raise ConfigError(
            f"parameters: trial {assignment.number} has no {', '.join(missing)}; give the config that the sweep "
            "was created with"
        )
    if "search_space" in (config.scheduler or {}):  # a search program can add params
        return {name: value for name, value in assignment.params.items() if name in named or name not in fixed}
    return {name: assignment.params[name] for name in named if name in assignment.params}
