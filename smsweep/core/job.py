"""A job: one CreateTrainingJob request, its status as a backend reports it, and the hooks that are notified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from smsweep.core.resources import Resources
from smsweep.errors import UsageError
from smsweep.space.belief import Belief
from smsweep.space.structure import Condition

# The keyword arguments of boto3's create_training_job. botocore's service model defines the shape.
TrainingJobRequest = Mapping[str, Any]

# API limits, from botocore's model of CreateTrainingJob.
MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_KEY = 256
MAX_HYPERPARAMETER_VALUE = 2_500
MAX_TAGS = 50
MAX_FAILURE_REASON = 1_024
DEFAULT_MAX_RUN_S = 86_400  # one day: SageMaker's default of MaxRuntimeInSeconds

STOP_GRACE_S = 120  # from SIGTERM to SIGKILL, as on SageMaker

# The channel and the files that contain a job's program. See engine/job_request.py and runtime/opt_ml_layout.py.
RUNTIME_CHANNEL = "smsweep"
RUNTIME_ZIP = "runtime.zip"
SOURCE_TAR = "source.tar.gz"

TAG_SWEEP = "smsweep:sweep"
TAG_TRIAL = "smsweep:trial"
TAG_ATTEMPT = "smsweep:attempt"
END, FAILURE = "end", "failure"
VARIABLE = "SMSWEEP_NOTIFY"  # environment variable: hooks of every agent, one per line, as in --notify
EVENTS = (END, FAILURE)  # the sweep ended; the first trial failed

# Places as --on accepts them.
LOCAL = "local"  # the short name of processes on this machine
MARKETS = {"spot": True, "on-demand": False}  # word after a backend -> use_spot_instances
PLACE_FORM = "write NAME[:spot][:SLOTS], such as local, slurm:8 or sagemaker:spot:16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hook:
    """A webhook or a command that is notified of events."""

    url: str = ""  # http or https URL, or a reference to one; "" for a command
    command: tuple[str, ...] = ()  # argument list; the event is written to its standard input
    events: tuple[str, ...] = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)  # of the HTTP request; values or references to values

    @property
    def digest(self) -> str:
        """The SHA-256 of URL, command and headers, as 64 hex digits."""
        text = json.dumps([self.url, self.command, dict(self.headers)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def key(self) -> str:
        """An identifier of the hook that does not reveal its URL, the same for all agents."""
        return self.digest[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResults:
    """The cost and the output of an ended job, as far as its backend knows them."""

    billable_s: float | None = None  # billable seconds of each instance; None if the backend does not count them
    instance_type: str = ""
    instance_count: int = 1
    image: str = ""  # digest of the image, or its id on the machine of the job
    n_runs: int = 1  # number of starts: 1, plus 1 for each interruption
    model_uri: str = ""  # of model.tar.gz
    output_uri: str = ""  # of output.tar.gz; the file exists only if the script wrote output
    log_url: str = ""  # page that shows the log
    final_metrics: Mapping[str, float] = field(
        default_factory=dict
    )  # metric name -> last value that the platform saw


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """The status of one job, with SageMaker's names."""

    name: str
    status: str  # InProgress | Completed | Failed | Stopping | Stopped
    secondary_status: str = ""  # Starting | Downloading | Training | Uploading | ...
    failure_reason: str = ""  # first 1,024 characters of output/failure, or the platform's message
    exit_code: int | None = None  # exit code of the script; None if unknown
    is_lost: bool = False  # the job was lost with its machine or its supervisor
    started_at: datetime | None = None  # TrainingStartTime, aware UTC
    ended_at: datetime | None = None  # TrainingEndTime
    failure_class: str = ""  # a key of failure_kind.RETRIES, if the backend knows more than the failure text
    results: JobResults | None = None  # only of an ended job

    @property
    def is_terminal(self) -> bool:
        """True if the job has ended."""
        return self.status in ("Completed", "Failed", "Stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPage:
    """Complete lines of a job's log, in order, and the position after them."""

    lines: tuple[str, ...]  # without line ends; bytes that are not UTF-8 are replaced
    cursor: str  # opaque; pass it to the next read
    is_last: bool = False  # the job has ended and this page reaches the end of its log
    is_behind: bool = False  # more lines exist, but the backend limits the rate: read again soon


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The locations of a sweep's files, as its jobs see them. URIs without a trailing slash."""

    assets_uri: str  # folder with runtime.zip and source.tar.gz, content-addressed
    output_uri: str  # prefix; <job name>/output below it has the output of a job
    checkpoint_uri: str  # prefix; each trial has its own prefix below it


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """The price of one instance, in dollars per hour."""

    per_hour: float  # of the most expensive instance type
    by_type: Mapping[str, float] = field(default_factory=dict)  # instance type -> price, if known

    def of(self, instance_type: str) -> float:
        """Return the price of an instance type; `per_hour` if the type is not in `by_type`."""
        return self.by_type.get(instance_type, self.per_hour)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceSpec:
    """A place where trials run, as `places` in job.yaml or `--on` describes it."""

    name: str  # unique, such as "local" or "sagemaker:spot"
    backend: str
    slots: int | None = None  # trials that run there at the same time; None for the value of --parallel
    give_up_s: float | None = None  # a job that waits longer for a machine moves to another place; None: never
    regions: tuple[str, ...] = ()  # AWS regions, in the order of preference; () for the user's region
    instance_types: tuple[str, ...] = ()  # in the order of preference; () for the job's
    overlay: Mapping[str, Any] = field(default_factory=dict)  # keys of job.yaml that differ at this place


def parse_place(text: str) -> PlaceSpec:
    """Return the place of a text such as `local`, `slurm:8` or `sagemaker:spot:16`.

    Raises:
        UsageError: If the text has another form.
    """
    first, *rest = text.strip().split(":")
    slots: int | None = None
    if rest and rest[-1].isascii() and rest[-1].isdecimal():
        slots = int(rest.pop())
    if not first or len(rest) > 1 or (rest and rest[0] not in MARKETS) or slots == 0:
        raise UsageError(f"{text!r} is not a valid place; {PLACE_FORM}")
    overlay = {"use_spot_instances": MARKETS[rest[0]]} if rest else {}
    backend = "process" if first == LOCAL else first
    return PlaceSpec(name=":".join([first, *rest]), backend=backend, slots=slots, overlay=overlay)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountFacts:
    """Where the jobs of a template run."""

    region: str
    endpoint: str = ""  # of an emulator on this machine, where jobs cost nothing; "" for the platform itself
    account: str = ""  # of the credentials; "" if unknown
    quota: float | None = None  # instances that jobs of the template can have at the same time; None if unknown
    unknown: Mapping[str, str] = field(default_factory=dict)  # "account", "quota" -> why the value is unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirm:
    """How many trials of a sweep are repeated with new seeds to confirm the best one."""

    top: int = 5  # number of best trials that are repeated
    trials: int = 15  # maximum number of repeats of all of them together


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSettings:
    """The settings of the search that sweep.yaml cannot express."""

    cost: Literal["time", "dollars"] | None = None  # cost of trials that bayes saves; None to count trials only
    distinct: bool | None = None  # each assignment once before any is repeated; None for the method's default
    conditions: tuple[Condition, ...] = ()  # when some parameters exist
    constraints: tuple[str, ...] = ()  # expressions that all params meet
    beliefs: Mapping[str, Belief] = field(default_factory=dict)  # dotted name of a parameter -> its likely optimum
    outcome_constraints: tuple[str, ...] = ()  # such as `latency <= 50`; see condition.py
    start_points: tuple[Mapping[str, Any], ...] = ()  # params of the first trials; values can be missing


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTemplate:
    """A CreateTrainingJob request without the fields of a trial, and the settings of smsweep for its jobs."""

    request: Mapping[str, Any] = field(default_factory=dict)  # without name, params and prefixes of a trial
    framework: Mapping[str, str] = field(
        default_factory=dict
    )  # selects an AWS image; empty if the request names an image
    source_dir: str = ""  # folder to snapshot; "" for the folder of `program`
    runs_image: bool = False  # the image's own program runs; the job has no source and no runtime of smsweep
    in_place: bool = False  # processes run in the original source folder, not in a copy
    program: str = ""  # script for a sweep that names none
    command: tuple[str, ...] = ()  # command for a sweep that has none, with W&B's macros
    carries_secrets_env: bool = (
        False  # the source snapshot includes secrets.env, so readers of the source can read it
    )
    secrets: Mapping[str, str] = field(
        default_factory=dict
    )  # environment variable -> reference that the job resolves
    metric_definitions: tuple[tuple[str, str], ...] = ()  # (name, regex) of metrics in printed lines
    retries: Mapping[str, int] = field(default_factory=dict)  # failure class -> number of retries
    notify: tuple[Hook, ...] = ()  # notified of the sweep's end and of its first failure
    repeats: int = 1  # number of trials of each assignment
    search: SearchSettings = field(default_factory=SearchSettings)
    confirm: Confirm | None = None  # repeats of the best trials when the search is over; None for none
    stop_if: tuple[str, ...] = ()  # a trial is stopped if one of these becomes true; see condition.py
    price: Price | None = None  # of one instance; None if unknown
    asks_price: bool = False  # read the price from AWS's price list
    resources: Resources = field(
        default_factory=Resources
    )  # of this machine, for each trial; other backends ignore them
    budget: Mapping[str, float] = field(default_factory=dict)  # usd, hours, trials: hard limits
    places: tuple[PlaceSpec, ...] = ()  # where trials run, in the order of preference; () for one backend
    sbatch: Mapping[str, str] = field(default_factory=dict)  # options of sbatch for jobs on a SLURM cluster
    agent: Mapping[str, Any] = field(default_factory=dict)  # settings of a detached agent's own job
    document: Mapping[str, Any] = field(default_factory=dict)  # job.yaml as plain data, with absolute paths


def with_search_of(template: JobTemplate, stored: JobTemplate) -> JobTemplate:
    """Return a template with the keys of a stored sweep that never change: `repeats`, `confirm` and `search`."""
    return replace(template, repeats=stored.repeats, confirm=stored.confirm, search=stored.search)


def instance_count(resources: Mapping[str, Any]) -> int:
    """Return the number of instances of a job.

    Args:
        resources: The ResourceConfig of the request. Of several instance preferences, the largest number counts.
    """
    in_groups = sum(group["InstanceCount"] for group in resources.get("InstanceGroups", ()))
    preferred = max((item.get("InstanceCount", 1) for item in resources.get("InstancePreferences", ())), default=0)
    return int(resources.get("InstanceCount") or in_groups or preferred or 1)


def image_of(template: JobTemplate) -> str:
    """Return the image or the algorithm of a template; the framework if that selects the image."""
    algorithm = template.request.get("AlgorithmSpecification", {})
    return str(
        algorithm.get("TrainingImage") or algorithm.get("AlgorithmName") or template.framework.get("framework", "")
    )


def image_command(template: JobTemplate) -> list[str]:
    """Return the command of an image's own program, without the image's entrypoint if the request has none."""
    algorithm = template.request.get("AlgorithmSpecification", {})
    return [*algorithm.get("ContainerEntrypoint", ()), *algorithm.get("ContainerArguments", ())] or ["train"]


def job_name(sweep_id: str, number: int, attempt: int) -> str:
    """Return the name of a trial's job. It is known before the job is submitted.

    Args:
        sweep_id: Id of the sweep.
        number: Number of the trial.
        attempt: Attempt of the trial, from 0.

    Returns:
        At most 63 characters of [a-z0-9-], unique for each attempt.
    """
    return f"smsweep-{sweep_id}-{number}-{attempt}"
