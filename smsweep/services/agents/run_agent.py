"""Run an agent on a sweep, or on a new sweep: open the store and the backend, handle signals, close everything."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from smsweep.backends.base import Backend
from smsweep.core.trial import Trial
from smsweep.engine.agent import Agent
from smsweep.engine.agent_state import AgentOptions, AgentResult, HandOver, ShutdownLevel
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.metric_parser import MetricParser
from smsweep.errors import UsageError
from smsweep.remote.record import own_job, read_records
from smsweep.secrets.redact import make_redact
from smsweep.services.agent_ids import is_alive, new_agent_id, release_dead_agents
from smsweep.services.agents.mlflow_tracker import tracking
from smsweep.services.agents.notifier import make_notifier
from smsweep.services.agents.setup import check_function_arguments, set_up
from smsweep.services.backends import (
    AUTO,
    DEFAULT_BACKEND,
    check_machine,
    with_trial_resources,
)
from smsweep.services.labels import full_label, parse_sweep_id
from smsweep.services.places import (
    Guard,
    choose_places,
)
from smsweep.services.signals import TERMINATED, handling
from smsweep.services.sweeps.create import sweep, with_source
from smsweep.services.sweeps.function import Requirements, check_function, is_inline
from smsweep.services.sweeps.load import (
    JobLike,
    SweepLike,
    compile_estimator,
    load_job,
    load_sweep,
)
from smsweep.services.sweeps.plan import preflight
from smsweep.services.workspace import Workspace, read_stored
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
    check_function_arguments(function, requirements, in_place)
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
            has_code = bool(function or stored.source_hash)
            job = compiled.document if has_code else compiled.document_for(stored.config)
            backend = backend if on else compiled.chosen_backend(backend, workspace.environ)
            stored = stored if function else with_source(stored, compiled, workspace)
        setup = set_up(
            store,
            stored,
            workspace,
            job=job,
            function=function,
            requirements=requirements,
            in_place=in_place,
            on=on,
            backend=backend,
            parallel=parallel,
            gpus_per_trial=gpus_per_trial,
        )
        template = setup.template
        redact = make_redact(workspace.environ, template)
        notifier = make_notifier(store, setup.sweep, template, notify, workspace.environ)
        changed = notifier.watching(on_change)
        with ExitStack() as opened:
            opened.enter_context(tracking(workspace, setup.sweep, template))
            places = setup.open_places(guard, opened, changed)
            terminated = threading.Event()
            worker = Agent(
                store,
                places,
                setup.make_controller(searches=searches),
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
                reuse=setup.make_reuse(is_requested=reuse),
                redact=redact,
                explain=setup.make_explain(),
                is_alive=is_alive,
            )
            release_dead_agents(store, sweep_id)
            notifier.report_missed_failure()
            try:
                showing = _notebook_progress(sweep_id) if is_kernel() else nullcontext()
                with listening(worker, terminated=terminated if hands_over else None), showing:
                    return worker.run()
            finally:
                notifier.finish()
                setup.record_outputs()


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
    function, parallel = agent_options.get("function"), agent_options.get("parallel", 1)
    if compiled and function:
        compiled = replace(compiled, texts=None)  # the function runs, not the image's own program
    described = compiled.document_for(load_sweep(config).config, program) if compiled else job
    template = load_job(described).template
    backend, on = agent_options.get("backend"), agent_options.get("on") or ()
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
            job=described,
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
