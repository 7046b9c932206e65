"""SageMaker's hyperparameter tuning jobs as sweeps, as prior runs and as an export.

A tuning job is a HyperparameterTuner of the SDK, a CreateHyperParameterTuningJob request, or the name of an
existing tuning job.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from smsweep.aws import request_model, s3_transfer, tuning_jobs
from smsweep.aws.client import Aws
from smsweep.aws.image_uris import algorithm_of_aws, image_uri, machines
from smsweep.aws.job_template import PREFIX as BUCKET_PREFIX
from smsweep.aws.job_template import bucket_of, mark_source, prepare
from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.tuning_job import (
    OBJECTIVE,
    TuningJob,
    job_document,
    read_tuning_job,
    sweep_document,
)
from smsweep.config_files.tuning_job_request import tuning_job_request
from smsweep.core.job import DEFAULT_MAX_RUN_S, SOURCE_TAR, JobTemplate
from smsweep.core.sweep import DEFAULT_COMMAND, Sweep, SweepConfig
from smsweep.engine.job_request import plain_text
from smsweep.errors import ConfigError, NotFound, SourceError, UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.source_folder import unpack
from smsweep.sagemaker_sdk.compiled import SdkTuner, tuner_parts
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.sweeps.load import (
    RUNS_IMAGE,
    TUNING_JOB,
    EstimatorJob,
    TunerLike,
    TunerSweep,
    compile_estimator,
    is_tuning_job,
    with_hyperparameters,
)
from smsweep.services.workspace import Workspace
from smsweep.source.pack import refuse_upload
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util import atomic_file
from smsweep.wandb_compat.runs_table import CsvRow, RunsCsv, read_rows

log = logging.getLogger(__name__)

MAX_NAME = 32  # API: of a tuning job
MAX_SEED = 2**31  # API: RandomSeed is a signed 32-bit number
MAX_PROBLEMS = 5  # in one message
SOURCE = "source"  # folder that `write_files` unpacks the source into
TOOLKIT = "sagemaker_"  # prefix of hyperparameters for AWS's toolkit, which are not params
ENABLED = "_enabled"
PROGRAM, SUBMIT_DIRECTORY = "sagemaker_program", "sagemaker_submit_directory"
MPI = {
    "sagemaker_mpi_num_of_processes_per_host": "processes_per_host",
    "sagemaker_mpi_custom_mpi_options": "custom_mpi_options",
}
STATES = {
    "Completed": "finished",
    "Failed": "failed",
    "Stopped": "stopped",
}  # status of a training job -> of a run


def read_tuner(tuner: TunerLike, inputs: Any, environ: Mapping[str, str]) -> TunerSweep:
    """Convert a tuning job to a sweep.

    Args:
        tuner: A HyperparameterTuner of the SageMaker SDK (v2 or v3), a CreateHyperParameterTuningJob request, the
            path of a JSON file with one, or the name of an existing tuning job.
        inputs: Inputs of a HyperparameterTuner, as its `fit` or `tune` accepts them.
        environ: The user's environment variables.

    Raises:
        ConfigError: If the tuning job is not valid, or has a feature without a counterpart. Lists all problems.
        NotFound: If SageMaker has no such tuning job.
        UsageError: If the object is no tuning job, or the file is not JSON.
        SourceError: If the object contains a secret.
    """
    if isinstance(tuner, (str, Path)):
        if inputs is not None:
            raise UsageError("inputs: the tuning job has its own; remove inputs")
        return _of_request(_read_request(str(tuner), environ))
    if isinstance(tuner, Mapping):
        return _of_request(tuner)
    return _of_sdk(tuner_parts(tuner), inputs)


def _read_request(source: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the request in a JSON file, or of the tuning job with a name."""
    path = Path(source)
    if not path.is_file():
        if source.lower().endswith(".json") or "/" in source.removeprefix(TUNING_JOB):
            raise NotFound(f"{source}: no such file; give a JSON file, or the name of a tuning job")
        with closing(Aws(environ)) as aws:
            return tuning_jobs.as_request(tuning_jobs.describe_tuning_job(aws, source.removeprefix(TUNING_JOB)))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:  # ValueError: not JSON, or not UTF-8
        raise UsageError(
            f"{source}: cannot be read as JSON: {err}; give a CreateHyperParameterTuningJob request"
        ) from err
    if not isinstance(document, dict):
        raise UsageError(
            f"{source}: expected a CreateHyperParameterTuningJob request, got a {type(document).__name__}"
        )
    is_description = "HyperParameterTuningJobStatus" in document  # of `aws sagemaker describe-...`
    return tuning_jobs.as_request(document) if is_description else document


