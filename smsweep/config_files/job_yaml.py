"""Read a job.yaml, which describes a trial's job with the arguments of the SageMaker estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from smsweep.config_files.document import Document, Problems, non_finite, show
from smsweep.config_files.from_python import from_mapping, to_yaml
from smsweep.config_files.job_models import (
    ConfirmSection,
    JobSection,
    NotifySection,
    PlaceSection,
    ResourcesSection,
    SearchSection,
)
from smsweep.config_files.job_request import OWN_PLACES, build_request, home_expanded, key_of, local_path
from smsweep.config_files.job_rules import UNSUPPORTED_KEYS, check_rules, instance_type_problem
from smsweep.config_files.validation import check, unknown_key
from smsweep.config_files.yaml_reader import read_file, read_yaml
from smsweep.core.distributed_launch import launch
from smsweep.core.job import (
    DEFAULT_MAX_RUN_S,
    EVENTS,
    Confirm,
    Hook,
    JobTemplate,
    PlaceSpec,
    Price,
    SearchSettings,
    parse_place,
)
from smsweep.core.resources import Resources
from smsweep.errors import ConfigError, UsageError
from smsweep.space.belief import Belief
from smsweep.space.structure import Allowed, Condition

SPOT_WAIT_S = 86_400  # wait for a spot instance at a place, if job.yaml has no max_wait
# Keys of job.yaml that are the same at all places.
OF_SWEEP = frozenset(
    {
        *(
            "agent",
            "budget",
            "confirm",
            "entrypoint",
            "in_place",
            "metric_definitions",
            "notify",
            "places",
            "repeats",
            "retries",
            "search",
        ),
        *("secrets", "secrets_env", "source_dir", "stop_if", "tracking"),
    }
)
FRAMEWORK_KEYS = (
    "framework",
    "framework_version",
    "py_version",
    "transformers_version",
    "pytorch_version",
    "tensorflow_version",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedJob:
    """A job template and the warnings for its author."""

    template: JobTemplate
    warnings: tuple[str, ...]  # one line each, with file and line if known
    text: str  # the YAML to store with the sweep, with absolute paths; it reads as the same template
    source: Document | None = None  # the document as read, for messages with lines


def read_job(path: Path) -> ParsedJob:
    """Read a job.yaml. Raises NotFound, or ConfigError with all errors of the file."""
    return _parse(read_file(path), path.absolute().parent)


def parse_job(document: Mapping[str, Any] | str, *, name: str = "<job>", folder: Path | None = None) -> ParsedJob:
    """Read a job's settings from a dict or from YAML text. Both may be empty; a dict is not modified.

    Args:
        document: The settings.
        name: Replaces the file name in messages about a text.
        folder: Base of relative paths. None means the working directory.

    Raises:
        ConfigError: With all errors of the document.
    """
    parsed = read_yaml(document, name) if isinstance(document, str) else from_mapping(document)
    return _parse(parsed, folder or Path.cwd())


def parse_stored_job(text: str) -> JobTemplate:
    """Read the job.yaml of a stored sweep. It was validated when the sweep was created.

    The limits of the SageMaker API are not checked again, so botocore is not imported.

    Args:
        text: YAML with absolute paths; "" for a sweep without a job.yaml.

    Returns:
        The job template.

    Raises:
        ConfigError: If the text is not a valid job.yaml.
    """
    return _parse(read_yaml(text, "job.yaml"), Path.cwd(), checks_limits=False).template if text else JobTemplate()


def _parse(document: Document, folder: Path, *, checks_limits: bool = True) -> ParsedJob:
    data, problems = {} if document.data is None else document.data, Problems(document)
    if not isinstance(data, dict):
        problems.add((), f"expected keys such as instance_type and role, got {show(data)}")
        problems.raise_errors()
    for path in non_finite(data):
        problems.add(path, "not a finite number")
    known = {key: value for key, value in data.items() if key not in UNSUPPORTED_KEYS}
    job = check(JobSection, known, (), problems)
    check_rules(data, folder, problems)
    problems.raise_errors()
    assert job is not None
    request = build_request(job, folder)
    if checks_limits:
        _check_limits(request, job, problems)
    command = _launch(job, request, problems)
    problems.raise_errors()
    resolved = _with_absolute_paths(data, folder)
    template = JobTemplate(
        request=request,
        framework={key: value for key in FRAMEWORK_KEYS if (value := getattr(job, key)) is not None},
        source_dir=str(_source_dir(job.source_dir, folder)) if job.source_dir else "",
        runs_image=job.entrypoint == "image",
        in_place=bool(job.in_place),
        command=command,
        secrets=dict(job.secrets or {}),
        carries_secrets_env=bool(job.secrets_env),
        metric_definitions=_metric_definitions(request),
        retries=job.retries.model_dump(exclude_unset=True) if job.retries else {},
        repeats=job.repeats or 1,
        confirm=_confirm(job.confirm),
        search=_search(job.search) if job.search else SearchSettings(),
        stop_if=tuple(job.stop_if or ()),
        price=Price(per_hour=job.price_per_hour) if isinstance(job.price_per_hour, float) else None,
        asks_price=job.price_per_hour == "aws",
        tracking=job.tracking.model_dump(exclude_none=True) if job.tracking else {},
        notify=tuple(_hook(section) for section in job.notify or ()),
        resources=_resources(job.resources_per_trial),
        budget=job.budget.model_dump(exclude_none=True) if job.budget else {},
        places=_places(job, resolved, folder, problems, checks_limits=checks_limits),
        sbatch=dict(job.sbatch or {}),
        agent=job.agent.model_dump(exclude_none=True) if job.agent else {},
        document=resolved,
    )
    problems.raise_errors()
    text = document.text if resolved == data else to_yaml(resolved)
    return ParsedJob(template=template, warnings=problems.warnings, text=text, source=document)


def _allowed(values: Any) -> Allowed:
    if isinstance(values, dict):
        return Allowed(min=values.get("min"), max=values.get("max"))
    return Allowed(values=tuple(values) if isinstance(values, list) else (values,))


def _confirm(section: ConfirmSection | None) -> Confirm | None:
    if section is None:
        return None
    return Confirm(top=section.top, trials=section.trials or section.top * section.repeats)


def at_place(document: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of job.yaml at a place.

    Args:
        document: The job.yaml, with absolute paths.
        overlay: The keys that differ at the place.
    """
    merged = {**document, **overlay}
    merged.pop("places", None)
    if not merged.get("use_spot_instances"):
        merged.pop("max_wait", None)
    elif "max_wait" not in merged:
        merged["max_wait"] = merged.get("max_run", DEFAULT_MAX_RUN_S) + SPOT_WAIT_S
    return merged


