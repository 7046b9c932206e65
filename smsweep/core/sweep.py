"""A sweep: the revisions of its config, and its state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.space.space import SearchSpace

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")


class SweepState(str, Enum):
    """The state of a sweep, with W&B's names."""

    RUNNING = "running"
    PAUSED = "paused"  # no new trials until it is resumed
    STOPPED = "stopped"  # no new trials; running trials finish
    CANCELLED = "cancelled"  # no new trials; running trials get SIGTERM, and SIGKILL after the grace period
    FINISHED = "finished"  # nothing is left to try and no trial is active

    @property
    def takes_trials(self) -> bool:
        """True if trials can be added."""
        return self is SweepState.RUNNING


# command -> (states in which it is valid, next state). As in W&B, resume is valid in every state.
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
    """The direction in which a metric improves."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """1 or -1. Of values multiplied by it, a lower value is better."""
        return 1 if self is Goal.MINIMIZE else -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric of the sweep config."""

    name: str  # as logged; nested names are joined by dots
    goal: Goal = Goal.MINIMIZE
    target: float | None = None  # no new trials after a trial is at least this good
    impute: str = "worst"  # latest | best | worst: the value of a failed trial in the search
    impute_while_running: str = "false"  # latest | best | worst | false: the value of a running trial


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyTerminate:
    """The `early_terminate` section."""

    type: str  # the name of a stopping rule
    options: Mapping[str, Any] = field(default_factory=dict)  # the other keys, as far as the user set them

    @property
    def promotes(self) -> bool:
        """True if the rule pauses trials and resumes the promoted ones, which need checkpoints."""
        return bool(self.options.get("promote"))


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """A validated W&B sweep config."""

    method: str  # grid, random, bayes, custom or the name of a plug-in's search method
    space: SearchSpace  # what `parameters` says
    metric: Metric | None = None
    metrics: tuple[Metric, ...] = ()  # two or more, only for method custom
    method_options: Mapping[str, Any] = field(default_factory=dict)  # of a plug-in's search method
    early_terminate: EarlyTerminate | None = None
    run_cap: int | None = None  # maximum number of trials of all agents
    program: str | None = None
    command: tuple[str, ...] = DEFAULT_COMMAND
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    scheduler: Mapping[str, Any] | None = None
    document: Mapping[str, Any] = field(default_factory=dict)  # sweep.yaml as plain data

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """The metrics by which trials are compared: one, several, or none."""
        return (self.metric,) if self.metric is not None else self.metrics

    def command_with(self, launch: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that starts a trial.

        Args:
            launch: The command of the job template; () without one.

        Returns:
            The sweep's own command if it has one, else `launch`, else the default command.
        """
        return self.command if "command" in self.document or not launch else launch


def with_structure(config: SweepConfig, settings: SearchSettings) -> SweepConfig:
    """Return a config whose space has the conditions and the constraints of job.yaml.

    Raises:
        SpaceError: A condition or a constraint does not fit the parameters.
    """
    rules = settings.conditions, settings.constraints
    if rules == (config.space.conditions, config.space.constraints):
        return config
    space = replace(config.space, conditions=settings.conditions, constraints=settings.constraints)
    return replace(config, space=space)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """A snapshot of a stored sweep. The store can have a newer state."""

    id: str  # 8 characters of [a-z0-9]
    config: SweepConfig
    job: JobTemplate = field(default_factory=JobTemplate)  # parsed from job_yaml
    state: SweepState = SweepState.RUNNING
    seed: int = 0  # random numbers of the search depend only on it and on the trial numbers
    name: str = ""  # shown in lists
    project: str = ""  # W&B project; "" for none
    entity: str = ""
    sweep_yaml: str = ""  # the config as YAML text
    job_yaml: str = ""  # the job config as YAML text; "" without one
    source_hash: str = ""  # hash of the source bundle; "" for a function that was not sent to jobs
    code_hash: str = ""  # sha256:HEX of the file that scheduler.source names; "" without one
    prior_runs: tuple[str, ...] = ()  # labels of earlier trials that inform the search
    created_at: datetime | None = None  # aware UTC
    revision: int = 0  # grows with each change of the sweep or of one of its trials
    config_revision: int = 1  # number of its config and its job template; a change of them adds one
    n_orders: int = 0  # grows with each order of the user to one of its agents


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigRevision:
    """One version of the config of a sweep."""

    number: int  # from 1, the config with which the sweep was created
    sweep_yaml: str
    job_yaml: str  # "" without one
    changes: Mapping[str, Any] = field(default_factory=dict)  # key -> new value, or None if it was removed
    changed_by: str = ""  # USER@HOST; "" for revision 1
    changed_at: datetime | None = None  # aware UTC
    first_number: int = 0  # the trials from this number on were proposed with this or a later revision


def changes_text(changes: Mapping[str, Any]) -> str:
    """Return the changes of a revision on one line, as `smsweep set` accepts them."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in changes.items()
    }
    return ", ".join(f"{key}={text}" for key, text in texts.items())
