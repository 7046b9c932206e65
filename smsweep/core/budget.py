"""Hard limits on the cost of a sweep. The worst case of a trial is reserved before it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from smsweep.core.job import DEFAULT_MAX_RUN_S, JobTemplate, instance_count
from smsweep.core.trial import Trial
from smsweep.errors import ConfigError

NO_LIMIT = 1_000_000  # trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The limit of one resource, in dollars or in seconds of instances."""

    what: str  # usd | instance_s: a key of Trial.usage
    cap: float  # for the whole sweep
    worst: float  # worst case of one trial, at the most expensive place
    worst_at: Mapping[str, float] = field(default_factory=dict)  # name of a place -> worst case of one trial

    def worst_of(self, place_name: str) -> float:
        """Return the worst case of one trial at a place; the largest one if the place is unknown."""
        return self.worst_at.get(place_name, self.worst)

    def fit(self, total: float, place_name: str | None) -> int:
        """Return how many more trials fit beside a total, at a place; None for the cheapest place."""
        if place_name is None:
            worst = min(self.worst_at.values(), default=self.worst)
        else:
            worst = self.worst_of(place_name)
        if worst > 0:
            return min(NO_LIMIT, math.floor((self.cap - total) / worst + 1e-9))
        return NO_LIMIT if total <= self.cap * (1 + 1e-9) else -1

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


def budgets_at(templates: Mapping[str, JobTemplate]) -> list[Budget]:
    """Return the budgets of a sweep that runs at several places, each with its own price.

    Args:
        templates: Name of a place -> its job template. All have the same `budget`.

    Raises:
        ConfigError: As `budgets_of`, for any place.
    """
    by_place: dict[str, list[Budget]] = {}
    for name, template in templates.items():
        try:
            by_place[name] = budgets_of(template)
        except ConfigError as err:
            raise ConfigError(f"place {name}: {err}") from err
    budgets = []
    for of_places in zip(*by_place.values(), strict=True):
        worst_at = {name: budget.worst for name, budget in zip(by_place, of_places, strict=True)}
        budgets.append(replace(of_places[0], worst=max(worst_at.values()), worst_at=worst_at))
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchCost:
    """The cost of trials that a search saves."""

    unit: str  # instance_s | usd: a key of Trial.usage
    horizon: float | None = None  # total cost of the sweep in this unit; None if unlimited
    n_trials: int | None = None  # total number of trials; None if unlimited


def search_cost_of(template: JobTemplate, run_cap: int | None) -> SearchCost | None:
    """Return the cost that the search of a sweep saves; None if it counts trials only.

    Args:
        template: The job template. The budget of the same unit is the horizon.
        run_cap: The maximum number of trials; None for no limit.
    """
    if template.search.cost is None:
        return None
    caps = [cap for cap in (run_cap, template.budget.get("trials")) if cap is not None]
    n_trials = int(min(caps)) if caps else None
    if template.search.cost == "dollars":
        return SearchCost(unit="usd", horizon=template.budget.get("usd"), n_trials=n_trials)
    hours = template.budget.get("hours")
    return SearchCost(unit="instance_s", horizon=None if hours is None else hours * 3600, n_trials=n_trials)


class BudgetTracker:
    """Counts what the trials of a sweep used, and how many more the budgets cover.

    An active trial counts with its worst case, because its final usage is not known yet.

    Args:
        budgets: Limits of the sweep; without any, every number of trials is covered.
        find_worst: Returns the worst case of one trial, by `Budget.what`, at a place of another agent. The mapping
            is empty if the place is unknown.
    """

    def __init__(
        self,
        budgets: Sequence[Budget] = (),
        find_worst: Callable[[str], Mapping[str, float]] = lambda place_name: {},
    ) -> None:
        self._budgets = budgets
        self._find_worst = cache(find_worst)
        self._used: dict[int, tuple[float, ...]] = {}  # trial number -> usage per budget, with worst cases
        self._totals = [0.0] * len(budgets)
        self._reserved: dict[int, tuple[float, ...]] = {}  # active trial -> its worst case per budget

    @property
    def has_limits(self) -> bool:
        return bool(self._budgets)

    def update(self, trials: Iterable[Trial]) -> None:
        """Update the usage of changed trials. The usage of a removed trial stays in the total."""
        for trial in trials if self._budgets else ():
            reserved = tuple(self._worst(b, trial) if trial.state.is_active else 0.0 for b in self._budgets)
            now = tuple(
                trial.usage.get(b.what, 0.0) + worst for b, worst in zip(self._budgets, reserved, strict=True)
            )
            before = self._used.get(trial.number, (0.0,) * len(now))
            self._used[trial.number] = now
            self._totals = [total + new - old for total, new, old in zip(self._totals, now, before, strict=True)]
            if trial.state.is_active:
                self._reserved[trial.number] = reserved
            else:
                self._reserved.pop(trial.number, None)

    def _worst(self, budget: Budget, trial: Trial) -> float:
        if not trial.place_name or trial.place_name in budget.worst_at:
            return budget.worst_of(trial.place_name)
        return self._find_worst(trial.place_name).get(budget.what, budget.worst)

    def n_affordable(self, place_name: str | None = None) -> int:
        """Return how many more trials can be active now. The number is negative if too many are active.

        Args:
            place_name: The place of these trials; None for the cheapest place.
        """
        return self._fit(self._totals, place_name)

    def is_spent(self, n_set_aside: int = 0) -> bool:
        """Return True if the budgets cover no further trial, even if active trials cost nothing more.

        Args:
            n_set_aside: Number of trials of average cost for which the budgets must suffice, too.
        """
        reserved = [sum(worst) for worst in zip(*self._reserved.values(), strict=True)] or [0.0] * len(
            self._budgets
        )
        used = [total - held for total, held in zip(self._totals, reserved, strict=True)]
        n_known = max(len(self._used) - len(self._reserved), 1)
        return self._fit([total + n_set_aside * total / n_known for total in used], None) <= 0

    def _fit(self, totals: Sequence[float], place_name: str | None) -> int:
        counts = (budget.fit(total, place_name) for budget, total in zip(self._budgets, totals, strict=True))
        return min(counts, default=NO_LIMIT)

    def __str__(self) -> str:
        return " and ".join(map(str, self._budgets))