def _places(
    job: JobSection, resolved: Mapping[str, Any], folder: Path, problems: Problems, *, checks_limits: bool
) -> tuple[PlaceSpec, ...]:
    """Return the places, after a check of the job at each."""
    specs: list[PlaceSpec] = []
    for index, section in enumerate(job.places or ()):
        overlay = {key: resolved["places"][index][key] for key in section.model_extra or {}}
        name = section.name or section.backend
        for key in sorted(overlay.keys() & OF_SWEEP):
            problems.add(("places", index, key), "belongs to the whole sweep; move it to the top of job.yaml")
        known_keys = [*PlaceSection.model_fields, *sorted(JobSection.model_fields.keys() - OF_SWEEP)]
        unknown = overlay.keys() - JobSection.model_fields.keys() - UNSUPPORTED_KEYS.keys()
        for key in sorted(unknown):
            problems.add(("places", index, key), unknown_key(key, known_keys))
        if "/" in name:
            problems.add(("places", index, "name"), "must not contain a slash; choose another name")
        elif not _is_place_name(name):
            problems.add(
                ("places", index, "name"), f"--on cannot select {show(name)}; choose a name without a colon"
            )
        if any(spec.name == name for spec in specs):
            problems.add(("places", index), f"{name} exists already; give this place another name")
        for machine in section.instance_type or ():
            if problem := instance_type_problem(machine):
                problems.add(("places", index, "instance_type"), problem)
        first = {"instance_type": section.instance_type[0]} if section.instance_type else {}
        if not (overlay.keys() & OF_SWEEP or unknown or problems.any_in(("places", index, "instance_type"))):
            try:
                placed = from_mapping(at_place(resolved, {**overlay, **first}))
                request = _parse(placed, folder, checks_limits=checks_limits).template.request
            except ConfigError as err:
                for problem in err.problems:
                    problems.add(("places", index), problem)
            else:
                _check_regions(section.region or (), request, ("places", index, "region"), problems)
        specs.append(
            PlaceSpec(
                name=name,
                backend=section.backend,
                slots=section.slots,
                give_up_s=section.give_up_after,
                regions=tuple(section.region or ()),
                instance_types=tuple(section.instance_type or ()),
                overlay=overlay,
            )
        )
    return tuple(specs)


