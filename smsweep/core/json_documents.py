"""The types of all JSON documents: `--json`, the web page's API, notifications and the report.

Each document is plain data. `services/views/json_schemas.py` makes the published JSON Schema from these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # pydantic reads no typing.TypedDict before Python 3.12

from smsweep.core.trial import Scalar

SweepStateName = Literal["running", "paused", "stopped", "cancelled", "finished"]
TrialStateName = Literal["pending", "running", "stopping", "finished", "failed", "crashed", "stopped", "killed"]
ParamValues = dict[str, Any]  # nested as in sweep.yaml
MetricValues = dict[str, Scalar]  # last values; JSON has NaN and the infinities as text


class MetricDocument(TypedDict):
    """A metric of a sweep."""

    name: str
    goal: Literal["minimize", "maximize"]
    target: float | None


class PriceDocument(TypedDict):
    """The prices of a sweep's machines, in US dollars per hour."""

    per_hour: float
    by_type: dict[str, float]  # instance type -> dollars per hour
    asked_at: str  # ISO 8601


class AmountsDocument(TypedDict, total=False):
    """Amounts of instance hours, US dollars or trials; each may be absent."""

    hours: float
    usd: float
    trials: float


class SweepUsageDocument(TypedDict):
    """The usage of all ended jobs of a sweep."""

    jobs: int
    hours: float  # instance hours
    usd: float | None  # None without a price
    budget: AmountsDocument
    set_aside: AmountsDocument  # part of the budget that active trials can still use
    price: PriceDocument | None


class TrialUsageDocument(TypedDict, total=False):
    """The usage and the results of all ended jobs of a trial."""

    n_jobs: int
    billable_s: float  # seconds
    instance_s: float  # billable_s times the number of instances
    usd: float
    instance_type: str
    instance_count: int
    image: str
    model_uri: str
    output_uri: str
    log_url: str
    wandb_url: str


# "for" is a keyword in Python.
WaitingDocument = TypedDict(
    "WaitingDocument",
    {
        "for": Literal["quota", "capacity", "credentials", "backend"],
        "reason": str,
        "limit": str | float | None,  # of a quota
        "since": str,  # ISO 8601
    },
)


class WaitingTrialDocument(WaitingDocument):
    """A trial that waits for its job."""

    number: int


class TrialFields(TypedDict):
    """The fields of every trial document."""

    number: int
    state: TrialStateName
    params: ParamValues
    metrics: MetricValues
    objective: float | None
    attempt: int
    reason: str
    exit_code: int | None
    job_name: str
    place: str  # backend and machine, such as "process@host"
    place_name: str  # place in the agent's list, such as "local"; "" for an agent with one backend
    retries: dict[str, int]  # kind of failure -> number of retries
    usage: TrialUsageDocument
    infeasible: str  # outcome constraints of job.yaml that the trial violates; "" for none
    confirms: int | None  # number of the trial that this one repeats with a new seed
    repeat: int  # which repeat of that trial, from 1; 0 for none
    created_at: str | None  # ISO 8601, as all times
    started_at: str | None
    ended_at: str | None


class TrialDocument(TrialFields):
    """A trial, as `smsweep trials --json` lists it."""


class ShownTrialDocument(TrialFields):
    """A trial, as `smsweep show ID/N --json` prints it."""

    waiting: WaitingDocument | None
    pruned_at: str | None  # when `smsweep prune` deleted its model, output and checkpoints


class PlaceUseDocument(TypedDict):
    """The trials of a sweep at one place."""

    name: str
    place: str  # backend and machine
    active: int  # trials that run there
    ended: int  # trials whose last attempt ended there
    usd: float | None  # dollars of the ended trials; None without a price


class RepeatsDocument(TypedDict):
    """The repeats of the best assignment."""

    mean: float  # without the trial of the search, if the repeats confirm it
    interval: (
        list[float] | None
    )  # lowest and highest mean, 95 % confidence interval of the mean; None if the noise is unknown
    n_values: int  # number of values in the mean
    trials: list[int]
    objectives: list[float | None]


class ConfirmDocument(TypedDict):
    """The repeats that `smsweep confirm` asks for."""

    id: str
    repeats: int  # maximum number of repeats that agents will add


