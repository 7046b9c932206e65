"""Plan a sweep: check it as `run` does, and show its first or next trials. Runs and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.core.job import JobTemplate, TrainingJobRequest, image_command
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import History, Params, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.notify.hooks import HookLike, collect_hooks
from smsweep.runtime.job import command_macros, function_call
from smsweep.runtime.job.sm_variables import NODE_RANK
from smsweep.search.registry import expected_trial_count, make_strategy
from smsweep.secrets.redact import make_redact
from smsweep.services.backends import (
    check_machine,
    check_prepared,
    renderer,
)
from smsweep.services.labels import parse_sweep_id
from smsweep.services.places import choose_places, source_backend
from smsweep.services.sweeps import create
from smsweep.services.sweeps.create import checked_seed
from smsweep.services.sweeps.load import (
    JobLike,
    SweepLike,
    load_job,
    load_sweep,
    needs_program,
    origin_of,
    read,
    with_options,
)
from smsweep.services.sweeps.search_program import config_of, read_code, with_code
from smsweep.services.sweeps.snapshot import CheckedSource, check_source
from smsweep.services.workspace import Workspace
from smsweep.store import notes

JSON_FILE = "$WANDB_DIR/wandb/sweep-<sweep id>/config-<run id>.json"  # unknown until a trial runs
FIRST_NODE = {NODE_RANK: "0"}  # a plan shows the command of the first host
NO_ID = "00000000"  # placeholder for the id of a sweep that does not exist yet


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """A trial that the search proposes next."""

    number: int
    params: Params
    argv: tuple[str, ...]  # the command that the job will execute without a shell, secrets masked
    request: TrainingJobRequest | None = None  # the request to the backend; None if `plan` got no job or backend


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The next trials of a sweep, and warnings."""

    method: str
    expected_trial_count: int | None  # None: unlimited
    trials: tuple[PlannedTrial, ...]
    warnings: tuple[str, ...]
    rules: tuple[str, ...] = ()  # the conditions and constraints of the params
    function: str | None = None  # name of the function that was sent, "" if none was; None for a program


def plan(
    config: SweepLike,
    *,
    job: JobLike = None,
    n: int = 5,
    seed: int = 0,
    environ: Mapping[str, str] | None = None,
    backend: str | None = None,
    on: Sequence[str] = (),
    program: str | None = None,
    source: CheckedSource | None = None,
) -> Plan:
    """Return the first trials of a sweep that does not exist yet, and warnings.

    Args:
        config: The sweep config.
        job: Path or content of a job.yaml. With a job or a backend, each trial includes its request, under the
            sweep id `NO_ID`.
        n: Maximum number of trials.
        seed: Random seed for the search. Create the sweep with the same seed to get the same trials.
        environ: Variables for `${envvar:NAME}` in the command. Default: none.
        backend: Name of the backend of the requests. Default: `SMSWEEP_BACKEND`, then "process".
        on: Places, as for `agent`. The requests are those of the first place.
        program: Script that runs instead of the config's `program`.
        source: The checked source. Default: check the source if the requests need its hash.

    Raises:
        ConfigError: If a config is invalid.
        JobError: If the backend cannot run the jobs.
    """
    parsed, parsed_job = read(config, job, program=program, is_quiet=True)
    sweep_config = parsed.config
    code = read_code(sweep_config, parsed_job, origin_of(config))
    strategy = make_strategy(with_code(sweep_config, code), checked_seed(seed), parsed_job.template)
    expected = expected_trial_count(sweep_config, parsed_job.template)
    suggested = strategy.suggest(History(), n if expected is None else min(n, expected))
    trials = [Trial(sweep_id=NO_ID, number=number, params=params) for number, params in enumerate(suggested)]
    requests: list[TrainingJobRequest] = []
    if job is not None or backend is not None or on:
        planned = Sweep(
            id=NO_ID,
            config=sweep_config,
            job=parsed_job.template,
            name=sweep_config.name or "",
            source_hash=(
                source
                or check_source(
                    Workspace(),
                    parsed,
                    parsed_job,
                    origin_of(config),
                    backend=source_backend(parsed_job.template, Workspace(), on=on, backend=backend),
                )
            ).hash,
        )
        requests = _requests(planned, parsed_job.template, trials, backend, on)
    return Plan(
        method=sweep_config.method,
        rules=_rules(parsed_job.template),
        expected_trial_count=expected,
        trials=tuple(_planned(sweep_config, parsed_job.template, trials, requests, environ or {})),
        warnings=(
            *parsed.warnings,
            *parsed_job.warnings,
            *(source.warnings if source else ()),
            *(
                command_macros.warnings(
                    sweep_config.command_with(parsed_job.template.command),
                    sweep_config.program,
                    environ=None if environ is None else {**FIRST_NODE, **environ},
                )
                if not parsed_job.template.runs_image
                else ()
            ),
        ),
    )


