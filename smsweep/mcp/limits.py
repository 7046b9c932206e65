"""The limits of an MCP server, which the user sets at its start, and the checks of files and jobs against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smsweep.aws.image_uris import machines
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.config_files.code_consent import Code
from smsweep.core.job import JobTemplate, Price
from smsweep.errors import ConfigError, UsageError
from smsweep.services.agents.detach import costs_money

FILE = "file://"
BY_USER = "only the user can do this, outside MCP"


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
            ConfigError: If the job has a role, an instance type, a secret, a place or a file that is not allowed.
        """
        problems = []
        role = str(template.request.get("RoleArn", ""))
        if role and role not in self.roles:
            allowed = f"use {' or '.join(self.roles)}" if self.roles else "remove it"
            problems.append(f"job.yaml: role: {role} is not allowed; {allowed}")
        if costs_money(backend):
            types = machines(template.request)
            for name in types:
                if name not in self.instance_types:
                    problems.append(
                        f"job.yaml: instance_type: {name} is not allowed; use {' or '.join(self.instance_types)}"
                    )
            if not types:
                problems.append("job.yaml: instance_type: missing, so the cost is unknown; add it")
        if template.secrets or template.carries_secrets_env:
            key = "secrets" if template.secrets else "secrets_env"
            problems.append(f"job.yaml: {key}: an MCP client cannot pass secrets to jobs; remove {key}")
        if template.places:
            problems.append("job.yaml: places: a sweep of an MCP client runs on one backend; remove places")
        for uri in _files(template.request):
            if "%" in uri:  # parsers of URIs decode it, some of them twice
                problems.append(f"job.yaml: {uri}: escapes are not allowed in file:// here; write the path itself")
                continue
            try:
                self.check_inside(Path(uri[len(FILE) :]), "job.yaml")
            except (UsageError, ValueError, OSError, RuntimeError) as err:
                problems.append(str(err))
        if problems:
            raise ConfigError(problems)

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


def _files(value: Any) -> Iterator[str]:
    """Yield each file:// URI in a document."""
    if isinstance(value, str) and value.strip().lower().startswith(FILE):
        yield value.strip()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _files(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _files(item)
