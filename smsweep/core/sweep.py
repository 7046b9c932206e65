"""A sweep: its config, which never changes once created, and its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from smsweep.core.job import JobTemplate
from smsweep.space.space import SearchSpace

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


class SweepState(str, Enum):
    """W&B's words."""

    RUNNING = "running"
    PAUSED = "paused"  # no new trials; resume leads back
    STOPPED = "stopped"  # no new trials, running ones may end
    CANCELLED = "cancelled"  # no new trials, running ones are killed
    FINISHED = "finished"  # used up, capped, or target reached, and nothing active

    @property
    def takes_trials(self) -> bool:
        return self is SweepState.RUNNING


# verb -> (states it is legal from, state it leads to). Resume is legal from any, as in W&B.
VERBS: Mapping[str, tuple[frozenset[SweepState], SweepState]] = {
    "pause": (frozenset({SweepState.RUNNING, SweepState.PAUSED}), SweepState.PAUSED),
    "resume": (frozenset(SweepState), SweepState.RUNNING),
    "stop": (frozenset({SweepState.RUNNING, SweepState.PAUSED, SweepState.STOPPED}), SweepState.STOPPED),
    "cancel": (
        frozenset({SweepState.RUNNING, SweepState.PAUSED, SweepState.STOPPED, SweepState.CANCELLED}),
        SweepState.CANCELLED,
    ),
}


class Goal(str, Enum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """Multiply a value by it and lower is better."""
        return 1 if self is Goal.MINIMIZE else -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    name: str  # as logged; nested metrics flattened with dots
    goal: Goal = Goal.MINIMIZE
    target: float | None = None  # no new trials once one is at least this good
    impute: str = "worst"  # latest | best | worst: what a failed trial counts as in the search
    impute_while_running: str = "false"  # latest | best | worst | false: what a running trial counts as


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyTerminate:
    """The `early_terminate` section; which keys mean something depends on the type."""

    type: str  # a key of stopping.RULES
    min_iter: int | None = None  # points of the metric before the first band
    max_iter: int | None = None  # points of a whole training; with s, the bands are counted down from it
    s: int | None = None  # number of bands below max_iter
    eta: float = 3.0  # keep the best 1/eta at each band
    strict: bool = True  # compare the value at the band, not the best so far
    min_trials: int | None = None  # others to compare with before the median rule judges


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """A validated W&B sweep config."""

    method: str  # a key of search.METHODS
    space: SearchSpace  # what `parameters` says
    metric: Metric | None = None
    metrics: tuple[Metric, ...] = ()  # two or more, only for method custom
    early_terminate: EarlyTerminate | None = None
    run_cap: int | None = None  # trials over all agents
    program: str | None = None
    command: tuple[str, ...] = DEFAULT_COMMAND
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    scheduler: Mapping[str, Any] | None = None
    document: Mapping[str, Any] = field(default_factory=dict)  # as the user wrote it, numbers read

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """What trials are compared by: one metric, several, or none."""
        return (self.metric,) if self.metric is not None else self.metrics

    def command_with(self, launch: tuple[str, ...]) -> tuple[str, ...]:
        """Return how a trial is started: the sweep's own words, else the launch that its job asks for.

        launch: a command; () where the job asks for none.
        """
        return self.command if "command" in self.document or not launch else launch


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """A sweep as stored. A snapshot: the store holds the truth."""

    id: str  # 8 characters of [a-z0-9]
    config: SweepConfig
    job: JobTemplate = field(default_factory=JobTemplate)  # parsed from job_yaml
    state: SweepState = SweepState.RUNNING
    seed: int = 0  # all chance in the search follows from it and from the trials' numbers
    name: str = ""  # what lists show
    project: str = ""  # "" when none was named
    entity: str = ""
    sweep_yaml: str = ""  # the config as YAML text
    job_yaml: str = ""  # the job config as YAML text; "" without one
    source_hash: str = ""  # of the source bundle; "" for a sweep of a Python function
    code_hash: str = ""  # sha256:HEX of the program that scheduler.source names; "" without one
    prior_runs: tuple[str, ...] = ()  # labels of earlier trials that inform the search
    created_at: datetime | None = None  # aware UTC
    revision: int = 0  # grows with every change to the sweep or one of its trials