def plan_sweep(
    sweep_id: str,
    *,
    n: int = 5,
    environ: Mapping[str, str] | None = None,
    backend: str | None = None,
    on: Sequence[str] = (),
) -> Plan:
    """Return the next trials of an existing sweep, each with the request that an agent will send.

    Args:
        sweep_id: Id of the sweep.
        n: Maximum number of trials: pending trials first, then new ones.
        environ: Variables for `${envvar:NAME}` in the command. Default: none.
        backend: Name of the backend. Default: `SMSWEEP_BACKEND`, then "process".
        on: Places, as for `agent`. The requests are those of the first place.

    Raises:
        NotFound: If there is no such sweep.
        JobError: If the backend cannot run the jobs.
    """
    with Workspace().store() as store:
        stored = store.get_sweep(parse_sweep_id(sweep_id))
        history = History(store.list_trials(stored.id))
        sent = notes.FUNCTION.get(store, stored.id)
        searched = config_of(store, stored)
    pending = [trial for trial in history if trial.state is TrialState.PENDING][:n]
    strategy = make_strategy(searched, stored.seed, stored.job)
    suggested = strategy.suggest(history, n - len(pending)) if n > len(pending) else []
    proposed = [
        Trial(sweep_id=stored.id, number=history.next_number + i, params=params)
        for i, params in enumerate(suggested)
    ]
    trials = [*pending, *proposed]
    template = stored.job
    requests = _requests(stored, template, trials, backend, on)
    return Plan(
        method=stored.config.method,
        rules=_rules(stored.job),
        expected_trial_count=expected_trial_count(stored.config, stored.job),
        trials=tuple(_planned(stored.config, template, trials, requests, environ or {})),
        warnings=(),
        function=sent.get("name", "") if needs_program(stored.config, stored.job) else None,
    )


def _rules(template: JobTemplate) -> tuple[str, ...]:
    return (*map(str, template.search.conditions), *template.search.constraints)


def _requests(
    stored: Sweep, template: JobTemplate, trials: Iterable[Trial], backend: str | None, on: Sequence[str]
) -> list[TrainingJobRequest]:
    place = choose_places(template, Workspace(), on=on, backend=backend)[0]
    render = renderer(place.template, stored, place.workspace, place.backend, upload=False)
    check_machine(place.template, place.backend, place.workspace.environ, pulls=False)
    return [render(trial) for trial in trials]


def _planned(
    config: SweepConfig,
    template: JobTemplate,
    trials: list[Trial],
    requests: list[TrainingJobRequest],
    environ: Mapping[str, str],
) -> Iterable[PlannedTrial]:
    redact = make_redact(environ)  # masks secrets that `${envvar:NAME}` inserts
    for index, trial in enumerate(trials):
        argv: list[Any] = (
            image_command(template)
            if template.runs_image
            else [command_macros.INTERPRETER, "-m", function_call.MODULE]
            if needs_program(config, template)
            else command_macros.expand(
                config.command_with(template.command),
                config.program,
                trial.params,
                environ={**FIRST_NODE, **environ},
                json_file=JSON_FILE,
            )
        )
        yield PlannedTrial(
            number=trial.number,
            params=trial.params,
            argv=tuple(redact(str(item)) for item in argv),
            request=requests[index] if requests else None,
        )