class BestTrialDocument(TrialFields):
    """The best trial of a sweep."""

    repeats: NotRequired[RepeatsDocument]  # if job.yaml has `repeats`, or repeats confirm the trial


class FrontTrialDocument(TrialFields):
    """A trial on the Pareto front of a sweep of several metrics."""

    outcome: MetricValues  # the sweep's metrics; means if job.yaml has `repeats`
    repeats: NotRequired[list[int]]  # numbers of all trials of the assignment


class SweepFields(TypedDict):
    """The fields of every sweep document."""

    id: str
    name: str
    state: SweepStateName
    method: str
    metrics: list[MetricDocument]  # of a sweep of several metrics
    metric: MetricDocument | None
    expected_trial_count: int | None  # None if unlimited
    run_cap: int | None
    program: str | None
    image: str  # the image whose own program runs; "" for a script
    project: str
    entity: str
    seed: int
    source_hash: str
    outcome_constraints: list[str]  # what the metrics of a usable trial meet
    created_at: str | None


class ListedSweepDocument(SweepFields):
    """A sweep, as `smsweep ls --json` lists it."""

    trials: dict[str, int]  # state -> number of trials
    has_agent: bool  # an agent works on the sweep, or the sweep is detached to SageMaker
    n_agents: int  # agents that work on the sweep


AgentState = Literal["running", "draining", "stopping", "lost"]


class AgentDocument(TypedDict):
    """An agent on any machine: `smsweep agents --json`."""

    id: str  # HOST:PID:TOKEN
    sweep: str
    host: str
    state: AgentState
    slots: dict[str, int]  # place -> trials that can run there at the same time
    trials: list[int]  # numbers of the active trials that it holds
    started_at: str | None
    seen_at: str | None  # last heartbeat
    version: str  # of smsweep


class RevisionDocument(TypedDict):
    """A revision of a sweep's config."""

    number: int  # from 1, the config with which the sweep was created
    changes: dict[str, Any]  # key -> new value, or null if it was removed
    changed_by: str  # USER@HOST; "" for revision 1
    changed_at: str | None
    first_number: int  # the trials from this number on were proposed with this or a later revision


class FailureDocument(TypedDict):
    """The number of trials that failed for a reason."""

    reason: str
    trials: int


class RejectedCommandDocument(TypedDict):
    """An object among a detached agent's commands that is not a valid command."""

    id: str
    reason: str


class DetachedAgentDocument(TypedDict):
    """The agent of a sweep that is detached to SageMaker."""

    job: str  # the newest training job; "" without one
    status: str
    reason: str
    jobs: int
    instance_type: str
    hours: float | None  # instance hours of all its jobs; None if AWS cannot be reached
    usd: float | None
    kept_at: str  # URI of the store
    rejected: list[RejectedCommandDocument]


class FunctionDocument(TypedDict):
    """The Python function that was sent last. Without one, both values are ""."""

    name: str
    python: str  # version that can load it, such as "3.11"


class SweepDocument(ListedSweepDocument):
    """A sweep, as `smsweep show ID --json` prints it."""

    function: FunctionDocument | None  # of a sweep without a program; None for a program
    best: BestTrialDocument | None
    front: list[int]  # numbers of the trials on the Pareto front
    outlook: str  # a hint that more trials will hardly help; "" without one
    notes: str  # of the user; "" without notes
    usage: SweepUsageDocument
    agent: DetachedAgentDocument | None
    waiting: list[WaitingTrialDocument]
    places: list[PlaceUseDocument]  # where trials ran; empty for agents with one backend
    failures: list[FailureDocument]  # most frequent first
    revisions: list[RevisionDocument]  # of the config, oldest first


class EndedAgentDocument(SweepDocument):
    """A sweep after an agent: `smsweep run --json` and `smsweep agent --json`."""

    ended: dict[str, int]  # state -> number of trials that this agent saw end


class DetachedProcessDocument(TypedDict, total=False):
    """A detached agent: a process (`pid`, `log`), a training job (`job`), or a store (`kept_at`, `command`)."""

    pid: int
    log: str
    job: str
    kept_at: str
    command: str


