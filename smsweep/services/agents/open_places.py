"""Open the chosen places of an agent: their backends, prices and worst cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from smsweep.backends.base import Backend
from smsweep.backends.registry import backend_spec
from smsweep.core.budget import Budget, budgets_at
from smsweep.core.job import TrainingJobRequest
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.places import Place
from smsweep.services.backends import names_checkpoints_in_s3, open_backend, renderer, with_price
from smsweep.services.places import ChosenPlace
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

Guard = Callable[[Backend], Backend]


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
