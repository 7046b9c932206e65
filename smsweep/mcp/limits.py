"""The limits of an MCP server, which the user sets at its start, and the checks of files and jobs against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from smsweep.aws.image_uris import machines
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.config_files.code_consent import Code
from smsweep.config_files.job_models import RetriesSection
from smsweep.config_files.job_request import PLACES
from smsweep.core.job import JobTemplate, Price
from smsweep.errors import ConfigError, UsageError
from smsweep.runtime.job.secrets import PREFIX as SECRET_PREFIX
from smsweep.services.agents.detach import costs_money

BY_USER = "only the user can do this, outside MCP"
# Fields of a request that jobs may have: those with a key of job.yaml. Others can start more machines, such as
# debugger rules, or use capacity that the user has reserved.
FIELDS = {place[0] for place in PLACES.values()} | {"HyperParameters"}
RESOURCES = {place[1] for place in PLACES.values() if place[0] == "ResourceConfig"} - {"TrainingPlanArn"}
STORAGE = ("InputDataConfig", "OutputDataConfig", "CheckpointConfig")  # fields with the locations of data
MAX_VOLUME_GB = 200  # per instance, because prices do not include storage
MOST_RETRIES: Mapping[str, int] = {name: field.default for name, field in RetriesSection.model_fields.items()}
# Containers on this machine get these variables of their agent.
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the tools of a server may do. No call can exceed or change these values."""

    max_trials: int  # of all sweeps that MCP created in this workspace
    budget_usd: float = 0.0  # dollars, reserved by all these sweeps
    backends: tuple[str, ...] = ("process", "docker")
    instance_types: Mapping[str, float | None] = field(
        default_factory=dict
    )  # type -> dollars per hour; None for the price of AWS's list
    roles: tuple[str, ...] = ()  # RoleArn of jobs
    folders: tuple[Path, ...]  # absolute, with links resolved
    workspace: Path  # absolute, with links resolved; jobs may not read or write its files

    def check(self) -> None:
        """Raise UsageError if the limits cannot hold together."""
        if not self.backends:
            raise UsageError("--backends: empty; name a backend, such as process")
        for name in self.backends:
            if name not in BACKENDS:
                raise UsageError(f"--backends: no backend {name!r}; use one of {', '.join(sorted(BACKENDS))}")
            if not costs_money(name):
                continue
            if backend_spec(name).ask_price is None:
                raise UsageError(f"--backends {name}: the price of its jobs is unknown; remove {name}")
            for option, value in (
                ("--budget-usd DOLLARS", self.budget_usd),
                ("--instance-types TYPE", self.instance_types),
                ("--role ARN", self.roles),
            ):
                if not value:
                    raise UsageError(f"--backends {name}: its jobs cost money; add {option}")
        for folder in self.folders:
            if not folder.is_dir():
                raise UsageError(f"--folder {folder}: no such folder; name an existing folder")

    def check_file(self, name: str, key: str) -> Path:
        """Return the path of a file in the allowed folders, with links resolved.

        Args:
            name: The path, relative to the first allowed folder.
            key: The argument that names the file, for the error.

        Raises:
            UsageError: If the file is outside the allowed folders or does not exist.
        """
        try:
            path = (self.folders[0] / name).resolve()
            self.check_inside(path, key)
            if path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # a name that is no path, or a loop of links
            pass
        raise UsageError(f"{key}: {name}: no such file; name a file in {self._listed()}")

    def check_inside(self, path: Path, key: str) -> None:
        """Raise UsageError if a path is outside the allowed folders."""
        if not any(path.resolve().is_relative_to(folder) for folder in self.folders):
            raise UsageError(f"{key}: {path} is outside the allowed folders; use {self._listed()}")

    def _listed(self) -> str:
        return " or ".join(map(str, self.folders))

    def check_backend(self, name: str) -> str:
        """Return the name of an allowed backend; the first one for "". Raises UsageError for any other backend."""
        name = name or self.backends[0]
        if name not in self.backends:
            raise UsageError(f"backend: {name} is not allowed; use {' or '.join(self.backends)}")
        return name

    def check_job(self, template: JobTemplate, backend: str) -> None:
        """Check the request of a job, after job.yaml's key `request` was applied.

        Raises:
            ConfigError: If the job has a field, a value or a file that is not allowed.
        """
        problems = [
            *self._role_problems(template.request),
            *(self._machine_problems(template.request) if costs_money(backend) else ()),
            *_field_problems(template),
            *self._file_problems(template.request, has_s3=costs_money(backend)),
        ]
        if problems:
            raise ConfigError([f"job.yaml: {problem}" for problem in problems])

    def _role_problems(self, request: Mapping[str, Any]) -> Iterator[str]:
        role = str(request.get("RoleArn", ""))
        if role and role not in self.roles:
            allowed = f"use {' or '.join(self.roles)}" if self.roles else "remove it"
            yield f"role: {role} is not allowed; {allowed}"

    def _machine_problems(self, request: Mapping[str, Any]) -> Iterator[str]:
        """Yield what can cost money in another way than by the price of an allowed instance type."""
        resources = request.get("ResourceConfig", {})
        types = machines(request)
        for name in types:
            if name not in self.instance_types:
                yield f"instance_type: {name} is not allowed; use {' or '.join(self.instance_types)}"
        if not types:
            yield "instance_type: missing, so the cost is unknown; add it"
        for name in sorted(resources.keys() - RESOURCES):
            yield f"ResourceConfig.{name}: not allowed, because its cost is unknown; remove it"
        if resources.get("VolumeSizeInGB", 0) > MAX_VOLUME_GB:
            yield f"volume_size: {resources['VolumeSizeInGB']} is not allowed; use at most {MAX_VOLUME_GB}"

    def _file_problems(self, request: Mapping[str, Any], *, has_s3: bool) -> Iterator[str]:
        """Yield the locations of data that are not allowed. has_s3: S3 is read with the role of the job."""
        for uri in _texts([request.get(name) for name in STORAGE]):
            scheme = _scheme(uri)
            if scheme == "s3" and not has_s3:
                yield f"{uri}: jobs on this machine read and write S3 with the user's credentials; use file://"
        for uri in _texts(request):
            if _scheme(uri) != "file":
                continue
            try:
                path = _path_of(uri)
                self.check_inside(path, uri)
            except (UsageError, ValueError, OSError, RuntimeError) as err:
                yield str(err)
                continue
            own, path = self.workspace, path.resolve()
            if path.is_relative_to(own) or own.is_relative_to(path):
                yield f"{uri}: contains smsweep's own files, or is one of them; use another folder"

    def price_of(self, template: JobTemplate, backend: str, environ: Mapping[str, str]) -> Price | None:
        """Return the price of an allowed job: from the user, else from AWS's list; None for a free backend.

        The price in job.yaml is ignored, because the client can write any price there.

        Raises:
            SmsweepError: If AWS does not return a price.
        """
        ask_price = backend_spec(backend).ask_price
        if ask_price is None:
            return None
        known = {name: self.instance_types[name] for name in dict.fromkeys(machines(template.request))}
        stated = {name: usd for name, usd in known.items() if usd is not None}
        if len(stated) == len(known):
            return Price(per_hour=max(stated.values()), by_type=stated)
        asked = ask_price(replace(template, asks_price=True, price=None), environ)
        by_type = {**asked.by_type, **stated}
        return Price(per_hour=max(by_type.values()), by_type=by_type)


