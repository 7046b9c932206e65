"""What the trials of an agent run, where they run, and under which rules: all decisions at the agent's start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from smsweep.backends.base import Backend
from smsweep.backends.function import FunctionBackend
from smsweep.config_files.code_consent import refuse_code
from smsweep.config_files.config_change import OF_JOB, PARALLEL
from smsweep.core.budget import Budget, BudgetTracker
from smsweep.core.job import JobTemplate, with_search_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.controller import Controller, Rules
from smsweep.engine.places import Place
from smsweep.errors import SourceError, UsageError
from smsweep.search.optuna_study import study_pruner
from smsweep.search.registry import make_strategy
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.agents.in_place import InPlaceSource
from smsweep.services.agents.reuse import make_reuse, reuse_none
from smsweep.services.backends import DEFAULT_BACKEND, backend_name, check_machine, refuse_in_place
from smsweep.services.places import (
    ChosenPlace,
    Guard,
    choose_places,
    note_worst_cases,
    open_backends,
    open_place,
    source_backend,
    with_known_price,
)
from smsweep.services.sweeps.create import read_prior
from smsweep.services.sweeps.function import Requirements, SentFunction, is_inline, send_function
from smsweep.services.sweeps.load import JobLike, check_entrypoint, load_job, warn
from smsweep.services.sweeps.search_program import codes_of, config_of, stored_code
from smsweep.services.sweeps.snapshot import explain_missing_file
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.pack import refuse_upload
from smsweep.stopping.registry import make_rule
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now


@dataclass(frozen=True, kw_only=True)
class AgentSetup:
    """The program or function of an agent's trials, and the places that it serves."""

    store: Store
    sweep: Sweep  # as it is stored; with the hash of the agent's function
    workspace: Workspace
    template: JobTemplate
    places: Sequence[ChosenPlace]
    function: Callable[[], Any] | None = None  # that the agent calls in threads of this process
    sent: SentFunction | None = None  # that jobs call
    folder: InPlaceSource | None = None  # the original source folder, if the trials run in it

    def open_places(self, guard: Guard, opened: ExitStack, on_change: Callable[[Trial], None]) -> list[Place]:
        """Open the backends, and return the places with them.

        Args:
            guard: Wraps each backend.
            opened: Closes the backends.
            on_change: Called with a trial of a function in this process when its function is called.
        """
        if self.function:
            self.workspace.jobs_dir.mkdir(mode=0o700, exist_ok=True)
            place = self.places[0]
            functions = FunctionBackend(
                self.function,
                self.workspace.jobs_dir,
                parallel=place.slots,
                environ=self.workspace.environ,
                on_call=lambda number: on_change(self.store.get_trial(self.sweep.id, number)),
            )
            backends: dict[str, Backend] = {place.name: opened.enter_context(closing(guard(functions)))}
        else:
            backends = open_backends(self.places, guard, opened)
        check = self.folder.check if self.folder else self.sent.record if self.sent else None
        return [open_place(place, backends[place.name], self.sweep, check) for place in self.places]

    def make_controller(self, *, searches: bool) -> Controller:
        """Create the controller of the sweep, with its prior runs. searches: as of `agent`."""
        options: dict[str, Any] = {
            "make_rules": self._rules,
            "prior": read_prior(self.store, self.sweep),
            "repeats": self.template.repeats,
            "confirm": self.template.confirm,
            "searches": searches,
        }
        note = notes.WANDB_SWEEP.get(self.store, self.sweep.id)
        if not note:
            return Controller(self.store, self.sweep, self._rules(self.sweep), **options)
        # The HTTP client is slow to import, and few sweeps are hosted by W&B.
        from smsweep.services.wandb.hosted import make_poll
        from smsweep.wandb_compat.hosted_sweep import HostedController

        poll = make_poll(note, self.workspace)
        return HostedController(
            self.store, self.sweep, self._rules(self.sweep), poll=poll, clock=utc_now, **options
        )

    def _rules(self, sweep: Sweep) -> Rules:
        """Return the rules for the sweep, now and after each change of its config."""
        template = _with_changes(self.template, self.store, sweep)
        places = [
            replace(place, template=replace(place.template, budget=template.budget, stop_if=template.stop_if))
            for place in self.places
        ]
        if template.budget != self.template.budget:
            places = [with_known_price(place, self.store, sweep.id) for place in places]
        made = make_rules(self.store, sweep, template, note_worst_cases(places, self.store, sweep.id))
        return replace(made, parallel=new_parallel(self.store, sweep, self.sweep.config_revision))

    def make_reuse(self, *, is_requested: bool) -> Callable[[Trial], str]:
        """Return the function that finds the results of identical trials. is_requested: `reuse` of `agent`."""
        if self.function:
            return reuse_none
        backends = {place.backend for place in self.places}
        return make_reuse(self.store, self.sweep, backends, self.workspace.bundles_dir, is_requested=is_requested)

    def make_explain(self) -> Callable[[str], str]:
        """Return the function that adds a hint to the failure of a trial whose copy of the source lacks a file."""
        folder = notes.SOURCE_FOLDER.get(self.store, self.sweep.id)
        if self.template.in_place or not folder:
            return lambda reason: reason

        @cache
        def explain(reason: str) -> str:
            try:
                bundle = open_bundle(bundle_path(self.workspace.bundles_dir, self.sweep.source_hash))
            except SourceError:
                return reason
            return explain_missing_file(reason, Path(folder), {member.name for member in bundle.members})

        return explain

    def record_outputs(self) -> None:
        """Record the files that trials wrote into the original source folder."""
        if self.folder:
            with suppress(SourceError):  # the folder was deleted
                self.folder.record_outputs()


