"""The API of tuning jobs: calls about one tuning job, lists, and the documents that describe them."""

from __future__ import annotations

import copy
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from smsweep.config_files.tuning_job import OBJECTIVE, Definition, TuningJob, parameter_text, read_tuning_job
from smsweep.emulator import api_error
from smsweep.emulator.api import paging, tuning_rules, validation
from smsweep.emulator.api.documents import tag_list, tag_map
from smsweep.emulator.api.validation import HasObjects
from smsweep.emulator.api_error import ApiError
from smsweep.emulator.faults import FaultInjector
from smsweep.emulator.jobs import warm_pools
from smsweep.emulator.jobs.builtin_algorithms import described_algorithm
from smsweep.emulator.jobs.job import Job, JobTable
from smsweep.emulator.jobs.tuner import final_objective, n_not_improving, objective_of
from smsweep.emulator.jobs.tuning_job import Launch, TuningRecord, TuningTable, training_job_request
from smsweep.errors import ConfigError

Request = dict[str, Any]
Document = dict[str, Any]
MAX_SEED = 2**31
DEFAULT_SIZE = 10
RESOURCE = "hyper-parameter-tuning-job"  # in ARNs


class TuningJobs:
    """Handles calls about tuning jobs.

    Args:
        table: All tuning jobs.
        job_table: All training jobs.
        faults: Has the quota of the account.
        has_objects: Returns True if an S3 URI has objects.
        clock: Returns seconds since the epoch.
        on_change: Called after a tuning job was created or stopped.
    """

    def __init__(
        self,
        table: TuningTable,
        job_table: JobTable,
        faults: FaultInjector,
        has_objects: HasObjects,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._table = table
        self._job_table = job_table
        self._faults = faults
        self._has_objects = has_objects
        self._clock = clock
        self._on_change = on_change

    @property
    def handlers(self) -> Mapping[str, Callable[[Request, str], Document | None]]:
        """The function of each call: (request, region) -> response."""
        return {
            "CreateHyperParameterTuningJob": self.create,
            "DescribeHyperParameterTuningJob": self.describe,
            "StopHyperParameterTuningJob": self.stop,
            "DeleteHyperParameterTuningJob": self.delete,
            "ListHyperParameterTuningJobs": self.list_tuning_jobs,
            "ListTrainingJobsForHyperParameterTuningJob": self.list_training_jobs,
        }

    def create(self, request: Request, region: str) -> Document:
        """Return the response of CreateHyperParameterTuningJob. Raises ApiError."""
        try:
            parsed = read_tuning_job(request)
        except ConfigError as err:
            raise api_error.invalid("; ".join(err.problems)) from err
        _refuse_first(tuning_rules.broken_rules(request))
        tags = tag_map(request.pop("Tags", ()))
        now, name = self._clock(), parsed.name
        record = TuningRecord(
            name=name,
            arn=tuning_job_arn(region, name),
            region=region,
            request=request,
            tags=tags,
            created_at=now,
            modified_at=now,
            seed=secrets.randbelow(MAX_SEED) if parsed.seed is None else parsed.seed,
        )
        for definition in parsed.definitions:
            self._check_training_job(record, definition)
        with self._table.lock:
            for parent in parsed.parents:
                self._check_parent(request, parent, region)
            existing = self._table.get(name)
            if existing is not None:
                raise ApiError(
                    "ResourceInUse",
                    "Hyperparameter tuning job names must be unique within an AWS account and region, and a "
                    f"hyperparameter tuning job with this name already exists ({existing.arn})",
                )
            self._table.add(record)
        self._on_change()
        return {"HyperParameterTuningJobArn": record.arn}

    def _check_training_job(self, record: TuningRecord, definition: Definition) -> None:
        """Raise ApiError if SageMaker refuses the training jobs of a definition."""
        name = f"{record.name}-001-00000000"
        leaves = definition.config.space.leaves
        texts = {path[0]: parameter_text(leaf.ppf(0.5)) for path, leaf in leaves}
        launch = Launch(job_name=name, definition=0, params={})
        request = training_job_request(record, definition, launch, texts)
        validation.check("CreateTrainingJob", request)
        validation.check_create(request, record.region, self._has_objects)
        limit = self._faults.now.quota
        if limit is not None:  # a training job that can never run
            job = Job(name=name, arn="", region="", request=request, tags={}, created_at=0.0, modified_at=0.0)
            warm_pools.check_quota(job, [], limit)

    def _check_parent(self, request: Request, name: str, region: str) -> None:
        """Raise ApiError if a tuning job cannot be a parent of the request's warm start."""
        parent = self._table.get(name)
        if parent is None or parent.region != region:
            raise api_error.invalid(
                f"WarmStartConfig: the parent hyperparameter tuning job {name} does not exist."
            )
        if not parent.is_terminal:
            raise api_error.invalid(
                f"WarmStartConfig: the parent hyperparameter tuning job {name} is in status {parent.status}."
            )
        _refuse_first(tuning_rules.broken_warm_start_rules(request, parent.request))

    def describe(self, request: Request, region: str) -> Document:
        """Return the response of DescribeHyperParameterTuningJob. Raises ApiError."""
        with self._table.lock:
            return self.description(self._find(request, region))

    def stop(self, request: Request, region: str) -> None:
        """Carry out StopHyperParameterTuningJob. Raises ApiError."""
        with self._table.lock:
            record = self._find(request, region)
            if record.is_terminal:
                raise api_error.invalid(
                    f"The request was rejected because the hyperparameter tuning job is in status {record.status}."
                )
            if record.status == "InProgress":
                record.status, record.modified_at = "Stopping", self._clock()
                self._table.save(record)
        self._on_change()

    def delete(self, request: Request, region: str) -> None:
        """Carry out DeleteHyperParameterTuningJob. The training jobs stay. Raises ApiError."""
        with self._table.lock:
            record = self._find(request, region)
            if not record.is_terminal:
                raise api_error.invalid(
                    f"The hyperparameter tuning job is not in a terminal state. Its status is {record.status}."
                )
            self._table.remove(record.name)

    def list_tuning_jobs(self, request: Request, region: str) -> Document:
        """Return the response of ListHyperParameterTuningJobs."""
        tests = [(FILTERS[name], request[name]) for name in FILTERS if name in request]
        with self._table.lock:
            records = [record for record in self._table.all() if record.region == region]
            items, token = paging.page(
                [record for record in records if all(passes(record, value) for passes, value in tests)],
                paging.SORT_KEYS[request.get("SortBy", "Name")],
                request.get("NextToken"),
                request.get("MaxResults", DEFAULT_SIZE),
                is_reverse=request.get("SortOrder") == "Descending",
            )
            summaries = [_summary(self.description(record)) for record in items]
        return {"HyperParameterTuningJobSummaries": summaries, **({"NextToken": token} if token else {})}

    def list_training_jobs(self, request: Request, region: str) -> Document:
        """Return the response of ListTrainingJobsForHyperParameterTuningJob. Raises ApiError."""
        with self._table.lock:
            summaries = self._training_jobs(self._find(request, region))
        sort_by, wanted = request.get("SortBy", "Name"), request.get("StatusEquals")
        if sort_by == "FinalObjectiveMetricValue":
            summaries = [item for item in summaries if METRIC in item]
        items, token = paging.page(
            [item for item in summaries if wanted in (None, item["TrainingJobStatus"])],
            JOB_SORT_KEYS[sort_by],
            request.get("NextToken"),
            request.get("MaxResults", DEFAULT_SIZE),
            is_reverse=request.get("SortOrder") == "Descending",
        )
        return {"TrainingJobSummaries": items, **({"NextToken": token} if token else {})}

    def search_records(self, region: str) -> list[Document]:
        """Return the records of Search: the descriptions and the tags."""
        with self._table.lock:
            records = [record for record in self._table.all() if record.region == region]
            return [{**self.description(record), "Tags": tag_list(record.tags)} for record in records]

    def event_detail(self, record: TuningRecord) -> Document:
        """Return the detail of a state change event. Its times are in milliseconds."""
        described = self.description(record)
        detail = {name: described[name] for name in EVENT_FIELDS if name in described}
        for name in EVENT_TIMES & detail.keys():
            detail[name] = round(detail[name] * 1000)
        if "BestTrainingJob" in described:
            detail["BestTrainingJob"] = {"TrainingJobName": described["BestTrainingJob"]["TrainingJobName"]}
        return {**detail, "Tags": dict(record.tags)}

    def description(self, record: TuningRecord) -> Document:
        """Return the response of DescribeHyperParameterTuningJob for a tuning job."""
        parsed = record.parsed()
        summaries = self._training_jobs(record)
        document = {
            **copy.deepcopy(record.request),
            "HyperParameterTuningJobArn": record.arn,
            "HyperParameterTuningJobStatus": record.status,
            "CreationTime": record.created_at,
            "LastModifiedTime": record.modified_at,
            "TrainingJobStatusCounters": _status_counters(summaries),
            "ObjectiveStatusCounters": _objective_counters(summaries),
            "ConsumedResources": {
                "RuntimeInSeconds": round((record.ended_at or self._clock()) - record.created_at)
            },
        }
        config = document["HyperParameterTuningJobConfig"]
        is_auto = parsed.is_autotuned and parsed.strategy != "Hyperband"
        config.setdefault("TrainingJobEarlyStoppingType", "Auto" if is_auto else "Off")
        max_jobs = _grid_size(parsed) if parsed.strategy == "Grid" else parsed.max_jobs
        if max_jobs is not None:
            config["ResourceLimits"]["MaxNumberOfTrainingJobs"] = max_jobs  # a grid and Autotune have a default
        single = document.get("TrainingJobDefinition")
        definitions = [single] if single is not None else document["TrainingJobDefinitions"]
        for item, definition in zip(definitions, parsed.definitions, strict=True):
            static, objective = definition.request["HyperParameters"], objective_of(definition).name
            item["StaticHyperParameters"] = {**static, OBJECTIVE: objective}
            item["AlgorithmSpecification"] = described_algorithm(item["AlgorithmSpecification"], objective)
            item.setdefault("ResourceConfig", _first_machine(definition.request["ResourceConfig"]))
        shared = config.get("ParameterRanges")
        for ranges in (shared, *(item.get("HyperParameterRanges") for item in definitions)):
            for kind in RANGES if ranges is not None else ():
                ranges.setdefault(kind, [])  # SageMaker adds them, and `attach` of SDK 2.x needs them
        best = _best(summaries)
        if best is not None:
            document["BestTrainingJob"] = best
        overall = self._overall_best(record, best)
        if overall is not None and parsed.warm_start_type == "IdenticalDataAndAlgorithm":
            document["OverallBestTrainingJob"] = overall
        if record.ended_at is not None:
            document["HyperParameterTuningEndTime"] = record.ended_at
        if record.failure_reason:
            document["FailureReason"] = record.failure_reason
        document["TuningJobCompletionDetails"] = self._completion_details(record, parsed.definitions, summaries)
        return document

    def _completion_details(
        self, record: TuningRecord, definitions: Sequence[Definition], summaries: Sequence[Document]
    ) -> Document:
        known = [item for item in summaries if METRIC in item]
        known.sort(key=lambda item: (item.get("TrainingEndTime", 0.0), item["TrainingJobName"]))
        metric = objective_of(definitions[0])
        count = n_not_improving([item[METRIC]["Value"] for item in known], metric)
        details: Document = {"NumberOfTrainingJobsObjectiveNotImproving": count}
        if record.converged_at is not None:
            details["ConvergenceDetectedTime"] = record.converged_at
        return details

    def _overall_best(self, record: TuningRecord, best: Document | None) -> Document | None:
        """Return the best training job of a tuning job and its parents."""
        candidates = [] if best is None else [best]
        for name in record.parsed().parents:
            parent = self._table.get(name)
            if parent is not None:
                candidates += self._training_jobs(parent)
        return _best(candidates)

    def _training_jobs(self, record: TuningRecord) -> list[Document]:
        """Return the summaries of the training jobs that exist, oldest first."""
        definitions = record.parsed().definitions
        pairs = ((launch, self._job_table.get(launch.job_name)) for launch in record.launches)
        return [
            _training_job_summary(record, definitions[launch.definition], launch, job)
            for launch, job in pairs
            if job is not None
        ]

    def _find(self, request: Request, region: str) -> TuningRecord:
        name = request["HyperParameterTuningJobName"]
        record = self._table.get(name)
        if record is None or record.region != region:
            raise ApiError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with name {name}.")
        return record


METRIC = "FinalHyperParameterTuningJobObjectiveMetric"
JOB_SORT_KEYS: Mapping[str, Callable[[Document], tuple[Any, ...]]] = {
    "Name": lambda item: (item["TrainingJobName"],),
    "CreationTime": lambda item: (item["CreationTime"], item["TrainingJobName"]),
    "Status": lambda item: (item["TrainingJobStatus"], item["TrainingJobName"]),
    "FinalObjectiveMetricValue": lambda item: (item[METRIC]["Value"], item["TrainingJobName"]),
}
FILTERS: Mapping[str, Callable[[TuningRecord, Any], bool]] = {
    **paging.SHARED_FILTERS,
    "StatusEquals": lambda record, status: record.status == status,
}
OF_SUMMARY = (
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobStatus",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
)
# Fields of a tuning job in EventBridge events, besides Tags. Source: the AWS documentation, and an event of AWS.
EVENT_FIELDS = (
    *OF_SUMMARY,
    "HyperParameterTuningJobConfig",
    "TrainingJobDefinition",
    "TrainingJobDefinitions",
)
EVENT_TIMES = frozenset({"CreationTime", "HyperParameterTuningEndTime", "LastModifiedTime"})
RANGES = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


def _refuse_first(broken: Iterator[str]) -> None:
    """Raise ApiError for the first broken rule."""
    for message in broken:
        raise api_error.invalid(message)


def tuning_job_arn(region: str, name: str) -> str:
    """Return the ARN of a tuning job."""
    return f"arn:aws:sagemaker:{region}:{api_error.ACCOUNT}:{RESOURCE}/{name}"


def _grid_size(job: TuningJob) -> int:
    """Return the number of training jobs of a grid search."""
    return sum(definition.config.space.grid_size or 0 for definition in job.definitions)


def _first_machine(resources: Document) -> Document:
    """Return a ResourceConfig with the preferred instance type. SDK 2.x sends none, and its `attach` needs one."""
    rest = {name: value for name, value in resources.items() if name != "InstancePreferences"}
    return {**rest, **next(iter(resources.get("InstancePreferences", ())), {})}


def _summary(description: Document) -> Document:
    config = description["HyperParameterTuningJobConfig"]
    document = {name: description[name] for name in OF_SUMMARY if name in description}
    return {**document, "Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}


def _training_job_summary(record: TuningRecord, definition: Definition, launch: Launch, job: Job) -> Document:
    metric = objective_of(definition)
    value = final_objective(job, metric.name)
    ended = "Succeeded" if value is not None else "Failed"
    document: Document = {
        "TrainingJobDefinitionName": definition.name,
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TuningJobName": record.name,
        "CreationTime": job.created_at,
        "TrainingStartTime": job.started_at,
        "TrainingEndTime": job.ended_at,
        "TrainingJobStatus": job.status,
        "TunedHyperParameters": {name: parameter_text(item) for name, item in launch.params.items()},
        "FailureReason": job.failure_reason,
        "ObjectiveStatus": ended if job.is_terminal else "Pending",
    }
    if value is not None:
        kind = "Minimize" if metric.goal.sign == 1 else "Maximize"
        document[METRIC] = {"Type": kind, "MetricName": metric.name, "Value": value}
    return {name: item for name, item in document.items() if item not in (None, "")}


def _best(summaries: Sequence[Document]) -> Document | None:
    best: Document | None = None
    for item in summaries:
        if METRIC in item and (best is None or _is_better(item[METRIC], best[METRIC])):
            best = item
    return best


def _is_better(a: Document, b: Document) -> bool:
    return bool(a["Value"] < b["Value"] if a["Type"] == "Minimize" else a["Value"] > b["Value"])


def _status_counters(summaries: Sequence[Document]) -> Document:
    counts = Counter(_counter_of(item) for item in summaries)
    names = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
    return {name: counts[name] for name in names}


def _counter_of(summary: Document) -> str:
    status: str = summary["TrainingJobStatus"]
    if status == "Failed":
        is_internal = summary.get("FailureReason", "").startswith("InternalServerError")
        return "RetryableError" if is_internal else "NonRetryableError"
    return "InProgress" if status == "Stopping" else status


def _objective_counters(summaries: Sequence[Document]) -> Document:
    counts = Counter(item["ObjectiveStatus"] for item in summaries)
    return {name: counts[name] for name in ("Succeeded", "Pending", "Failed")}
