"""Choose the places of an agent from `--on`, `--backend` and `places` in job.yaml, and open their backends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from smsweep.backends.base import Backend
from smsweep.backends.registry import BACKENDS, FREE, backend_names, backend_spec, is_local
from smsweep.config_files.document import Problems
from smsweep.config_files.job_yaml import ParsedJob, at_place, parse_job
from smsweep.core.budget import Budget, budgets_at, budgets_of
from smsweep.core.job import LOCAL, JobTemplate, PlaceSpec, Price, TrainingJobRequest, parse_place, with_search_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.places import Place
from smsweep.errors import ConfigError, UsageError
from smsweep.services.backends import (
    AUTO,
    backend_name,
    names_checkpoints_in_s3,
    open_backend,
    renderer,
    with_price,
    with_trial_resources,
)
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

Guard = Callable[[Backend], Backend]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenPlace:
    """A place that an agent serves, before its backend is opened."""

    name: str  # "" for an agent with one backend
    backend: str
    slots: int
    template: JobTemplate  # of the jobs at this place
    workspace: Workspace  # with the environment of this place, such as its region
    group: str = ""  # places of one group share their slots
    give_up_s: float | None = None  # see PlaceSpec


def choose_places(
    template: JobTemplate,
    workspace: Workspace,
    *,
    on: Sequence[str] = (),
    backend: str | None = None,
    parallel: int | str = 1,
    gpus_per_trial: float | None = None,
    has_function: bool = False,
) -> list[ChosenPlace]:
    """Return the places of an agent, in the order of preference.

    Args:
        template: The job template of the sweep.
        workspace: The workspace.
        on: Values of `--on`: names of places in job.yaml, or backends. Empty for all places in job.yaml.
        backend: Value of `--backend`: the only backend, even if job.yaml has places.
        parallel: Slots of a place that has no number of slots; "auto" for as many as fit this machine, and one on
            other machines.
        gpus_per_trial: GPUs of each trial on this machine; None for those of the template.
        has_function: The trials are calls of a function in this process.

    Raises:
        UsageError: If a place or a backend does not exist, or the options cannot be combined.
        ConfigError: If the job is not valid at a place.
        JobRejected: If no trial fits this machine.
    """
    if isinstance(on, str):
        on = [on]
    if on and backend:
        raise UsageError(f"--on: cannot be combined with --backend {backend}; use --on {backend}")
    if backend or not (on or template.places):
        name = backend_name(backend, workspace)
        template, n_slots = with_trial_resources(
            template,
            name,
            workspace.environ,
            gpus_per_trial=gpus_per_trial,
            parallel=parallel,
            has_function=has_function,
        )
        return [ChosenPlace(name="", backend=name, slots=n_slots, template=template, workspace=workspace)]
    specs = _specs(template, on)
    chosen = [
        place
        for spec in specs
        for place in _alternatives(spec, template, workspace, parallel=parallel, gpus_per_trial=gpus_per_trial)
    ]
    if template.in_place and any(place.backend != "process" for place in chosen):
        others = ", ".join(place.name for place in chosen if place.backend != "process")
        raise UsageError(
            f"in_place: only processes of this machine run in the original folder, and {others} runs a copy; "
            "add --no-in-place, or remove in_place from job.yaml; name data under `inputs:`"
        )
    return chosen


def source_backend(
    template: JobTemplate, workspace: Workspace, *, on: Sequence[str] = (), backend: str | None = None
) -> str | None:
    """Return the backend that decides whether the source of a sweep is sent: a remote one if any place has one."""
    if backend or not (on or template.places):
        return backend
    backends = [place.backend for place in choose_places(template, workspace, on=on)]
    return next((name for name in backends if name != "process"), "process")


def _specs(template: JobTemplate, on: Iterable[str]) -> list[PlaceSpec]:
    named = {spec.name: spec for spec in template.places}
    specs = []
    for text in on:
        try:
            spec = parse_place(text)
        except UsageError as err:
            raise UsageError(f"--on: {err}") from None
        known = named.get(spec.name)
        specs.append(replace(known, slots=spec.slots or known.slots) if known else spec)
    specs = specs or list(template.places)
    for spec in specs:
        if problem := _problem_of(spec, None if spec.name in named else named):
            raise UsageError(f"{'job.yaml: places:' if spec.name in named else '--on'} {spec.name}: {problem}")
    names_of = [spec.name for spec in specs]
    for name in names_of:
        if names_of.count(name) > 1:
            raise UsageError(f"--on {name}: given twice; add up the slots, or name the places in job.yaml")
    spot = {spec.backend for spec in specs if spec.overlay.get("use_spot_instances")}
    return [
        replace(spec, overlay={"use_spot_instances": False, **spec.overlay}) if spec.backend in spot else spec
        for spec in specs
    ]


def check_place_backends(job: ParsedJob) -> None:
    """Raise ConfigError, with lines, if a place of a job.yaml has an unknown backend or an impossible market."""
    if job.source is None:
        return
    problems = Problems(job.source)
    for index, spec in enumerate(job.template.places):
        if problem := _problem_of(spec):
            problems.add(("places", index), problem)
    problems.raise_errors()


def _problem_of(spec: PlaceSpec, places: Collection[str] | None = None) -> str:
    """Return what is wrong with the backend of a place; "" if it is valid.

    Args:
        spec: The place.
        places: Names of the places in job.yaml. None if `spec` is one of these places.
    """
    if spec.backend not in BACKENDS:
        names = {LOCAL, *backend_names(), *(places or ())} - {"process"}
        what = f"there is no backend {spec.backend}"
        if places is not None:
            what = "no such backend, and job.yaml has no such place"
        return f"{what}; use one of {', '.join(sorted(names))}"
    first, _, market = spec.name.partition(":")
    if market and spec.backend in FREE:
        return f"{first} has no spot or on-demand capacity; write {first}"
    return ""


def _alternatives(
    spec: PlaceSpec,
    template: JobTemplate,
    workspace: Workspace,
    *,
    parallel: int | str,
    gpus_per_trial: float | None,
) -> Iterator[ChosenPlace]:
    """Yield a place, then its further instance types and regions. With `give_up_after`, on-demand follows spot."""
    is_spot = spec.overlay.get("use_spot_instances", template.document.get("use_spot_instances"))
    markets: list[dict[str, Any]] = [{}]
    if is_spot and spec.give_up_s is not None:
        markets = [{"use_spot_instances": True}, {"use_spot_instances": False}]
    options = product(spec.regions or ("",), spec.instance_types or ("",), markets)
    for index, (region, instance_type, market) in enumerate(options):
        overlay = {**spec.overlay, **market, **({"instance_type": instance_type} if instance_type else {})}
        placed, n_slots = template_at(template, spec.backend, overlay), spec.slots or parallel
        if is_local(spec.backend):
            placed, n_slots = with_trial_resources(
                placed, spec.backend, workspace.environ, gpus_per_trial=gpus_per_trial, parallel=n_slots
            )
        at_region = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}
        yield ChosenPlace(
            name=spec.name if index == 0 else f"{spec.name}/{index + 1}",
            backend=spec.backend,
            slots=1 if n_slots == AUTO else int(n_slots),
            template=placed,
            workspace=Workspace({**workspace.environ, **at_region}) if at_region else workspace,
            group=spec.name,
            give_up_s=spec.give_up_s,
        )


def template_at(template: JobTemplate, backend: str, overlay: Mapping[str, Any]) -> JobTemplate:
    """Return the job template at a place, with its price.

    Args:
        template: The job template of the sweep.
        backend: The backend of the place.
        overlay: The keys of job.yaml that differ at the place.

    Raises:
        ConfigError: If the job is not valid at the place.
    """
    placed = parse_job(at_place(template.document, overlay)).template
    placed = replace(with_search_of(placed, template), in_place=template.in_place, places=())
    if backend_spec(backend).ask_price is not None:
        return placed
    if overlay.get("price_per_hour") == "aws":
        raise ConfigError(
            f"job.yaml: places: price_per_hour: AWS has no price for backend {backend}; write dollars"
        )
    if "price_per_hour" not in overlay:
        has_prices = placed.price is not None or placed.asks_price or "usd" in placed.budget
        return replace(placed, price=Price(per_hour=0.0) if has_prices else None, asks_price=False)  # it is free
    return placed


def with_known_price(place: ChosenPlace, store: Store, sweep_id: str) -> ChosenPlace:
    template = with_price(place.template, place.backend, store, sweep_id, place.workspace.environ, utc_now())
    return replace(place, template=template)


def note_worst_cases(chosen: Sequence[ChosenPlace], store: Store, sweep_id: str) -> list[Budget]:
    """Return the budgets of a sweep, and store the worst case at each named place for agents of other places."""
    budgets = budgets_at({place.name: place.template for place in chosen})
    for name in (place.name for place in chosen if place.name and budgets):
        worst = {budget.what: budget.worst_of(name) for budget in budgets}
        if notes.worst_case_at(name).get(store, sweep_id) != worst:
            notes.worst_case_at(name).put(store, sweep_id, worst)
    return budgets


def open_backends(chosen: Iterable[ChosenPlace], guard: Guard, opened: ExitStack) -> dict[str, Backend]:
    """Open the backends. Places with the same backend and environment share a client."""
    backends: dict[str, Backend] = {}
    clients: dict[tuple[str, int], Backend] = {}
    for place in chosen:
        key = (place.backend, id(place.workspace))
        if key not in clients:
            clients[key] = opened.enter_context(closing(guard(open_backend(place.backend, place.workspace))))
        backends[place.name] = clients[key]
    return backends


def open_place(
    place: ChosenPlace, backend: Backend, stored: Sweep, check: Callable[[Trial], None] | None
) -> Place:
    render = renderer(place.template, stored, place.workspace, place.backend, upload=True)
    return Place(
        backend=backend,
        render=_with_check(render, check),
        checkpoints=lambda trial: str(render(trial).get("CheckpointConfig", {}).get("S3Uri", "")),
        name=place.name,
        slots=place.slots,
        group=place.group,
        price=place.template.price,
        give_up_s=place.give_up_s,
        reads_s3=backend_spec(place.backend).reads_s3,
        shares_checkpoints=backend_spec(place.backend).reads_s3 and names_checkpoints_in_s3(place.template),
    )


def _with_check(
    render: Callable[[Trial], TrainingJobRequest], check: Callable[[Trial], None] | None
) -> Callable[[Trial], TrainingJobRequest]:
    if check is None:
        return render

    def checked(trial: Trial) -> TrainingJobRequest:
        check(trial)
        return render(trial)

    return checked


def check_budgets(template: JobTemplate) -> None:
    """Check that the budgets cover a trial at each place. A price of AWS is not asked.

    Raises:
        ConfigError: If a place has no price and a budget in dollars, or a budget does not cover one trial.
    """
    specs = [spec for spec in template.places if spec.backend in BACKENDS]
    placed = {spec.name: template_at(template, spec.backend, spec.overlay) for spec in specs} or {"": template}
    for name, each in placed.items():
        caps = {what: cap for what, cap in each.budget.items() if what != "usd" or not each.asks_price}
        try:
            budgets_of(replace(each, budget=caps))
        except ConfigError as err:
            raise ConfigError(f"place {name}: {err}") if name else err from None
