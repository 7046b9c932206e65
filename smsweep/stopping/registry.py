"""The stopping rules of a sweep: `stop_if`, and the built-in rules and plug-ins of `early_terminate.type`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smsweep.core.condition import parse_condition
from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.stopping.base import PromotingRule, StoppingRule
from smsweep.util.plugins import PluginRegistry, check_needs, resolve

if TYPE_CHECKING:
    from pydantic import BaseModel

NEEDS = ("metric", "space", "options")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingSpec:
    """The definition of one stopping rule.

    A plug-in provides one through the entry-point group `smsweep.stopping_rules`.

    Attributes:
        name: The value of `early_terminate.type`.
        summary: One line that describes the rule.
        factory: Returns a `StoppingRule`, or the place of such a callable, written `package.module:name`. It
            receives the values that `needs` lists as keyword arguments.
        needs: Arguments of the factory: `metric` (the sweep's `Metric`; a sweep without one is refused), `space`
            (its `SearchSpace`), `options` (an instance of the options model).
        options: A frozen pydantic model of the keys beside `type`, or its place; None if there are none.
    """

    name: str
    summary: str
    factory: Callable[..., StoppingRule] | str
    needs: Sequence[str] = ("metric",)
    options: type[BaseModel] | str | None = None

    def __post_init__(self) -> None:
        check_needs(self, NEEDS)

    @property
    def model(self) -> type[BaseModel] | None:
        """The options model, imported."""
        return resolve(self.options)


# W&B has only hyperband.
RULES = PluginRegistry(
    "smsweep.stopping_rules",
    StoppingSpec,
    {
        spec.name: spec
        for spec in (
            StoppingSpec(
                name="hyperband",
                summary="stops the trials that are not among the best 1/eta at a check, as W&B does",
                factory="smsweep.stopping.successive_halving:Hyperband",
                needs=("metric", "options"),
                options="smsweep.stopping.base:HyperbandOptions",
            ),
            StoppingSpec(
                name="asha",
                summary="asynchronous successive halving",
                factory="smsweep.stopping.successive_halving:Asha",
                needs=("metric", "options"),
                options="smsweep.stopping.base:AshaOptions",
            ),
            StoppingSpec(
                name="median",
                summary="stops a trial whose best value is worse than the median of the other trials' averages",
                factory="smsweep.stopping.median:MedianRule",
                needs=("metric", "options"),
                options="smsweep.stopping.base:MedianOptions",
            ),
            StoppingSpec(
                name="forecast",
                summary="stops a trial that is forecast to end outside the best fifth",
                factory="smsweep.stopping.forecast:ForecastRule",
                needs=("metric", "space", "options"),
                options="smsweep.stopping.base:ForecastOptions",
            ),
        )
    },
)


class StopIf:
    """Stops a running trial as soon as one of the conditions holds; the first of them is the reason.

    Args:
        conditions: Texts such as `loss is nan` or `loss > 10 after 3`.

    Raises:
        ConfigError: A text is not a valid condition.
    """

    def __init__(self, conditions: Iterable[str]) -> None:
        self._conditions = [parse_condition(text) for text in conditions]
        self._history: History | None = None

    def judge(self, history: History) -> list[StopDecision]:
        if history is not self._history:
            self._history = history
            self._cursor = 0
            self._decisions: dict[int, StopDecision] = {}
        changed, self._cursor = history.since(self._cursor)
        for number in changed:
            self._decisions.pop(number, None)
            trial = history.get(number)
            if trial is not None and trial.state is TrialState.RUNNING:
                self._check(trial)
        return [self._decisions[number] for number in sorted(self._decisions)]

    def _check(self, trial: Trial) -> None:
        for condition in self._conditions:
            if condition.holds(trial):
                stats = trial.metrics[condition.metric]
                self._decisions[trial.number] = StopDecision(
                    number=trial.number,
                    evidence={
                        "rule": "stop_if",
                        "condition": condition.text,
                        "metric": condition.metric,
                        "value": stats.last,
                    },
                    reason=(
                        f"stop_if: {condition.text}: its {condition.metric} is {stats.last:.12g} "
                        f"after {stats.count} finite values"
                    ),
                )
                return


class AnyOf:
    """Stops each trial that any of the rules stops; the first of them gives the reason."""

    def __init__(self, rules: Sequence[StoppingRule]) -> None:
        self._rules = rules

    def judge(self, history: History) -> list[StopDecision]:
        decisions: dict[int, StopDecision] = {}
        for rule in self._rules:
            for decision in rule.judge(history):
                decisions.setdefault(decision.number, decision)
        return [decisions[number] for number in sorted(decisions)]

    @property
    def promotes(self) -> bool:
        """True if one of the rules pauses trials."""
        return any(isinstance(rule, PromotingRule) and rule.promotes for rule in self._rules)

    def promotable(self, history: History) -> list[int]:
        """Return the numbers of the paused trials to resume now."""
        rules = (rule for rule in self._rules if isinstance(rule, PromotingRule))
        return [number for rule in rules for number in rule.promotable(history)]


def make_rule(
    config: SweepConfig, stop_if: Sequence[str] = (), of_search: StoppingRule | None = None
) -> StoppingRule | None:
    """Return the rule that stops this sweep's trials early.

    Args:
        config: The sweep; its `early_terminate` selects a rule.
        stop_if: The conditions of `stop_if` in job.yaml. They are checked first.
        of_search: The rule of the search itself; None if it has none.

    Returns:
        The rule, or None if there is no rule.

    Raises:
        ConfigError: The rule is unknown, or the config lacks a value that the rule needs.
        UsageError: The plug-in that provides the rule is broken.
    """
    rules: list[StoppingRule] = [StopIf(stop_if)] if stop_if else []
    if config.early_terminate is not None:
        name = config.early_terminate.type
        if name not in RULES:
            raise ConfigError(
                f"early_terminate.type: the stopping rule {name!r} is not installed; "
                "install the plug-in that provides it"
            )
        rules.append(build_rule(RULES[name], config))
    if of_search is not None:
        rules.append(of_search)
    return AnyOf(rules) if rules else None


def build_rule(spec: StoppingSpec, config: SweepConfig) -> StoppingRule:
    """Return the rule of a spec for a sweep with `early_terminate`. `make_rule` documents the errors."""
    if "metric" in spec.needs and config.metric is None:
        raise ConfigError(f"early_terminate: {spec.name} compares trials by the sweep's metric; add `metric`")
    values: dict[str, Any] = {"metric": config.metric, "space": config.space, "options": None}
    if spec.model is not None:
        from smsweep.util.sections import read_options  # pydantic is slow to import

        options = config.early_terminate.options if config.early_terminate is not None else {}
        values["options"] = read_options(spec.model, options, "early_terminate")
    rule: StoppingRule = RULES.create(spec.name, spec.factory, **{need: values[need] for need in spec.needs})
    return rule if spec.name in RULES.builtin else PluginRule(spec.name, rule)


class PluginRule:
    """The rule of a plug-in. If it raises an exception, the error names the distribution."""

    def __init__(self, name: str, rule: StoppingRule) -> None:
        self._name = name
        self._rule = rule

    def judge(self, history: History) -> list[StopDecision]:
        with RULES.guard(self._name, "judge"):
            return self._rule.judge(history)