def preflight(
    sweep: SweepLike,
    *,
    program: str | None = None,
    job: JobLike = None,
    backend: str | None = None,
    on: Sequence[str] = (),
    in_place: bool | None = None,
    notify: Iterable[HookLike] = (),
    gpus_per_trial: float | None = None,
    parallel: int | str = 1,
    pulls: bool = False,
) -> None:
    """Check everything that an agent checks before its first trial. Create and upload nothing.

    Args:
        sweep: The sweep config.
        program: Script that runs instead of the config's `program`.
        job: Path or content of a job.yaml.
        backend: Name of the backend. Default: `SMSWEEP_BACKEND`, then "process".
        on: Places, as for `agent`.
        in_place: Run processes in the original source folder. Default: `in_place` of job.yaml.
        notify: Webhooks and commands, as for `agent`.
        gpus_per_trial: GPUs of each trial, as for `agent`.
        parallel: Number of trials that run in parallel, as for `agent`.
        pulls: Pull the image of the jobs to this machine, if the backend runs them here and it is missing.

    Raises:
        ConfigError: If a config is invalid.
        UsageError: If the sweep has no program, the backend is unknown, or an entry of `notify` is invalid.
        JobError: If the backend cannot run the jobs, or this machine is not set up for the backend.
    """
    config = load_sweep(sweep).config
    template = with_options(load_job(job), in_place=in_place).template
    if not program:
        check_program(config, template)
    check_backend(
        config,
        template,
        backend,
        notify,
        on=on,
        gpus_per_trial=gpus_per_trial,
        parallel=parallel,
        pulls=pulls,
    )


def check_program(config: SweepConfig, template: JobTemplate) -> None:
    """Raise UsageError if a sweep needs a program and names none."""
    if needs_program(config, template):
        raise UsageError(
            "the sweep names no program; add `program: train.py` to its YAML, or give --program "
            "(a Python function runs by smsweep.agent; `entrypoint: image` in job.yaml runs the image's own "
            "program)"
        )


def check_backend(
    config: SweepConfig,
    template: JobTemplate,
    backend: str | None = None,
    notify: Iterable[HookLike] = (),
    *,
    on: Sequence[str] = (),
    gpus_per_trial: float | None = None,
    parallel: int | str = 1,
    pulls: bool = False,
) -> None:
    """Check the backend of a sweep that does not exist yet. For the arguments and exceptions, see `preflight`."""
    workspace = Workspace()
    collect_hooks(notify, workspace.environ)
    places = choose_places(
        template, workspace, on=on, backend=backend, parallel=parallel, gpus_per_trial=gpus_per_trial
    )
    for place in places:
        sweep = Sweep(id=NO_ID, config=config, job=place.template)
        check_prepared(place.template, sweep, place.workspace, place.backend)
        backend_spec(place.backend).check_settings(place.template, place.workspace.environ)
        check_machine(place.template, place.backend, place.workspace.environ, pulls=pulls)


def check_run(
    sweep: SweepLike,
    *,
    prior_runs: Iterable[str | Path] = (),
    program: str | None = None,
    job: JobLike = None,
    seed: int | None = None,
    backend: str | None = None,
    on: Sequence[str] = (),
    notify: Iterable[HookLike] = (),
) -> CheckedSource:
    """Check everything that `run` checks before its first trial. Create and upload nothing.

    For the arguments and the exceptions, see `run`.
    """
    preflight(sweep, program=program, job=job, backend=backend, on=on, notify=notify)
    return create.check(sweep, prior_runs=prior_runs, program=program, job=job, seed=seed, backend=backend, on=on)
