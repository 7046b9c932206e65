"""Snapshot the source of a sweep, find files that the snapshot lacks, and record the git commit and Python."""

from __future__ import annotations

import logging
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
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
from smsweep.core.sweep import SweepConfig
from smsweep.errors import SourceError
from smsweep.runtime.job.secrets import SECRETS_ENV
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import Finding, refuse_secrets, scan_text
from smsweep.services.sweeps.load import SweepLike, origin_of, warn
from smsweep.services.sweeps.search_program import source_dir
from smsweep.services.workspace import Workspace
from smsweep.source.collect import SourceFile, collect
from smsweep.source.pack import hash_files, pack
from smsweep.space.distribution import Listed

log = logging.getLogger(__name__)

MOST_VALUES = 100  # checked values of each parameter
NOT_IN_SNAPSHOT = "not in the source snapshot in which trials run"
WORKAROUND = "for jobs on this machine, give its absolute path (see docs/source.md)"
GIT_S = 5  # timeout of a git command in seconds
_NOT_FOUND = re.compile(r"No such file or directory: '([^'/][^']*)'")
_NO_MODULE = re.compile(r"No module named '(\w+\.[\w.]+)'")  # a module whose package exists


def hash_source(parsed: ParsedSweep, job: ParsedJob, sweep: SweepLike) -> str:
    """Return the hash of the source without writing a snapshot; "" without source. Raises as `snapshot` does."""
    workspace = Workspace()
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    files = _source_files(workspace, source_dir(parsed.config, job, origin_of(sweep)), job)
    if files:
        return hash_files(files, found=found, known=known)
    refuse_secrets(found)
    return ""


def snapshot(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> str:
    """Write the source snapshot of a sweep to the workspace.

    Args:
        workspace: The workspace.
        parsed: The sweep config.
        job: The job.yaml.
        origin: Folder of the sweep's file; None for a config from Python.

    Returns:
        Hash of the source; "" without source.

    Raises:
        SourceError: If the source or a config contains a secret, or the program is not in the source.
    """
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, job)
    if folder and files:
        warn(missing_paths(parsed.config, folder, files))
        with workspace.made():
            return pack(files, workspace.bundles_dir, found=found, known=known).hash
    refuse_secrets(found)
    return ""


def secrets_in_configs(parsed: ParsedSweep, job: ParsedJob, known: Sequence[str]) -> list[Finding]:
    """Return the secrets in a sweep's config and job.yaml. known: see `known_secrets`."""
    return [*scan_text("sweep config", parsed.text, known), *scan_text("job config", job.text, known)]


def _source_files(workspace: Workspace, folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    files = collect(folder, leave_out=(workspace.dir,)) if folder is not None else []
    return [*files, *_secrets_env(folder, job)]


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
        f"{place}: {name} is {NOT_IN_SNAPSHOT}; {WORKAROUND}"
        for place, name in _names(config)
        # Text without a slash is rarely a path, but often the name of an existing folder, such as `wandb`.
        if "/" in name and _exists(name, folder) and os.path.relpath(folder / name, folder) not in included
    ]


def missing_file_hint(reasons: Iterable[str]) -> str:
    """Return a hint about a file that failed trials miss and that is in the working directory; "" without one."""
    for reason in reasons:
        for name in _NOT_FOUND.findall(reason):
            if _exists(name, Path()):
                return f"{name} exists, but is {NOT_IN_SNAPSHOT}; {WORKAROUND}"
        for module in _NO_MODULE.findall(reason):  # for example, a `_version.py` that git ignores
            for name in (f"{base}{module.replace('.', '/')}.py" for base in ("", "src/")):
                if _exists(name, Path()):
                    return f"{name} exists, but is {NOT_IN_SNAPSHOT}; add !/{name} to .smsweepignore"
    return ""


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
    # `found.name` and `found.version` would parse each distribution's file twice.
    packages = {f"{found['Name']}=={found['Version']}" for found in _metadata() if found["Name"]}
    return {
        "git": git_state(folder),
        "smsweep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": sorted(packages, key=str.lower),
    }


def _metadata() -> Iterator[Message]:
    """Yield the headers of each installed distribution's metadata, without the long description."""
    for found in metadata.distributions():
        text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
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
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme else url