def set_up(
    store: Store,
    sweep: Sweep,
    workspace: Workspace,
    *,
    job: JobLike,
    function: Callable[[], Any] | None,
    requirements: Requirements,
    in_place: bool | None,
    on: Sequence[str],
    backend: str | None,
    parallel: int | Literal["auto"],
    gpus_per_trial: float | None,
) -> AgentSetup:
    """Check the arguments of an agent against its sweep and this machine, and pack its function.

    For the arguments after `workspace`, see `agent`.

    Raises:
        UsageError: If an argument is invalid.
        ConfigError: If a config is invalid, or the user has not consented to running the sweep's code.
        SourceError: If the source of a sweep has a secret, and is not for processes of this machine.
        JobRejected: If a backend cannot run the jobs.
    """
    template, has_other_job = _read_template(store, sweep, job, workspace, has_function=function is not None)
    has_places = bool(on or template.places)
    inline = function if is_inline(function, backend, parallel, workspace, has_places=has_places) else None
    sent = None
    if not inline:
        sends_to = backend_name(source_backend(template, workspace, on=on, backend=backend), workspace)
        sent = send_function(store, sweep, function, requirements, sends_to, workspace)
    if sent:
        sweep = replace(sweep, source_hash=sent.hash)
        template = replace(template, in_place=False)
        check_function_arguments(sent, requirements, in_place)
    if not (inline or sweep.source_hash or template.runs_image):
        raise UsageError(f"sweep {sweep.id} names no program; give its agent a function, from Python")
    template = with_search_of(template, sweep.job)  # trial numbers depend on it
    template = _with_changes(template, store, sweep)
    if in_place is not None and in_place != template.in_place:
        template, has_other_job = replace(template, in_place=in_place), True
    if has_other_job:
        notes.HAS_OTHER_JOB.put(store, sweep.id, True)
    places = choose_places(
        template,
        workspace,
        on=on,
        backend=DEFAULT_BACKEND if inline else backend,
        parallel=parallel,
        gpus_per_trial=gpus_per_trial,
        has_function=inline is not None,
    )
    folder = None
    if sent:
        places = [replace(place, template=sent.placed(place.template, place.backend)) for place in places]
    if template.in_place and not inline:
        refuse_in_place(template, places[0].backend)
        folder = InPlaceSource(store, sweep, workspace)
        places = [replace(place, template=folder.placed(place.template)) for place in places]
    if any(place.backend != DEFAULT_BACKEND for place in places):
        refuse_upload(workspace.bundles_dir, sweep.source_hash)
    if not (inline or _has_active_trials(store, sweep.id)):
        for place in places:
            check_machine(place.template, place.backend, place.workspace.environ, pulls=True)
    if sent:
        for place in places:
            sent.check_environment(place.template, place.backend, place.workspace)
    return AgentSetup(
        store=store,
        sweep=sweep,
        workspace=workspace,
        template=template,
        places=[with_known_price(place, store, sweep.id) for place in places],
        function=inline,
        sent=sent,
        folder=folder,
    )


def _read_template(
    store: Store, sweep: Sweep, job: JobLike, workspace: Workspace, *, has_function: bool
) -> tuple[JobTemplate, bool]:
    """Return the job template of an agent, and True if it is not the sweep's own."""
    parsed = load_job(job) if job else None
    template = parsed.template if parsed else sweep.job
    refuse_code(codes_of(sweep.config, stored_code(store, sweep), template), workspace.environ)
    if parsed:
        warn(parsed.warnings)
        refuse_secrets(scan_text("job config", parsed.text, known_secrets(workspace.environ, template)))
    check_entrypoint(sweep.config, template)
    if has_function and template.runs_image:
        raise UsageError(
            "entrypoint: image in job.yaml runs the image's own program instead of a function; remove one of "
            "the two, or give the estimator to the agent, not to the sweep"
        )
    return template, parsed is not None and parsed.text != sweep.job_yaml


def _with_changes(template: JobTemplate, store: Store, sweep: Sweep) -> JobTemplate:
    """Return the job template of an agent with the settings that `smsweep set` changed in the sweep's job.yaml."""
    if sweep.config_revision == 1:
        return template
    changed = {key.partition(".")[0] for revision in store.list_revisions(sweep.id) for key in revision.changes}
    return replace(template, **{key: getattr(sweep.job, key) for key in OF_JOB if key in changed})


def _has_active_trials(store: Store, sweep_id: str) -> bool:
    """Return True if an agent can have jobs to take over, for which it waits until their backend answers."""
    return any(state.is_active and count for state, count in store.count_trials(sweep_id).items())


def new_parallel(store: Store, sweep: Sweep, since: int) -> tuple[int, int] | None:
    """Return the last revision after another one that sets `parallel`, and its value; None if there is none."""
    if sweep.config_revision <= since:
        return None
    revisions = [each for each in store.list_revisions(sweep.id)[since:] if PARALLEL in each.changes]
    return (revisions[-1].number, revisions[-1].changes[PARALLEL]) if revisions else None


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


def check_function_arguments(function: object, requirements: object, in_place: bool | None) -> None:
    """Raise UsageError for an argument that does not fit the function, or its absence."""
    if in_place and function is not None:
        raise UsageError("in_place: a function has no source folder to run in; remove in_place")
    if requirements is not None and function is None:
        raise UsageError(
            "requirements: only jobs of a function install them; write requirements.txt into the source folder"
        )