def parse_instance_types(text: str) -> dict[str, float | None]:
    """Parse `TYPE[=USD]`, separated by commas. Raises UsageError."""
    types: dict[str, float | None] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, equals, usd = item.partition("=")
        try:
            types[name] = float(usd) if equals else None
        except ValueError:
            types[name] = -1.0
        if not name or not 0 < (1.0 if types[name] is None else float(types[name] or 0)) < float("inf"):
            raise UsageError(f"--instance-types: {item!r}; write TYPE, or TYPE=DOLLARS for its price per hour")
    return types


def refuse_all_code(codes: Sequence[Code]) -> None:
    """Raise ConfigError if a sweep has code that needs consent, even if the user has consented to it."""
    if codes:
        raise ConfigError(
            [f"{code.where}: it {code.what}; such code does not run through MCP; {BY_USER}" for code in codes]
        )


def _field_problems(template: JobTemplate) -> Iterator[str]:
    """Yield the keys of a job that no client may use."""
    for name in sorted(template.request.keys() - FIELDS):
        yield f"request.{name}: not allowed; remove it"
    if template.secrets:
        yield "secrets: an MCP client cannot pass secrets to jobs; remove it"
    for name in template.request.get("Environment", {}):
        if name.startswith(SECRET_PREFIX):
            yield f"environment.{name}: an MCP client cannot pass secrets to jobs; remove it"
    if template.carries_secrets_env:
        yield "secrets_env: an MCP client cannot pass secrets to jobs; remove it"
    if template.notify:
        yield "notify: an MCP client cannot send messages from the user's machine; remove it"
    if template.tracking:
        yield "tracking: an MCP client cannot write to other servers; remove it"
    if template.places:
        yield "places: a sweep of an MCP client runs on one backend; remove it"
    for name, n_retries in template.retries.items():
        if n_retries > MOST_RETRIES.get(name, 0):
            yield f"retries.{name}: {n_retries} is not allowed; use at most {MOST_RETRIES.get(name, 0)}"


def _texts(value: Any) -> Iterator[str]:
    """Yield each text in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _scheme(text: str) -> str:
    """Return the scheme of a URI in lower case; "file" for a text that no parser accepts."""
    try:
        return urlsplit(text.strip()).scheme
    except ValueError:
        return "file"


def _path_of(uri: str) -> Path:
    """Return the path of a file:// URI. Raises UsageError if parsers can disagree about the path."""
    path = Path(unquote(urlsplit(uri).path, errors="surrogateescape"))
    plain = f"file://{path}"
    if "%" in str(path) or not path.is_absolute() or uri.rstrip("/") not in (plain, path.as_uri()):
        raise UsageError(f"{uri}: escapes, queries and hosts are not allowed; write file:///PATH")
    return path
