"""Snapshot the source of a sweep, find files that the snapshot lacks, and record the git commit and Python."""

from __future__ import annotations

import logging
import os
import platform
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib import metadata
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from smsweep._version import __version__
from smsweep.config_files.job_yaml import ParsedJob
from smsweep.config_files.sweep_yaml import ParsedSweep
from smsweep.core.json_documents import SourceSizeDocument
from smsweep.core.sweep import SweepConfig
from smsweep.errors import SourceError
from smsweep.runtime.job.secrets import SECRETS_ENV
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import Finding, refuse_secrets, scan_text
from smsweep.services.sweeps.load import SweepLike, origin_of, warn
from smsweep.services.sweeps.search_program import source_dir
from smsweep.services.workspace import Workspace
from smsweep.source.collect import (
    SourceFile,
    collect,
    inputs_hint,
    is_sweep_config,
    list_files,
    recordable,
    why_excluded,
)
from smsweep.source.pack import hash_files, pack
from smsweep.source.written_files import TRIALS, redirected_streams, written_paths
from smsweep.space.distribution import Listed

log = logging.getLogger(__name__)

MOST_VALUES = 100  # checked values of each parameter
NOT_IN_SNAPSHOT = "not in the copy in which trials run"
COPY = "/ml/code/"  # in the paths of a trial's copy
SHOWN_OUTPUTS = 5  # in the warning about files of in-place trials
GIT_S = 5  # timeout of a git command in seconds
_NOT_FOUND = re.compile(
    r"No such file|FileNotFound|not found|does not exist|doesn't exist|can(?:no|')t (?:open|find)|unable to open",
    re.I,
)
_QUOTED = re.compile(r"""(["'])(.+?)\1""")
_NO_MODULE = re.compile(r"No module named '(\w+\.[\w.]+)'")  # a module whose package exists


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSource:
    """The source of a sweep that was checked, but not packed."""

    hash: str  # "" without source
    warnings: tuple[str, ...]


def check_source(
    workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None, *, backend: str | None = None
) -> CheckedSource:
    """Check the source without writing a snapshot. For the arguments and exceptions, see `snapshot`."""
    known = known_secrets(workspace.environ, job.template)
    in_configs = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, parsed.config, job)
    if folder and files:
        refuses = _is_source_sent(backend, workspace)
        refuse_secrets([] if refuses else in_configs)
        source_hash = hash_files(files, other_findings=in_configs, known=known, refuses=refuses)
        warnings = () if job.template.in_place else missing_paths(parsed.config, folder, files)
        return CheckedSource(hash=source_hash, warnings=tuple(warnings))
    refuse_secrets(in_configs)
    return CheckedSource(hash="", warnings=())


def source_size(
    workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, sweep: SweepLike
) -> SourceSizeDocument | None:
    """Return the size of the source; None without source. Raises SourceError if it cannot be collected."""
    files = _source_files(workspace, source_dir(parsed.config, job, origin_of(sweep)), parsed.config, job)
    return {"files": len(files), "bytes": sum(file.size for file in files)} if files else None


def snapshot(
    workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None, *, backend: str | None = None
) -> str:
    """Write the source snapshot of a sweep to the workspace.

    Args:
        workspace: The workspace.
        parsed: The sweep config.
        job: The job.yaml.
        origin: Folder of the sweep's file; None for a config from Python.
        backend: Name of the backend. Default: `SMSWEEP_BACKEND`, then "process". Only for processes, a secret in
            the source is a warning, and every upload of the snapshot is refused.

    Returns:
        Hash of the source; "" without source.

    Raises:
        SourceError: If the source or a config contains a secret, or the program is not in the source.
    """
    known = known_secrets(workspace.environ, job.template)
    in_configs = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, parsed.config, job)
    if folder and files:
        if not job.template.in_place:
            warn(missing_paths(parsed.config, folder, files))
        refuses = _is_source_sent(backend, workspace)
        refuse_secrets([] if refuses else in_configs)  # the store, exports and reports show the configs
        with workspace.made():
            return pack(files, workspace.bundles_dir, other_findings=in_configs, known=known, refuses=refuses).hash
    refuse_secrets(in_configs)
    return ""


def _is_source_sent(backend: str | None, workspace: Workspace) -> bool:
    """Return True if the source is sent anywhere: all backends but processes send it to a service or an engine."""
    return (backend or workspace.environ.get("SMSWEEP_BACKEND") or "process") != "process"


def secrets_in_configs(parsed: ParsedSweep, job: ParsedJob, known: Sequence[str]) -> list[Finding]:
    """Return the secrets in a sweep's config and job.yaml. known: see `known_secrets`."""
    return [*scan_text("sweep config", parsed.text, known), *scan_text("job config", job.text, known)]


def _source_files(
    workspace: Workspace, folder: Path | None, config: SweepConfig, job: ParsedJob
) -> list[SourceFile]:
    if folder is None:
        return []
    outside, written = (workspace.dir,), written_paths(workspace.dir)
    if job.template.in_place:
        in_place = recordable(list_files(folder, excluded=outside, written=written))
        return [file for file in in_place if not _is_only_config(file, config)]
    files = [
        file for file in collect(folder, excluded=outside, written=written) if not _is_only_config(file, config)
    ]
    if outputs := _outputs_of_trials(workspace, folder.resolve()):
        log.warning(
            "the source does not include what in-place trials wrote: %s; include a file with a line such as !/%s "
            "in .smsweepignore",
            ", ".join(outputs[:SHOWN_OUTPUTS]) + (", ..." if len(outputs) > SHOWN_OUTPUTS else ""),
            outputs[0],
        )
    return [*files, *_secrets_env(folder, job)]