class DetachedSweepDocument(SweepDocument):
    """A sweep whose agent was detached: `smsweep run --detach --json` and `smsweep agent --detach --json`."""

    detached: DetachedProcessDocument


class WhyDocument(TypedDict):
    """Why a trial is in its state: `smsweep why --json`."""

    trial: str  # "ID/N"
    state: TrialStateName
    why: str
    reason: str
    rule: dict[str, Any] | None  # the evidence of the rule that stopped the trial
    exit_code: int | None
    attempt: int
    retries: dict[str, int]
    waiting: WaitingDocument | None
    job_name: str
    place: str
    place_name: str
    placement: list[str]  # why the trial does not run at the first place of its agent
    started_at: str | None
    ended_at: str | None
    log: list[str]  # last lines of a failed or crashed trial


class DifferenceDocument(TypedDict):
    """A value that differs between two trials or sweeps; a side without the value has no key."""

    name: str
    a: NotRequired[Any]
    b: NotRequired[Any]
    delta: NotRequired[float]  # b minus a, of numbers


class FileDifferenceDocument(TypedDict):
    """A source file that differs."""

    name: str
    change: Literal["added", "removed", "changed", "mode"]
    diff: list[str] | None  # lines of a unified diff; None if the file is not shown as text


class SourceDifferenceDocument(TypedDict):
    """The difference of two source snapshots."""

    a: str  # hash
    b: str
    is_same: bool
    files: list[FileDifferenceDocument] | None  # None if a snapshot is missing
    missing: list[str]


class DiffDocument(TypedDict):
    """Two trials or two sweeps compared: `smsweep diff --json`."""

    kind: Literal["trial", "sweep"]
    a: str
    b: str
    is_same: bool
    source: SourceDifferenceDocument
    same: dict[str, int]  # section -> number of equal entries
    facts: list[DifferenceDocument]
    params: list[DifferenceDocument]
    metrics: list[DifferenceDocument]
    config: list[DifferenceDocument]
    job: list[DifferenceDocument]
    request: list[DifferenceDocument]
    environment: list[DifferenceDocument]


class FactDifferenceDocument(TypedDict):
    """A fact about two trials that differs; None if unknown."""

    name: str
    a: str | None
    b: str | None


class SidesDocument(TypedDict):
    """A text of the trial (a) and of its repetition (b)."""

    a: str
    b: str


Verdict = Literal["equal", "within tolerance", "missing", "different"]


class ReproducedMetricDocument(TypedDict):
    """A metric of a trial and of its repetition."""

    name: str
    a: Scalar
    b: Scalar
    steps: int  # compared
    largest: NotRequired[float]  # largest relative difference
    verdict: Verdict


class ReproductionDocument(TypedDict):
    """A trial and its repetition compared: `smsweep reproduce --json`."""

    trial: str
    again: str
    verdict: Verdict
    tolerance: float  # relative
    state: SidesDocument
    reason: SidesDocument
    params: ParamValues
    source_hash: str
    seed: int
    metrics: list[ReproducedMetricDocument]
    facts: list[FactDifferenceDocument]


class PlannedTrialDocument(TypedDict):
    """A trial that a sweep will start with."""

    number: int
    params: ParamValues
    argv: list[str]
    request: NotRequired[dict[str, Any]]  # CreateTrainingJob


class InstancesDocument(TypedDict):
    """Instances of one type in a job."""

    type: str
    count: int


class SourceSizeDocument(TypedDict):
    """The size of a sweep's source."""

    files: int | None  # None for an existing sweep
    bytes: int  # of the files; of an existing sweep, of the compressed snapshot


class CostDocument(TypedDict):
    """Instance hours, and US dollars; None if unlimited or unknown."""

    hours: float | None
    usd: float | None


class EstimateDocument(TypedDict):
    """The expected cost, from earlier trials on the same instance type."""

    usd: float | None  # of all trials; None if the price or the number of trials is unknown
    usd_per_trial: float | None
    seconds_per_trial: float  # mean of the billable seconds
    trials: int  # number of the earlier trials
    sweeps: list[str]  # ids of their sweeps