def _of_request(request: Mapping[str, Any]) -> TunerSweep:
    problems = _broken_rules(request)
    if problems:
        raise ConfigError([f"tuner: {problem}" for problem in problems])
    parsed = read_tuning_job(request)
    sweep = sweep_document(parsed)
    (definition,) = parsed.definitions
    static: Mapping[str, str] = definition.request["HyperParameters"]
    document = job_document(definition)
    program = str(_decoded(static.get(PROGRAM, "")))
    submit = str(_decoded(static.get(SUBMIT_DIRECTORY, "")))
    if program:
        sweep["parameters"] = {name: _without_quotes(item) for name, item in sweep["parameters"].items()}
        kept = {name: text for name, text in static.items() if not name.startswith(TOOLKIT) and name != OBJECTIVE}
        document = with_hyperparameters(document, kept) | _distribution(static)
    else:
        document = with_hyperparameters(document, static) | RUNS_IMAGE
    if parsed.tags:
        document["tags"] = dict(parsed.tags)
    refuse_secrets(scan_text("tuner", to_yaml(document)))
    job = EstimatorJob(document=document, program=program, command=(), backend="sagemaker")
    return _made(parsed, sweep, job, submit if submit.startswith("s3://") else "")


def _broken_rules(request: Mapping[str, Any]) -> list[str]:
    """Return why the API model refuses a request; [] if it does not."""
    broken = request_model.violations(tuning_jobs.CREATE, request)
    return [request_model.words(item) for item in islice(broken, MAX_PROBLEMS)]


def _of_sdk(parts: SdkTuner, inputs: Any) -> TunerSweep:
    job = compile_estimator(parts.estimator, inputs, None)
    assert job is not None
    document = {**job.document, "request": dict(job.document.get("request", {}))}
    request: dict[str, Any] = document["request"]
    definition: dict[str, Any] = {
        "AlgorithmSpecification": {**request.get("AlgorithmSpecification", {})},
        "StaticHyperParameters": request.get("HyperParameters", {}),
    }
    if parts.metric_definitions:
        definition["AlgorithmSpecification"]["MetricDefinitions"] = list(parts.metric_definitions)
    if parts.instance_configs:
        definition["HyperParameterTuningResourceConfig"] = {"InstanceConfigs": list(parts.instance_configs)}
    else:
        definition["ResourceConfig"] = request.get("ResourceConfig", {})
    config = parts.request["HyperParameterTuningJobConfig"]
    searched = {item["Name"] for ranges in (config.get("ParameterRanges") or {}).values() for item in ranges}
    definition["StaticHyperParameters"] = {
        name: text
        for name, text in definition["StaticHyperParameters"].items()
        if name not in searched and not (job.program and name.startswith(TOOLKIT))
    }
    parsed = read_tuning_job(
        {"HyperParameterTuningJobName": "tuner", **parts.request, "TrainingJobDefinition": definition}
    )
    (read,) = parsed.definitions
    sweep = {key: value for key, value in sweep_document(parsed).items() if key != "name"}
    request["AlgorithmSpecification"] = definition["AlgorithmSpecification"]
    if read.request["ResourceConfig"]:
        request["ResourceConfig"] = read.request["ResourceConfig"]
    static = definition["StaticHyperParameters"]
    if not job.program:
        texts = {**(job.texts or {}), **parts.texts}
        static = {name: texts.get(name, text) for name, text in static.items()}
        static[OBJECTIVE] = config["HyperParameterTuningJobObjective"]["MetricName"]
        document |= RUNS_IMAGE
    if parsed.tags:
        tags = {tag["Key"]: tag["Value"] for tag in request.pop("Tags", ())}
        document["tags"] = {**tags, **parsed.tags}
    document = with_hyperparameters(document, static)
    return _made(parsed, sweep, replace(job, document=document, texts=None), "")


