"""Run an agent on a sweep, or on a new sweep: open the store and the backend, handle signals, close everything."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from smsweep.backends.base import Backend
from smsweep.backends.function import FunctionBackend
from smsweep.config_files.code_consent import refuse_code
from smsweep.config_files.config_change import OF_JOB, PARALLEL
from smsweep.core.budget import Budget, BudgetTracker
from smsweep.core.job import JobTemplate, with_search_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions, AgentResult, HandOver, ShutdownLevel
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.metric_parser import MetricParser
from smsweep.errors import SourceError, UsageError
from smsweep.remote.record import own_job, read_records
from smsweep.search.optuna_study import study_pruner
from smsweep.search.registry import make_strategy
from smsweep.secrets.redact import known_secrets, make_redact
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.agent_ids import is_alive, new_agent_id, release_dead_agents
from smsweep.services.agents.in_place import InPlaceSource
from smsweep.services.agents.mlflow_tracker import tracking
from smsweep.services.agents.notifier import make_notifier
from smsweep.services.agents.reuse import make_reuse, reuse_none
from smsweep.services.backends import (
    AUTO,
    DEFAULT_BACKEND,
    backend_name,
    check_machine,
    refuse_in_place,
    with_trial_resources,
)
from smsweep.services.labels import full_label, parse_sweep_id
from smsweep.services.places import (
    Guard,
    choose_places,
    note_worst_cases,
    open_backends,
    open_place,
    source_backend,
    with_known_price,
)
from smsweep.services.signals import TERMINATED, handling
from smsweep.services.sweeps.create import read_prior, sweep, with_source
from smsweep.services.sweeps.function import Requirements, check_function, is_inline, send_function
from smsweep.services.sweeps.load import (
    JobLike,
    SweepLike,
    check_entrypoint,
    compile_estimator,
    load_job,
    load_sweep,
    warn,
)
from smsweep.services.sweeps.plan import preflight
from smsweep.services.sweeps.search_program import codes_of, config_of, stored_code
from smsweep.services.sweeps.snapshot import explain_missing_file
from smsweep.services.workspace import Workspace, read_stored
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.pack import refuse_upload
from smsweep.stopping.registry import make_rule
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now
from smsweep.util.terminal_text import is_kernel

log = logging.getLogger(__name__)

Listener = Callable[[Trial], None]


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    *,
    parallel: int | Literal["auto"] = 1,
    gpus_per_trial: float | None = None,
    backend: str | None = None,
    on: Iterable[str] = (),
    requirements: Requirements = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    max_consecutive_failed_runs: int | None = None,
    term_timeout: float | None = None,
    forward_signals: bool = False,
    reuse: bool = False,
    in_place: bool | None = None,
    notify: Iterable[str | Mapping[str, Any]] = (),
    until: Iterable[int] | None = None,
    searches: bool = True,
    on_change: Listener = lambda trial: None,
) -> AgentResult:
    """Run trials of a sweep until no trial is left, and return how they ended.

    The first Ctrl-C lets running trials finish, the second stops them, and the third kills them. SIGTERM queues
    them again. In a notebook, progress is shown below the cell.

    Args:
        sweep_id: Id or name of the sweep.
        function: Function without arguments to call for each trial. In it, `smsweep.init()` and `wandb.init()`
            return the trial's params. Default: run the sweep's program, or the function that was sent last.
        entity: Ignored; for compatibility with W&B.
        project: Ignored; for compatibility with W&B.
        count: Maximum number of trials to start. Default: no limit.
        parallel: Number of trials that run in parallel. "auto" runs as many as fit this machine; then each gets
            one GPU if the machine has GPUs and `gpus_per_trial` is not given.
        gpus_per_trial: GPUs for each trial alone, or a fraction below 1 of a GPU that trials share. Default:
            `resources_per_trial` of job.yaml.
        backend: Name of the backend. Default: `SMSWEEP_BACKEND`, then the estimator's, then "process". For a
            function, "inline" calls the function in threads of this process, which is the default with
            `parallel=1` and without places.
        on: Places instead of a backend, in the order of preference, each with its number of slots: names of places
            in job.yaml, or backends such as "local", "slurm:8" and "sagemaker:spot:16". Default: all places in
            job.yaml.
        requirements: Packages that the jobs of a function install: a requirements.txt, a list of its lines, or
            "auto" for the packages that the function imports, at their versions in this environment. Processes
            install nothing; their environment must have the packages. Default: none.
        job: Path or content of a job.yaml. Default: the sweep's own.
        estimator: An Estimator or a ModelTrainer of the SageMaker SDK, instead of `job`.
        inputs: Inputs of the estimator, as its `fit` or `train` accepts them.
        max_consecutive_failed_runs: Number of consecutive failures after which the agent stops.
        term_timeout: Seconds from SIGTERM to SIGKILL when a script on this machine is stopped. Default: 120.
        forward_signals: Ignored; for compatibility with W&B.
        reuse: Copy the results of identical trials of earlier sweeps instead of running them again.
        in_place: Run processes in the original source folder instead of a copy. Default: `in_place` of job.yaml.
        notify: Webhooks and commands to notify of the sweep's end and its first failure, in addition to those of
            job.yaml. Each is a value of `--notify` or an entry of `notify:` in a job.yaml.
        until: Numbers of trials. The agent adds no trials, and returns once these trials have ended.
        searches: False to add no trials of the search, only repeats that `smsweep confirm` asked for.
        on_change: Called with each trial whose state or metrics changed.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If an argument is invalid.
        ConfigError: If a config is invalid, or the user has not consented to running the sweep's code.
        JobError: If the backend cannot run the jobs.
    """
    _check_function(function, requirements, in_place)
    _check(
        function,
        count=count,
        parallel=1 if parallel == AUTO else parallel,
        max_consecutive_failed_runs=max_consecutive_failed_runs,
    )
    # A sweep id is unique in a store, and scripts always get a second Ctrl-C.
    del entity, project, forward_signals
    workspace = Workspace()
    on = [on] if isinstance(on, str) else list(on)
    compiled = compile_estimator(estimator, inputs, job)
    sweep_id = parse_sweep_id(full_label(sweep_id))
    agent_id = new_agent_id()
    with _open_sweep_store(workspace, sweep_id, agent_id) as (store, guard, hands_over):
        stored = store.get_sweep(sweep_id)
        if compiled:
            job = compiled.document
            backend = backend if on else compiled.chosen_backend(backend, workspace.environ)
            stored = stored if function else with_source(stored, compiled, workspace)
        parsed_job = load_job(job) if job else None
        template = parsed_job.template if parsed_job else stored.job
        refuse_code(codes_of(stored.config, stored_code(store, stored), template), workspace.environ)
        if parsed_job:
            warn(parsed_job.warnings)
            refuse_secrets(scan_text("job config", parsed_job.text, known_secrets(workspace.environ, template)))
        check_entrypoint(stored.config, template)
        if function and template.runs_image:
            raise UsageError(
                "entrypoint: image in job.yaml runs the image's own program instead of a function; remove one of "
                "the two"
            )
        has_places = bool(on or template.places)
        inline = function if is_inline(function, backend, parallel, workspace, has_places=has_places) else None
        sent = None
        if not inline:
            sends_to = backend_name(source_backend(template, workspace, on=on, backend=backend), workspace)
            sent = send_function(store, stored, function, requirements, sends_to, workspace)
        if sent:
            stored = replace(stored, source_hash=sent.hash)
            template = replace(template, in_place=False)
            _check_function(sent, requirements, in_place)
        if not (inline or stored.source_hash or template.runs_image):
            raise UsageError(f"sweep {stored.id} names no program; give its agent a function, from Python")
        if parsed_job and parsed_job.text != stored.job_yaml:
            notes.HAS_OTHER_JOB.put(store, stored.id, True)
        template = with_search_of(template, stored.job)  # trial numbers depend on it
        template = _with_changes(template, store, stored)
        if in_place is not None and in_place != template.in_place:
            template = replace(template, in_place=in_place)
            notes.HAS_OTHER_JOB.put(store, stored.id, True)
        chosen = choose_places(
            template,
            workspace,
            on=on,
            backend=DEFAULT_BACKEND if inline else backend,
            parallel=parallel,
            gpus_per_trial=gpus_per_trial,
            has_function=inline is not None,
        )
        original = None
        if sent:
            chosen = [replace(place, template=sent.placed(place.template, place.backend)) for place in chosen]
        if template.in_place and not inline:
            refuse_in_place(template, chosen[0].backend)
            original = InPlaceSource(store, stored, workspace)
            chosen = [replace(place, template=original.placed(place.template)) for place in chosen]
        if any(place.backend != DEFAULT_BACKEND for place in chosen):
            refuse_upload(workspace.bundles_dir, stored.source_hash)
        if not (inline or _has_active_trials(store, stored.id)):
            for place in chosen:
                check_machine(place.template, place.backend, place.workspace.environ, pulls=True)
        if sent:
            for place in chosen:
                sent.check_environment(place.template, place.backend, place.workspace)
        chosen = [with_known_price(place, store, stored.id) for place in chosen]

        def rules(sweep: Sweep) -> Rules:
            changed = _with_changes(template, store, sweep)
            placed = [
                replace(place, template=replace(place.template, budget=changed.budget, stop_if=changed.stop_if))
                for place in chosen
            ]
            if changed.budget != template.budget:
                placed = [with_known_price(place, store, sweep.id) for place in placed]
            made = make_rules(store, sweep, changed, note_worst_cases(placed, store, sweep.id))
            return replace(made, parallel=new_parallel(store, sweep, stored.config_revision))

        redact = make_redact(workspace.environ, template)
        notifier = make_notifier(store, stored, template, notify, workspace.environ)
        changed = notifier.watching(on_change)
        with ExitStack() as opened:
            opened.enter_context(tracking(workspace, stored, template))
            if inline:
                workspace.jobs_dir.mkdir(mode=0o700, exist_ok=True)
                functions = FunctionBackend(
                    inline,
                    workspace.jobs_dir,
                    parallel=chosen[0].slots,
                    environ=workspace.environ,
                    on_call=lambda number: changed(store.get_trial(stored.id, number)),
                )
                backends: dict[str, Backend] = {chosen[0].name: opened.enter_context(closing(guard(functions)))}
            else:
                backends = open_backends(chosen, guard, opened)
            check = original.check if original else sent.record if sent else None
            places = [open_place(place, backends[place.name], stored, check) for place in chosen]
            terminated = threading.Event()
            worker = Agent(
                store,
                places,
                make_controller(store, stored, template, rules, searches=searches),
                MetricParser(template.metric_definitions, redact),
                agent_id=agent_id,
                options=AgentOptions(
                    count=count,
                    until=None if until is None else frozenset(until),
                    retries=template.retries,
                    grace_s=term_timeout,
                ),
                flapping=FailureLimit.from_environ(workspace.environ, utc_now(), max_consecutive_failed_runs),
                clock=utc_now,
                sleep=_make_sleep([place.backend for place in places], terminated),
                on_change=changed,
                reuse=reuse_none
                if inline
                else make_reuse(
                    store, stored, {place.backend for place in chosen}, workspace.bundles_dir, is_requested=reuse
                ),
                redact=redact,
                explain=_make_explain(store, stored, template, workspace),
                is_alive=is_alive,
            )
            release_dead_agents(store, stored.id)
            notifier.report_missed_failure()
            try:
                showing = _notebook_progress(stored.id) if is_kernel() else nullcontext()
                with listening(worker, terminated=terminated if hands_over else None), showing:
                    return worker.run()
            finally:
                notifier.finish()
                if original:
                    with suppress(SourceError):  # the folder was deleted
                        original.record_outputs()


def _make_explain(
    store: Store, stored: Sweep, template: JobTemplate, workspace: Workspace
) -> Callable[[str], str]:
    """Return the function that adds a hint to the failure of a trial whose copy of the source lacks a file."""
    folder = notes.SOURCE_FOLDER.get(store, stored.id)
    if template.in_place or not folder:
        return lambda reason: reason

    @cache
    def explain(reason: str) -> str:
        try:
            members = open_bundle(bundle_path(workspace.bundles_dir, stored.source_hash)).members
        except SourceError:
            return reason
        return explain_missing_file(reason, Path(folder), {member.name for member in members})

    return explain


def _has_active_trials(store: Store, sweep_id: str) -> bool:
    """Return True if an agent can have jobs to take over, for which it waits until their backend answers."""
    return any(state.is_active and count for state, count in store.count_trials(sweep_id).items())


def _notebook_progress(sweep_id: str) -> AbstractContextManager[None]:
    # Imported by name, because only notebooks need this module.
    display: AbstractContextManager[None] = import_module("smsweep.services.views.notebook_html").progress(
        sweep_id
    )
    return display


@contextmanager
def _open_sweep_store(workspace: Workspace, sweep_id: str, agent_id: str) -> Iterator[tuple[Store, Guard, bool]]:
    """Open the store of a sweep, which is local or in S3.

    Yields:
        The store, the function that wraps the backend, and True if the jobs of a terminated agent continue.
    """
    workspace.make()
    workspace.check_contents()
    record = read_records(workspace.dir).get(sweep_id)
    if record is not None and record.uri:
        from smsweep.remote.agent_job.session import agent_session  # boto3 is slow to import

        with agent_session(workspace.dir, workspace.environ, read_stored, sweep_id, agent_id, utc_now) as session:
            yield session.store, session.guard, True
        return
    workspace.wait_for_store()
    with workspace.store() as store:
        try:
            yield store, lambda backend: backend, bool(own_job(workspace.environ))
        finally:
            if own_job(workspace.environ):
                store.release(agent_id)  # so that the next agent does not wait for the leases to expire


def _make_sleep(backends: Sequence[Backend], terminated: threading.Event) -> Callable[[float], None]:
    """Return a function that waits for the backends. It raises HandOver once `terminated` is set."""
    different = list(dict.fromkeys(backends))

    def sleep(timeout_s: float) -> None:
        if terminated.is_set():
            raise HandOver(TERMINATED)
        for backend in different:
            backend.wait(timeout_s / len(different))

    return sleep


def _with_changes(template: JobTemplate, store: Store, sweep: Sweep) -> JobTemplate:
    """Return the job template of an agent with the settings that `smsweep set` changed in the sweep's job.yaml."""
    if sweep.config_revision == 1:
        return template
    changed = {key.partition(".")[0] for revision in store.list_revisions(sweep.id) for key in revision.changes}
    return replace(template, **{key: getattr(sweep.job, key) for key in OF_JOB if key in changed})