class PlannedPlaceDocument(TypedDict):
    """A place where trials run, and its price."""

    name: str
    backend: str
    slots: int  # further instance types and regions of a place (NAME/2, ...) share its slots
    region: str  # AWS region; "" for the user's, or on this machine
    instances: list[InstancesDocument]
    is_spot: bool
    price_per_hour: float | None  # US dollars for one instance; 0 for a free place; None if unknown
    worst_usd_per_trial: float | None  # if the trial runs for max_run


class LaunchDocument(TypedDict):
    """What the next jobs of a sweep run on, and what they can cost."""

    backend: str
    endpoint: str  # of an emulator on this machine, where jobs cost nothing; "" for AWS
    region: str
    account: str | None  # of the credentials
    role: str
    image: str
    instances: list[InstancesDocument]  # several: groups, or types of which SageMaker chooses one
    is_spot: bool
    source: SourceSizeDocument | None
    max_run_s: int
    max_wait_s: int | None  # of spot jobs: max_run and the wait for capacity, which costs nothing
    parallel: int
    trials: int | None  # that can still start; None if unlimited
    price_per_hour: float | None  # US dollars for one instance
    price_from: Literal["job.yaml", "aws"] | None
    worst_case: CostDocument  # of all trials, if each runs for max_run
    estimate: EstimateDocument | None
    quota: float | None  # instances that can run at the same time
    budget: AmountsDocument  # in job.yaml
    run_cap: int | None
    count: int | None
    places: list[PlannedPlaceDocument]  # in the order of preference; empty with one backend
    unknown: dict[str, str]  # name of a field without a value -> the reason, or the fix


class PlanDocument(TypedDict):
    """The first trials of a sweep: `smsweep plan --json`."""

    method: str
    expected_trial_count: int | None
    rules: list[str]  # the conditions and constraints of the params, in job.yaml's `search`
    trials: list[PlannedTrialDocument]
    warnings: list[str]
    launch: NotRequired[LaunchDocument]  # with a backend whose jobs cost money


class CheckDocument(TypedDict):
    """One check of `smsweep doctor --json`."""

    what: str
    result: str
    is_ok: bool
    is_required: bool
    is_known: bool  # False if the state cannot be determined
    fix: str


class VerifiedCheckDocument(TypedDict):
    """One check of `smsweep verify --json`."""

    id: str
    assumption: str
    verdict: str  # confirmed, different, unknown (no answer) or skipped (cost cap, or not possible)
    expected: dict[str, Any]  # field of the answer -> expected value, or a pattern in slashes
    observed: dict[str, Any]  # field of the answer -> value, with account ids masked
    differences: list[str]  # fields whose value is not the expected one
    reason: str  # why there is no verdict; "" with one
    file: str  # file to change if the answer differs
    usd: float  # dollars that the check has cost at most


class VerificationDocument(TypedDict):
    """The report of `smsweep verify --json`, and of each file of docs/verified."""

    run: str
    date: str  # ISO 8601
    started_at: str  # ISO 8601
    smsweep: str  # version
    python: str  # version
    backend: str
    place: str  # AWS, the emulator or this machine
    region: str
    instance_type: str
    usd: float  # dollars that the run has cost at most
    counts: dict[str, int]  # verdict -> number of checks
    checks: list[VerifiedCheckDocument]
    remains: int  # things that the run created and could not remove


class ExportDocument(TypedDict):
    """A finished export: `smsweep export --to WHERE --json`."""

    trials: int
    where: str


class ReportFileDocument(TypedDict):
    """The file of `smsweep report --json`."""

    file: str


class S3ObjectsDocument(TypedDict):
    """Objects in one bucket that a deletion covers."""

    kind: Literal["outputs", "checkpoints", "source", "agent"]
    uri: str  # common prefix
    objects: int
    bytes: int


class RemovalDocument(TypedDict):
    """What the removal of a trial or a sweep deletes."""

    label: str
    trials: dict[str, int]  # state -> number of trials
    job_folders: int
    local_bytes: int
    bundle: str | None  # source snapshot on this machine that no other sweep uses
    s3: list[S3ObjectsDocument]
    kept_in_s3: list[str]  # URIs below which objects of the trials can remain
    source_users: list[str]  # other sweeps that use the source in S3, which is kept
    versioned_buckets: list[str]  # buckets that keep deleted objects as noncurrent versions