def _is_place_name(name: str) -> bool:
    try:
        place = parse_place(name)
    except UsageError:
        return False
    return place.name == name


def _check_regions(
    regions: Sequence[str], request: Mapping[str, Any], path: tuple[str | int, ...], problems: Problems
) -> None:
    """Refuse several regions if the request names a bucket. AWS accepts only buckets of the job's region."""
    if len(set(regions)) < 2:
        return
    sources = [each.get("DataSource", {}).get("S3DataSource", {}) for each in request.get("InputDataConfig", [])]
    uris = [
        request.get("OutputDataConfig", {}).get("S3OutputPath", ""),
        *(each.get("S3Uri", "") for each in sources),
    ]
    for uri in [uri for uri in uris if uri.startswith("s3://")]:
        problems.add(
            path,
            f"{uri} is in one region, and SageMaker accepts only buckets in the job's region; write one place per "
            "region, each with its own output_path and inputs. Without output_path, a region uses its default "
            "bucket",
        )


def _launch(job: JobSection, request: Mapping[str, Any], problems: Problems) -> tuple[str, ...]:
    try:
        distribution = job.distribution.model_dump(exclude_none=True) if job.distribution else {}
        return launch(distribution, request.get("ResourceConfig", {}))
    except ValueError as err:
        problems.add(("distribution",), str(err))
        return ()


def _search(section: SearchSection) -> SearchSettings:
    beliefs = {
        name: Belief(around=belief.around, confidence=belief.confidence)
        for name, belief in (section.beliefs or {}).items()
    }
    conditions = (
        Condition(parameter=name, when={other: _allowed(values) for other, values in each.when.items()})
        for name, each in (section.conditions or {}).items()
    )
    return SearchSettings(
        cost=section.cost,
        distinct=section.distinct,
        conditions=tuple(conditions),
        constraints=tuple(section.constraints or ()),
        beliefs=beliefs,
        outcome_constraints=tuple(section.outcome_constraints or ()),
        start_points=tuple(section.start_points or ()),
    )


def _resources(section: ResourcesSection | None) -> Resources:
    if section is None:
        return Resources()
    return Resources(gpus=section.gpus, cpus=section.cpus, memory_bytes=section.memory)


def _hook(section: NotifySection) -> Hook:
    return Hook(
        url=section.url or "",
        command=tuple(section.command or ()),
        events=tuple(section.events or EVENTS),
        headers=dict(section.headers or {}),
    )


def _check_limits(request: Mapping[str, Any], job: JobSection, problems: Problems) -> None:
    if not request:
        return
    # imported late: botocore and its model take a third of a second to load
    api = import_module("smsweep.config_files.api_messages")
    for place, text in api.violations(request):
        problems.add(key_of(place, job), text)
    if job.instance_type and api.unknown_instance_type(job.instance_type):
        problems.warn(
            ("instance_type",),
            f"{job.instance_type} is unknown to the installed botocore; check the spelling, or update botocore",
        )


def _metric_definitions(request: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    definitions = request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
    return tuple((definition["Name"], definition["Regex"]) for definition in definitions)


def _source_dir(source_dir: str, folder: Path) -> Path:
    return (folder / home_expanded(source_dir)).absolute()


def _with_absolute_paths(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the document with absolute paths, because it may be read in another folder."""
    resolved = dict(data)
    if "source_dir" in data:
        resolved["source_dir"] = str(_source_dir(data["source_dir"], folder))
    for key in ("inputs", *OWN_PLACES):
        if key in data:
            resolved[key] = _resolved(data[key], folder)
    if isinstance(data.get("places"), list):
        places = (_long_form(place) for place in data["places"])
        resolved["places"] = [_with_absolute_paths(place, folder) for place in places]
    return resolved


def _long_form(place: Any) -> Any:
    return PlaceSection.model_validate(place).model_dump(exclude_none=True) if isinstance(place, str) else place


def _resolved(value: Any, folder: Path) -> Any:
    """Return a value with every file:// path made absolute."""
    if isinstance(value, dict):
        return {key: _resolved(item, folder) for key, item in value.items()}
    if isinstance(value, str) and value.startswith("file://"):
        return f"file://{local_path(value, folder)}"
    return value