def _made(parsed: TuningJob, sweep: dict[str, Any], job: EstimatorJob, source_uri: str) -> TunerSweep:
    if parsed.ends_on_convergence:
        log.warning("Autotune: a sweep does not end on convergence; it runs all %s trials", sweep.get("run_cap"))
    return TunerSweep(
        sweep=sweep,
        job=job,
        max_parallel=parsed.max_parallel,
        seed=parsed.seed,
        prior_runs=tuple(TUNING_JOB + name for name in parsed.parents),
        source_uri=source_uri,
    )


def _distribution(static: Mapping[str, str]) -> dict[str, Any]:
    """Return the key `distribution` for the hyperparameters of AWS's toolkit."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, text in static.items():
        if name.startswith(TOOLKIT) and name.endswith(ENABLED) and _decoded(text) is True:
            kind = name.removeprefix(TOOLKIT).removesuffix(ENABLED)
            kinds[{"pytorch_ddp": "pytorchddp"}.get(kind, kind)] = {"enabled": True}
    unknown = kinds.keys() - {"torch_distributed", "pytorchddp", "mpi"}
    if unknown:
        name = min(unknown)
        raise ConfigError(
            f"tuner: StaticHyperParameters: {TOOLKIT}{name}{ENABLED}: only AWS's toolkit has this launcher, but "
            "in a sweep smsweep starts the script; use torch_distributed"
        )
    if "mpi" in kinds:
        kinds["mpi"] |= {key: _decoded(static[name]) for name, key in MPI.items() if static.get(name)}
    return {"distribution": kinds} if kinds else {}


def _without_quotes(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter with texts that the SDK has encoded as JSON decoded."""
    return {
        key: [_unquoted(item) for item in value] if isinstance(value, list) else _unquoted(value)
        for key, value in parameter.items()
    }


def _unquoted(value: Any) -> Any:
    decoded = _decoded(value) if isinstance(value, str) and value.startswith('"') else value
    return decoded if isinstance(decoded, str) else value


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def source_folder(made: TunerSweep, environ: Mapping[str, str]) -> Iterator[Path | None]:
    """Download the source of a tuning job into a temporary folder; yield None without a source in S3.

    Raises:
        NotFound: If the archive does not exist.
        SourceError: If it cannot be unpacked.
        JobError: If AWS refuses.
    """
    if not made.source_uri:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="smsweep-") as folder:
        target = Path(folder, SOURCE)
        _download(made.source_uri, target, environ)
        yield target


def _download(uri: str, target: Path, environ: Mapping[str, str]) -> None:
    archive = target.with_name(f".{target.name}.tar.gz")
    try:
        with closing(Aws(environ)) as aws:
            s3_transfer.fetch(aws, uri, archive)
        unpack(str(archive), str(target))
    except JobFailure as err:
        raise SourceError(f"{SUBMIT_DIRECTORY}: {uri}: {err}; give the script with --program") from err
    finally:
        archive.unlink(missing_ok=True)


