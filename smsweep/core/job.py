"""A job: one CreateTrainingJob request and what a backend says of its execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from smsweep.core.notify_hook import Hook

# The keyword arguments of boto3's create_training_job; botocore's service model owns the shape.
TrainingJobRequest = Mapping[str, Any]

# API limits, from botocore's model of CreateTrainingJob.
MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_KEY = 256
MAX_HYPERPARAMETER_VALUE = 2_500
MAX_TAGS = 50
MAX_FAILURE_REASON = 1_024
DEFAULT_MAX_RUN_S = 86_400  # of a StoppingCondition without MaxRuntimeInSeconds: one day

STOP_GRACE_S = 120  # between SIGTERM and SIGKILL, as SageMaker does it

# Channels and files by which a job finds its program. See render.py and runtime/layout.py.
RUNTIME_CHANNEL = "smsweep"
RUNTIME_ZIP = "runtime.zip"
SOURCE_TAR = "source.tar.gz"

TAG_SWEEP = "smsweep:sweep"
TAG_TRIAL = "smsweep:trial"
TAG_ATTEMPT = "smsweep:attempt"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResults:
    """What an ended job cost and left behind, as far as its backend can tell."""

    billable_s: float | None = None  # seconds to pay for on each instance; None where nobody counts them
    instance_type: str = ""
    instance_count: int = 1
    image: str = ""  # what it ran in: a digest that names it anywhere, else the id that it has on its machine
    n_runs: int = 1  # times it was begun: once, and again after each interruption
    model_uri: str = ""  # of model.tar.gz
    output_uri: str = ""  # of output.tar.gz, which is there only if the script wrote something
    log_url: str = ""  # where a person reads its log
    final_metrics: Mapping[str, float] = field(default_factory=dict)  # last values that the platform saw


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """What a backend knows of one job, in SageMaker's words."""

    name: str
    status: str  # InProgress | Completed | Failed | Stopping | Stopped
    secondary_status: str = ""  # of its status: Starting | Downloading | Training | Uploading | ...
    failure_reason: str = ""  # first 1,024 characters of output/failure, or the platform's own words
    exit_code: int | None = None  # of the script; None where the backend cannot tell
    is_lost: bool = False  # it ended without a verdict: its machine or its supervisor went away
    started_at: datetime | None = None  # TrainingStartTime, aware UTC
    ended_at: datetime | None = None  # TrainingEndTime
    failure_class: str = ""  # a key of failures.RETRIES, where the backend knows better than its words say
    results: JobResults | None = None  # of an ended job

    @property
    def is_terminal(self) -> bool:
        return self.status in ("Completed", "Failed", "Stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPage:
    """Whole lines of a job's log, in order, and where to go on."""

    lines: tuple[str, ...]  # without line ends; what is not UTF-8 is replaced
    cursor: str  # give it back to read on; opaque
    is_last: bool = False  # the job has ended and this page reaches the end of its log
    is_behind: bool = False  # more is there already, but must wait for its turn: ask again soon


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Where a sweep's files lie, as the backend's jobs see them. URIs without a slash at the end."""

    assets_uri: str  # folder with runtime.zip and source.tar.gz, content-addressed
    output_uri: str  # below it, <job name>/output holds what a job leaves behind
    checkpoint_uri: str  # below it, each trial has its own prefix


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What one instance costs an hour, in dollars."""

    per_hour: float  # of whichever machine; of several, the dearest
    by_type: Mapping[str, float] = field(default_factory=dict)  # instance type -> its own, where it is known

    def of(self, instance_type: str) -> float:
        return self.by_type.get(instance_type, self.per_hour)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTemplate:
    """A CreateTrainingJob request minus what a trial owns, plus what smsweep itself needs to know."""

    request: Mapping[str, Any] = field(default_factory=dict)  # no name, no params, no per-trial prefix
    framework: Mapping[str, str] = field(default_factory=dict)  # names an AWS image; empty where request has one
    source_dir: str = ""  # folder to snapshot; "" to choose one from `program`
    program: str = ""  # script that the template's author names, for a sweep that names none
    command: tuple[str, ...] = ()  # likewise, how it is started; as W&B writes it
    carries_secrets_env: bool = False  # the source's secrets.env travels with it, for whoever reads the source
    secrets: Mapping[str, str] = field(default_factory=dict)  # environment name -> where the job finds its value
    metric_definitions: tuple[tuple[str, str], ...] = ()  # (name, regex) for printed lines
    retries: Mapping[str, int] = field(default_factory=dict)  # class of failure -> how many times
    notify: tuple[Hook, ...] = ()  # whom to tell of the sweep's end and its first failure
    repeats: int = 1  # trials of each assignment
    stop_if: tuple[str, ...] = ()  # conditions of which none may become true of a trial; see conditions.py
    price: Price | None = None  # of one instance; None where nobody knows
    asks_price: bool = False  # it is to be asked of AWS's price list
    budget: Mapping[str, float] = field(default_factory=dict)  # usd, hours, trials: hard caps
    agent: Mapping[str, Any] = field(default_factory=dict)  # how a detached agent's own job differs
    document: Mapping[str, Any] = field(default_factory=dict)  # job.yaml as plain data, with absolute paths


def instance_count(resources: Mapping[str, Any]) -> int:
    """Return how many instances a job with this ResourceConfig has; of several preferences, the most."""
    in_groups = sum(group["InstanceCount"] for group in resources.get("InstanceGroups", ()))
    preferred = max((item.get("InstanceCount", 1) for item in resources.get("InstancePreferences", ())), default=0)
    return int(resources.get("InstanceCount") or in_groups or preferred or 1)


def job_name(sweep_id: str, number: int, attempt: int) -> str:
    """Return the name of a trial's job, known before it is submitted.

    At most 63 characters of [a-z0-9-], as the API demands, unique per (sweep, trial, attempt).
    """
    return f"smsweep-{sweep_id}-{number}-{attempt}"