def new_parallel(store: Store, sweep: Sweep, since: int) -> int | None:
    """Return the last value of `parallel` that was set after a revision; None if there is none."""
    if sweep.config_revision <= since:
        return None
    values = [
        each.changes[PARALLEL] for each in store.list_revisions(sweep.id)[since:] if PARALLEL in each.changes
    ]
    return values[-1] if values else None


def make_rules(store: Store, sweep: Sweep, template: JobTemplate, budgets: Sequence[Budget]) -> Rules:
    """Return the search, the stopping rule and the limits for the current config of a sweep."""
    cap = template.budget.get("trials")
    config = config_of(store, sweep)
    return Rules(
        strategy=make_strategy(config, sweep.seed, template),
        stopping=make_rule(config, template.stop_if, study_pruner(config, sweep.seed, template.repeats)),
        trial_cap=None if cap is None else int(cap),
        budget=BudgetTracker(budgets, lambda name: notes.worst_case_at(name).get(store, sweep.id)),
    )


def make_controller(
    store: Store, stored: Sweep, template: JobTemplate, rules: Callable[[Sweep], Rules], *, searches: bool = True
) -> Controller:
    """Create the controller of a stored sweep, with its prior runs.

    Args:
        store: The store that has the sweep.
        stored: The sweep.
        template: The job template of the agent.
        rules: Returns the rules for the sweep, now and after each change of its config.
        searches: As of `agent`.
    """
    options: dict[str, Any] = {
        "make_rules": rules,
        "prior": read_prior(store, stored),
        "repeats": template.repeats,
        "confirm": template.confirm,
        "searches": searches,
    }
    note = notes.WANDB_SWEEP.get(store, stored.id)
    if not note:
        return Controller(store, stored, rules(stored), **options)
    # The HTTP client is slow to import, and few sweeps are hosted by W&B.
    from smsweep.services.wandb.hosted import make_poll
    from smsweep.wandb_compat.hosted_sweep import HostedController

    poll = make_poll(note, Workspace())
    return HostedController(store, stored, rules(stored), poll=poll, clock=utc_now, **options)