def write_files(made: TunerSweep, environ: Mapping[str, str], *, program: str | None = None) -> list[Path]:
    """Write sweep.yaml and job.yaml, and the source of a tuning job in S3, into the working directory.

    sweep.yaml is written last.

    Args:
        made: The sweep.
        environ: The user's environment variables.
        program: Script on this machine that runs instead of the tuning job's.

    Returns:
        The files and the folder.

    Raises:
        UsageError: If one of them exists.
        NotFound: If the archive of the source does not exist.
        SourceError: If it cannot be unpacked.
    """
    sweep_yaml, job_yaml, source = Path("sweep.yaml"), Path("job.yaml"), Path(SOURCE)
    has_source = bool(made.source_uri and not program)
    for path in (sweep_yaml, job_yaml, *([source] if has_source else [])):
        if os.path.lexists(path):
            raise UsageError(f"{path}: exists; move it, or run in an empty folder")
    document, written = made.job.document, []
    if has_source:
        with tempfile.TemporaryDirectory(
            prefix=f".{SOURCE}-", dir="."
        ) as folder:  # a killed command leaves no part
            unpacked = Path(folder, SOURCE)
            _download(made.source_uri, unpacked, environ)
            unpacked.rename(source)
        document = {"source_dir": SOURCE, **document}
        written.append(source)
    program = program or made.job.program
    sweep = {**({"program": program} if program else {}), **made.sweep}
    for path, content in ((job_yaml, document), (sweep_yaml, sweep)):
        atomic_file.write_output(path, partial(_write, to_yaml(content)), force=False)
        written.append(path)
    return written


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def read_prior_runs(prior: str, config: SweepConfig, environ: Mapping[str, str]) -> RunsCsv:
    """Return the training jobs of a tuning job that a search can use.

    Args:
        prior: "tuning-job/NAME".
        config: The sweep whose search uses the runs.
        environ: The user's environment variables.

    Raises:
        NotFound: If SageMaker has no such tuning job.
        UsageError: If the name is missing.
        JobError: If AWS refuses.
    """
    name = prior.removeprefix(TUNING_JOB)
    if not name or "/" in name:
        raise UsageError(f"{prior!r} is not a tuning job; write {TUNING_JOB}NAME")
    wanted = [metric.name for metric in config.all_metrics]
    with closing(Aws(environ)) as aws:
        described = tuning_jobs.describe_tuning_job(aws, name)
        single = described.get("TrainingJobDefinition")
        definitions = {
            item.get("DefinitionName", ""): item.get("StaticHyperParameters", {})
            for item in ([single] if single else described.get("TrainingJobDefinitions", ()))
        }
        rows = [_row(aws, summary, definitions, wanted) for summary in tuning_jobs.list_training_jobs(aws, name)]
    return read_rows(prior, rows, config.space, config.all_metrics)


def _row(
    aws: Aws,
    summary: Mapping[str, Any],
    definitions: Mapping[str, Mapping[str, str]],
    wanted: Sequence[str],
) -> CsvRow:
    """Return a training job as a row of a table of runs."""
    status = summary["TrainingJobStatus"]
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric")
    values = {objective["MetricName"]: float(objective["Value"])} if objective else {}
    if status in ("Completed", "Stopped") and not values.keys() >= {*wanted}:
        values = {**tuning_jobs.final_metrics(aws, summary["TrainingJobName"]), **values}
    state = STATES.get(status, "running")
    if state == "stopped" and not values:
        state = "killed"  # by a user, before it reported a value
    static = definitions.get(summary.get("TrainingJobDefinitionName", ""), next(iter(definitions.values()), {}))
    params = {**static, **summary.get("TunedHyperParameters", {})}
    return {
        "Name": summary["TrainingJobName"],
        "State": state,
        **{f"config.{key}": str(_unquoted(text)) for key, text in params.items()},
        **{f"summary.{key}": repr(value) for key, value in values.items()},
    }