class PrunedSweepDocument(TypedDict):
    """What pruning deletes of a sweep."""

    id: str
    trials: list[int]
    kept: list[int]  # the best trials
    job_folders: int
    local_bytes: int
    s3: list[S3ObjectsDocument]
    versioned_buckets: list[str]


class RecoveryDocument(TypedDict):
    """A recovered sweep: `smsweep recover --json`."""

    id: str
    trials: int  # with a job
    lost: int  # without a job


class PublishedDocument(TypedDict):
    """A sweep in a queue: `smsweep publish --json`."""

    id: str
    agents: int
    queue: str


class SlurmScriptDocument(TypedDict):
    """A batch script: `smsweep slurm --json`."""

    script: str


class SlurmJobDocument(TypedDict):
    """A submitted SLURM job: `smsweep slurm --submit --json`."""

    job_id: str


class ImportedSweepDocument(TypedDict):
    """A sweep that was imported from W&B."""

    id: str
    prior_runs: int


class UploadedRunsDocument(TypedDict):
    """The folders of runs that were uploaded to W&B."""

    uploaded: list[str]


class StoredKeyDocument(TypedDict):
    """A W&B key in AWS: `smsweep auth --json`."""

    variable: str
    arn: str


class SkillDocument(TypedDict):
    """Instructions for coding agents: `smsweep skill --json`."""

    skill: str


class CompletionDocument(TypedDict):
    """A shell's completion script: `smsweep completion --json`."""

    shell: str
    script: str


class ServedPageDocument(TypedDict):
    """The address of the web page: `smsweep ui --json`."""

    url: str
    token: str
    entry: str  # the address with the token


class EmulatorDocument(TypedDict):
    """The address and the credentials of the emulator."""

    url: str
    access_key_id: str
    secret_access_key: str
    region: str
    token: str
    environ: dict[str, str]


class LogLineDocument(TypedDict):
    """A line of `smsweep logs --json`."""

    line: str


class SweepEventDocument(SweepDocument):
    """A line of `smsweep watch --json`: the sweep at first, on a change of its state and at its end."""

    event: Literal["sweep"]
    time: str
    sweep: str
    over: bool


class TrialEventDocument(TrialFields):
    """A line of `smsweep watch --json`: a trial changed its state."""

    event: Literal["trial"]
    time: str
    sweep: str
    removed: bool


class MetricsEventDocument(TypedDict):
    """A line of `smsweep watch --json`: a trial reported metrics."""

    event: Literal["metrics"]
    time: str
    sweep: str
    number: int
    step: int | None
    metrics: MetricValues


class BestEventDocument(TypedDict):
    """A line of `smsweep watch --json`: there is a new best trial."""

    event: Literal["best"]
    time: str
    sweep: str
    metric: str
    number: int
    objective: float | None
    params: ParamValues


EventDocument = SweepEventDocument | TrialEventDocument | MetricsEventDocument | BestEventDocument


class NotificationDocument(TypedDict):
    """The body of a webhook, and the standard input of a command, of `notify`."""

    text: str
    event: Literal["sweep_end", "trial_failure"]
    time: str
    sweep: SweepDocument
    trial: NotRequired[TrialDocument]  # of trial_failure


class RunningTrialDocument(TypedDict):
    """An active trial on the web page."""

    number: int
    state: TrialStateName
    params: ParamValues
    objective: float | None
    started_at: str | None
    curve: list[float]
    n_reports: int


class SweepSummaryDocument(SweepDocument):
    """A sweep on the web page."""

    revision: int
    best_so_far: list[float]
    running: list[RunningTrialDocument]


class SweepListAnswer(TypedDict):
    """The answer of GET /api/sweeps."""

    sweeps: list[SweepSummaryDocument]
    folder: str


class SweepChanges(TypedDict):
    """The rows of trials that changed since a revision."""

    revision: int
    columns: list[str]
    rows: list[list[Any]]
    removed: list[int]


class SweepAnswer(SweepChanges):
    """The answer of GET /api/sweeps/ID."""

    sweep: SweepSummaryDocument