def _check(function: object, **counts: int | None) -> None:
    """Raise UsageError for an invalid function or number."""
    if function is not None and not callable(function):
        raise UsageError(f"function: expected a function without arguments, got {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        name = getattr(function, "__name__", "it")
        raise UsageError(
            f"function: {name} is async or a generator, and calling it runs nothing; "
            "wrap it, for example: lambda: asyncio.run(train())"
        )
    if function is not None:
        with suppress(ValueError):  # some functions of C have no signature
            try:
                inspect.signature(function).bind()
            except TypeError as err:
                name = getattr(function, "__name__", "it")
                raise UsageError(
                    f"function: {name} cannot be called without arguments: {err}; pass values with "
                    "functools.partial, and read the params from smsweep.init().config"
                ) from None
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
            raise UsageError(f"{name}: expected a whole number above 0, got {value!r}")


def _check_function(function: object, requirements: object, in_place: bool | None) -> None:
    """Raise UsageError for an argument that does not fit the function, or its absence."""
    if in_place and function is not None:
        raise UsageError("in_place: a function has no source folder to run in; remove in_place")
    if requirements is not None and function is None:
        raise UsageError(
            "requirements: only jobs of a function install them; write requirements.txt into the source folder"
        )


@contextmanager
def listening(worker: Agent, *, terminated: threading.Event | None = None) -> Iterator[None]:
    """Shut down the agent at Ctrl-C and SIGTERM. In a thread other than the main thread, do nothing.

    Args:
        worker: The agent.
        terminated: If given, SIGTERM only sets this event, because the agent's jobs continue without it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        message = {
            ShutdownLevel.DRAIN: "finishing running trials; Ctrl-C again stops them",
            ShutdownLevel.STOP: "stopping running trials; Ctrl-C again kills them",
            ShutdownLevel.KILL: "killing running trials",
        }[worker.leave()]
        log.warning("%s", message)

    def on_terminate(number: int, frame: FrameType | None) -> None:
        if terminated is not None:
            terminated.set()
            log.warning("SIGTERM: running jobs continue, and the next agent takes them over")
            return
        worker.leave(ShutdownLevel.STOP, machine_goes=True)
        log.warning("SIGTERM: running trials are stopped and queued again")

    with handling({signal.SIGINT: on_interrupt, signal.SIGTERM: on_terminate}):
        yield


def run(
    config: SweepLike,
    *,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Iterable[str | Path] | str | Path | None = None,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    seed: int | None = None,
    reuse: bool = False,
    in_place: bool | None = None,
    on_created: Callable[[str], None] = lambda sweep_id: None,
    **agent_options: Any,
) -> AgentResult:
    """Create a sweep and run an agent on it. If a check fails, nothing is created.

    Args:
        config: The sweep config, as for `sweep`.
        entity: W&B entity.
        project: W&B project.
        prior_runs: Trials, sweeps or CSV files whose results inform the search.
        name: Name of the sweep.
        program: Script that runs instead of the config's `program`.
        job: Path or content of a job.yaml.
        estimator: An Estimator or a ModelTrainer of the SageMaker SDK, instead of `job`.
        inputs: Inputs of the estimator.
        seed: Random seed for the search. Default: random.
        reuse: Copy the results of identical trials of earlier sweeps instead of running them again.
        in_place: Run processes in the original source folder instead of a copy. Default: `in_place` of job.yaml.
        on_created: Called with the id of the new sweep.
        agent_options: Arguments of `agent`.

    Returns:
        How the trials ended.

    Raises:
        ConfigError: If a config is invalid.
        SourceError: If the source cannot be packed.
        UsageError: If an argument is invalid.
        JobError: If the backend cannot run the jobs.
    """
    compiled = compile_estimator(estimator, inputs, job)
    template = load_job(compiled.document if compiled else job).template
    backend, on = agent_options.get("backend"), agent_options.get("on") or ()
    function, parallel = agent_options.get("function"), agent_options.get("parallel", 1)
    _check(
        function,
        count=agent_options.get("count"),
        parallel=1 if parallel == AUTO else parallel,
        max_consecutive_failed_runs=agent_options.get("max_consecutive_failed_runs"),
    )
    if compiled and not on:
        backend = compiled.chosen_backend(backend, os.environ)
    workspace, counts = Workspace(), {"gpus_per_trial": agent_options.get("gpus_per_trial"), "parallel": parallel}
    inline = is_inline(function, backend, parallel, workspace, has_places=bool(on or template.places))
    if inline:
        template, _ = with_trial_resources(template, DEFAULT_BACKEND, os.environ, has_function=True, **counts)
        check_machine(template, DEFAULT_BACKEND, os.environ, pulls=False)
    else:
        preflight(
            config,
            program="function" if function else program or (compiled.program if compiled else None),
            job=compiled.document if compiled else job,
            backend=backend,
            on=on,
            in_place=in_place,
            notify=agent_options.get("notify") or (),
            pulls=True,
            **counts,
        )
    if function is not None and not inline:
        places = choose_places(template, workspace, on=on, backend=backend, **counts)
        check_function(load_sweep(config).config, function, agent_options.get("requirements"), places)
    sweep_id = sweep(
        config,
        entity,
        project,
        prior_runs,
        name=name,
        program=program,
        job=job,
        estimator=compiled,
        seed=seed,
        reuse=reuse,
        in_place=in_place,
        backend=None if inline else backend,
        on=on,
    )
    on_created(sweep_id)
    return agent(sweep_id, estimator=compiled, **agent_options)