def _is_only_config(file: SourceFile, config: SweepConfig) -> bool:
    """Return True for a sweep config at the top that no command names: an edit must not change the source."""
    if "/" in file.name or any(file.name in str(item) for item in config.command or ()):
        return False
    return is_sweep_config(file)


def _outputs_of_trials(workspace: Workspace, folder: Path) -> list[str]:
    """Return the files and folders below a folder that in-place trials wrote and no ignore file mentions."""
    paths = written_paths(workspace.dir, by=[TRIALS]) - set(redirected_streams())
    names = (path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder))
    return sorted(name for name in names if not why_excluded(folder, name))


def _secrets_env(folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    """Return the file that `wandb.sagemaker_auth` writes, if job.yaml includes it. No scan reads this file."""
    if folder is None or not job.template.carries_secrets_env:
        return []
    path = folder / SECRETS_ENV
    if not path.is_file():
        raise SourceError(
            f"{path}: no such file; write it with wandb.sagemaker_auth(path=...), or remove secrets_env"
        )
    log.warning("%s is part of the source: everyone who can read the source can read its keys", path)
    size = path.stat().st_size
    return [SourceFile(name=SECRETS_ENV, path=path, size=size, is_executable=False, may_hold_secrets=True)]


def missing_paths(config: SweepConfig, folder: Path, files: Sequence[SourceFile]) -> list[str]:
    """Return a warning for each path in the command or in a parameter that exists but is not in the snapshot."""
    included = {str(path) for file in files for path in (file.name, *PurePosixPath(file.name).parents)}
    return [
        f"{place}: {missing_file_hint(name, folder)}"
        for place, name in _names(config)
        # Text without a slash is rarely a path, but often the name of an existing folder, such as `wandb`.
        if "/" in name and _exists(name, folder) and os.path.relpath(folder / name, folder) not in included
    ]


def explain_missing_file(reason: str, folder: Path, included: Collection[str]) -> str:
    """Return a trial's failure reason, with a hint if a file is missing that the source folder has.

    Args:
        reason: The failure reason. The hint becomes part of its first line.
        folder: The original source folder.
        included: Names of the files in the source snapshot.
    """
    for line in reason.splitlines():
        for name in _missing_names(line):
            path = Path(os.path.normpath(name)).as_posix()
            is_included = path in included or any(file.startswith(f"{path}/") for file in included)
            if not _exists(name, folder) or is_included:
                continue
            first, newline, rest = reason.partition("\n")
            return f"{first}; {missing_file_hint(name, folder)}{newline}{rest}"
    return reason


def missing_file_hint(name: str, folder: Path) -> str:
    """Return a hint about a file or folder that the source folder has, but the copy of a trial lacks."""
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder):
        why = f" ({path} is outside the folder)"
    else:
        reason = why_excluded(folder, path.relative_to(folder).as_posix())
        why = f" ({reason})" if reason else ""
    if path.suffix == ".py":
        return f"{name} exists in {folder}, but is {NOT_IN_SNAPSHOT}{why}; add !/{name} to .smsweepignore"
    return f"{name} exists in {folder}, but is {NOT_IN_SNAPSHOT}{why}; {inputs_hint(path, folder)}"


def _missing_names(line: str) -> Iterator[str]:
    """Yield texts in an error message that can be a missing file, relative to the source folder."""
    for module in _NO_MODULE.findall(line):  # for example, a `_version.py` that git ignores
        yield from (f"{base}{module.replace('.', '/')}.py" for base in ("", "src/"))
    if not _NOT_FOUND.search(line):
        return
    quoted = [name for _, name in _QUOTED.findall(line)]
    bare = [word.strip("()[],:;") for word in line.split()]
    for name in (*quoted, *(word for word in bare if "/" in word or "." in word[1:-1])):
        yield name.rpartition(COPY)[2] if COPY in name else name


def _names(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """Yield each text that can be a path, with its location in the config first."""
    for index, item in enumerate(config.command):
        yield f"command[{index}]", item.rpartition("=")[2]
    for path, leaf in config.space.leaves:
        values = map(leaf.value_at, range(leaf.size or 0)) if isinstance(leaf, Listed) else ()
        for value in islice(values, MOST_VALUES):
            if isinstance(value, str):
                yield f"parameters.{'.'.join(path)}", value


def _exists(name: str, folder: Path) -> bool:
    return not os.path.isabs(name) and os.path.lexists(folder / name)  # noqa: PTH117


def origin(folder: Path) -> dict[str, Any]:
    """Return the git state of a folder and the packages of this Python. Without git, the git state is empty."""
    # `distribution.name` and `distribution.version` would parse the file of each distribution twice.
    packages = {f"{headers['Name']}=={headers['Version']}" for headers in _metadata() if headers["Name"]}
    return {
        "git": git_state(folder),
        "smsweep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": sorted(packages, key=str.lower),
    }


def _metadata() -> Iterator[Message]:
    """Yield the headers of each installed distribution's metadata, without the long description."""
    for distribution in metadata.distributions():
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        yield HeaderParser().parsestr(text.partition("\n\n")[0])


def git_state(folder: Path) -> dict[str, Any]:
    """Return `commit`, `branch`, `remote`, and `is_dirty` (tracked files changed); {} outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {
        "commit": commit,
        "branch": _git(folder, "branch", "--show-current"),
        "remote": _without_password(_git(folder, "remote", "get-url", "origin")),
        "is_dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(folder: Path, *arguments: str) -> str:
    # A file system monitor is a program that the repository names.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme else url
