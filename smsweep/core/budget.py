"""Hard limits on the cost of a sweep. The worst case of a trial is reserved before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from smsweep.core.job import DEFAULT_MAX_RUN_S, JobTemplate, instance_count
from smsweep.core.trial import Trial
from smsweep.errors import ConfigError

NO_LIMIT = 1_000_000  # trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The limit of one resource, in dollars or in seconds of instances."""

    what: str  # usd | instance_s: a key of Trial.usage
    cap: float  # for the whole sweep
    worst: float  # worst case of one trial

    def __str__(self) -> str:
        return f"${self.cap:g}" if self.what == "usd" else f"{self.cap / 3600:g} hours"


def budgets_of(template: JobTemplate) -> list[Budget]:
    """Return the budgets of a job template.

    The worst case of a trial is `max_run` on every instance, plus the time that a warm pool is kept.

    Args:
        template: A job template. Its `budget` can have the keys `usd` (dollars) and `hours` (instance hours).

    Returns:
        One budget for each of the two keys that the template has.

    Raises:
        ConfigError: If `usd` is set but the price is unknown, or if a budget does not cover one trial.
    """
    caps, n_instances, limit_s = template.budget, _n_instances(template), max_run_s(template)
    worst_s = worst_instance_s(template)
    budgets = []
    if "hours" in caps:
        budgets.append(Budget(what="instance_s", cap=caps["hours"] * 3600, worst=worst_s))
    if "usd" in caps:
        if template.price is None:
            raise ConfigError(
                "budget.usd: needs price_per_hour beside it: dollars for one instance, or aws for AWS's own list"
            )
        budgets.append(Budget(what="usd", cap=caps["usd"], worst=worst_s * template.price.per_hour / 3600))
    for budget in budgets:
        if budget.worst > budget.cap:
            worst = f"${budget.worst:.2f}" if budget.what == "usd" else f"{budget.worst / 3600:g} hours"
            raise ConfigError(
                f"budget: {budget} do not cover one trial, which may take {worst} "
                f"({n_instances} x max_run {limit_s:,} s); lower max_run, or raise the budget"
            )
    return budgets


def worst_instance_s(template: JobTemplate) -> float:
    """Return the instance seconds that one trial can use at most, including its warm pool."""
    kept_s = template.request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0)
    return float(_n_instances(template) * (max_run_s(template) + kept_s))


def _n_instances(template: JobTemplate) -> int:
    return instance_count(template.request.get("ResourceConfig", {}))


def max_run_s(template: JobTemplate) -> int:
    """Return the maximum run time of a job in seconds."""
    return int(template.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUN_S))


class BudgetTracker:
    """Counts what the trials of a sweep used, and how many more the budgets cover.

    An active trial counts with its worst case, because its final usage is not known yet.

    Args:
        budgets: Limits of the sweep; without any, every number of trials is covered.
    """

    def __init__(self, budgets: Sequence[Budget] = ()) -> None:
        self._budgets = budgets
        self._used: dict[int, tuple[float, ...]] = {}  # trial number -> usage per budget, with worst cases
        self._totals = [0.0] * len(budgets)
        self._active: set[int] = set()  # numbers of the trials whose worst case is reserved

    @property
    def has_limits(self) -> bool:
        return bool(self._budgets)

    def update(self, trials: Iterable[Trial]) -> None:
        """Update the usage of changed trials. The usage of a removed trial stays in the total."""
        for trial in trials if self._budgets else ():
            now = tuple(trial.usage.get(b.what, 0.0) + b.worst * trial.state.is_active for b in self._budgets)
            before = self._used.get(trial.number, (0.0,) * len(now))
            self._used[trial.number] = now
            self._totals = [total + new - old for total, new, old in zip(self._totals, now, before, strict=True)]
            (self._active.add if trial.state.is_active else self._active.discard)(trial.number)

    def n_affordable(self) -> int:
        """Return how many more trials can be active now. The number is negative if too many are active."""
        return self._fit(self._totals)

    def is_spent(self) -> bool:
        """Return True if the budgets cover no further trial, even if active trials cost nothing more."""
        used = zip(self._budgets, self._totals, strict=True)
        return self._fit([total - budget.worst * len(self._active) for budget, total in used]) <= 0

    def _fit(self, totals: Sequence[float]) -> int:
        counts = [
            math.floor((budget.cap - total) / budget.worst + 1e-9)
            for budget, total in zip(self._budgets, totals, strict=True)
        ]
        return min(counts, default=NO_LIMIT)

    def __str__(self) -> str:
        return " and ".join(map(str, self._budgets))