def export_request(store: Store, sweep: Sweep, workspace: Workspace) -> dict[str, Any]:
    """Return a sweep as a CreateHyperParameterTuningJob request. Upload the source, which its training jobs read.

    Args:
        store: The store.
        sweep: The sweep.
        workspace: The workspace.

    Raises:
        ConfigError: If the sweep has a feature without a counterpart. Lists all of them; nothing is uploaded.
        SourceError: If the source snapshot is not on this machine, or contains a secret.
        JobError: If AWS refuses the upload.
    """
    template, config = sweep.job, sweep.config
    problems = list(_without_counterpart(template, config))
    job = {name: value for name, value in template.request.items() if name != "Environment" or value}
    algorithm = dict(job.get("AlgorithmSpecification", {}))
    with closing(Aws(workspace.environ)) as aws:
        region = aws.region
    if "TrainingImage" not in algorithm and template.framework:
        algorithm["TrainingImage"] = image_uri(template.framework, region, machines(job))
    if template.runs_image and algorithm_of_aws(algorithm.get("TrainingImage", "")):
        algorithm.pop("MetricDefinitions", None)  # SageMaker rejects others than the algorithm's own
    elif config.metric and config.metric.name not in dict(template.metric_definitions):
        problems.append(
            f"metric.name: a tuning job reads {config.metric.name} from the log; add its regex to "
            "metric_definitions in job.yaml"
        )
    if algorithm:
        job["AlgorithmSpecification"] = algorithm
    if "RoleArn" in job:
        bucket, _ = bucket_of(job, region)
        job.setdefault("OutputDataConfig", {"S3OutputPath": f"s3://{bucket}/{BUCKET_PREFIX}/jobs"})
    job.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUN_S})
    runs = notes.PRIOR_READ_RUNS.get(store, sweep.id)
    sources = [str(run.get("source", "")) for run in runs]
    parents = [text.removeprefix(TUNING_JOB) for text in dict.fromkeys(sources) if is_tuning_job(text)]
    if sweep.prior_runs or any(not is_tuning_job(text) for text in sources):
        log.warning("prior runs: a tuning job can start only from tuning jobs; the request has no others")
    try:
        request = tuning_job_request(
            config,
            job,
            name=_tuning_job_name(sweep),
            seed=sweep.seed % MAX_SEED,
            parents=parents,
            text_of=plain_text if template.runs_image else json.dumps,
        )
        problems += _broken_rules(request)
    except ConfigError as err:
        problems += err.problems
    if problems:
        raise ConfigError(problems)
    if not template.runs_image:
        request["TrainingJobDefinition"].setdefault("StaticHyperParameters", {}).update(
            {
                PROGRAM: json.dumps(config.program),
                SUBMIT_DIRECTORY: json.dumps(_upload(template, sweep, workspace)),
                f"{TOOLKIT}region": json.dumps(region),
            }
        )
    return request


def _without_counterpart(template: JobTemplate, config: SweepConfig) -> Iterator[str]:
    """Yield the settings of a sweep's jobs that tuning jobs do not have."""
    settings = {
        "budget": template.budget,
        "confirm": template.confirm,
        "places": template.places,
        "repeats": template.repeats > 1,
        "retries": template.document.get("retries"),
        "search": template.document.get("search"),
        "secrets": template.secrets,
        "stop_if": template.stop_if,
    }
    for key, value in settings.items():
        if value:
            yield f"{key}: a tuning job has no counterpart; remove it from job.yaml"
    if config.scheduler:
        yield "scheduler: a tuning job has its own search; remove it from sweep.yaml"
    if template.runs_image:
        return
    if config.program is None:
        yield "program: missing; a tuning job runs a script or an image, not a function"
    if config.command_with(template.command) != DEFAULT_COMMAND:
        yield "command: AWS's toolkit starts the script with its own command; remove command and distribution"


def _tuning_job_name(sweep: Sweep) -> str:
    """Return a valid name that no other sweep has."""
    name = "-".join(re.findall("[a-zA-Z0-9]+", sweep.name))[: MAX_NAME - len(sweep.id) - 1].rstrip("-")
    return f"{name}-{sweep.id}" if name else f"smsweep-{sweep.id}"


def _upload(template: JobTemplate, sweep: Sweep, workspace: Workspace) -> str:
    """Upload the source as for training jobs, and return the URI of its archive."""
    refuse_upload(workspace.bundles_dir, sweep.source_hash)
    assets = workspace.assets(sweep.source_hash)
    _, site = prepare(template, assets, workspace.dir, workspace.environ, upload=True)
    mark_source(template, site.assets_uri, sweep.id, workspace.environ)
    return f"{site.assets_uri}/{SOURCE_TAR}"