class SweepTextsAnswer(TypedDict):
    """The answer of GET /api/sweeps/ID/texts."""

    sweep_yaml: str
    job_yaml: str
    origin: dict[str, Any]
    prior_runs: list[str]


class CurveDocument(TypedDict):
    """The values of one metric of a trial."""

    x: list[int | None]
    y: list[float]
    by: Literal["step", "report"]


class TrialSweepDocument(TypedDict):
    """The sweep of a trial on the web page."""

    id: str
    name: str
    state: SweepStateName
    metric: MetricDocument | None
    metrics: list[MetricDocument]


class TrialAnswer(TrialFields):
    """The answer of GET /api/sweeps/ID/trials/N; params are flat."""

    label: str
    sweep: TrialSweepDocument
    curves: dict[str, CurveDocument]


class ComparisonAnswer(TypedDict):
    """The answer of GET /api/compare."""

    trials: list[TrialAnswer]


class LogPageDocument(TypedDict):
    """The next lines of a log."""

    lines: list[str]
    cursor: str
    is_new: bool  # the lines are of another job than those before
    is_last: bool
    note: str  # where the log is, or why there is none


class LogPageAnswer(LogPageDocument):
    """The answer of GET /api/sweeps/ID/trials/N/log."""

    state: TrialStateName


class DraftDocument(TypedDict):
    """The draft of a new sweep."""

    sweep_yaml: str
    job_yaml: str
    name: str
    like: str  # the sweep whose source the draft shares; ""
    prior_runs: list[str]
    source: str  # hash


class DraftCheckDocument(TypedDict):
    """The answer of POST /api/check."""

    problems: list[str]
    warnings: list[str]
    trials: list[ParamValues]
    expected_trial_count: int | None


class ChangedSweepAnswer(TypedDict):
    """The answer of POST /api/sweeps/ID/VERB."""

    id: str
    state: SweepStateName


class ChangedConfigAnswer(TypedDict):
    """The answer to a change of a sweep's config."""

    id: str
    revision: RevisionDocument  # the newest one
    is_changed: bool  # False if the config had all the values before
    hint: str  # how to continue a sweep that no agent continues; "" if agents apply the change


class ChangedTrialsAnswer(TypedDict):
    """The answer of POST /api/retry and of POST /api/remove."""

    labels: list[str]


class CreatedSweepAnswer(TypedDict):
    """The answer of POST /api/create."""

    id: str
    agent: str  # a command


class LocalAgentDocument(TypedDict):
    """An agent that was started in the background on this machine."""

    number: int
    pid: int
    arguments: list[str]  # of `smsweep agent`
    started_at: str
    is_running: bool
    log: list[str]  # last lines


class BackendChoiceDocument(TypedDict):
    """A backend that an agent can use."""

    name: str
    costs_money: bool


class BackendChoicesDocument(TypedDict):
    """The backends that a new agent can use."""

    backends: list[BackendChoiceDocument]
    backend: str  # the default


class LocalAgentsAnswer(BackendChoicesDocument):
    """The answer of GET and POST /api/sweeps/ID/agents, and of POST /api/sweeps/ID/agents/N/stop."""

    agents: list[LocalAgentDocument]
    all: list[AgentDocument]  # the agents of the sweep on all machines


class DraftAnswer(DraftDocument, BackendChoicesDocument):
    """The answer of GET /api/draft."""


class NotesAnswer(TypedDict):
    """The answer of POST /api/sweeps/ID/notes."""

    id: str
    notes: str


class ErrorAnswer(TypedDict):
    """The answer of the web API to a request that failed."""

    error: str
    problems: NotRequired[list[str]]


class ReportDocument(TypedDict):
    """The data in a report, in the element `smsweep-data` of the page."""

    sweep_id: str
    columns: list[str]
    rows: list[list[Any]]
    usual: list[str]  # columns shown at first
    goals: list[str]  # columns of the sweep's metrics
    sign: int  # 1 if low values of the first metric are good, -1 if high values are
    figures: dict[str, dict[str, Any]]  # Plotly's JSON


Row = Mapping[str, Any]  # of a flat table
