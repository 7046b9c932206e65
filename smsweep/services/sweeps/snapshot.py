"""Create a sweep: read its config, snapshot its source, store both."""

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
MOST_VALUES = 100  # of each parameter
NOT_CARRIED = "no part of the source's snapshot, in which trials run"
A_WAY = "on this machine an absolute path leads to it, see docs/source.md"
_NOT_FOUND = re.compile(r"No such file or directory: '([^'/][^']*)'")
_NO_MODULE = re.compile(r"No module named '(\w+\.[\w.]+)'")  # its package was found
GIT_S = 5  # at most for each question to git


def hash_source(parsed: ParsedSweep, job: ParsedJob, sweep: SweepLike) -> str:
    """Return the hash that the source's snapshot will have, writing nothing; "" when there is none."""
    workspace = Workspace()
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    files = _source_files(workspace, source_dir(parsed.config, job, origin_of(sweep)), job)
    if files:
        return hash_files(files, found=found, known=known)
    refuse_secrets(found)
    return ""


def snapshot(workspace: Workspace, parsed: ParsedSweep, job: ParsedJob, origin: Path | None) -> str:
    """Pack the source and return its hash; "" when there is none. Raises SourceError for a secret in it."""
    known = known_secrets(workspace.environ, job.template)
    found = secrets_in_configs(parsed, job, known)
    folder = source_dir(parsed.config, job, origin)
    files = _source_files(workspace, folder, job)
    if folder and files:
        warn(left_behind(parsed.config, folder, files))
        with workspace.made():
            return pack(files, workspace.bundles_dir, found=found, known=known).hash
    refuse_secrets(found)
    return ""


def secrets_in_configs(parsed: ParsedSweep, job: ParsedJob, known: Sequence[str]) -> list[Finding]:
    """Return what must not be in a sweep's two files. known: see hidden.known_secrets."""
    return [*scan_text("sweep config", parsed.text, known), *scan_text("job config", job.text, known)]


def _source_files(workspace: Workspace, folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    files = collect(folder, leave_out=(workspace.dir,)) if folder is not None else []
    return [*files, *_secrets_env(folder, job)]


def _secrets_env(folder: Path | None, job: ParsedJob) -> list[SourceFile]:
    """Return the file that `wandb.sagemaker_auth` writes, where job.yaml asks for it; no scan looks into it."""
    if folder is None or not job.template.carries_secrets_env:
        return []
    path = folder / SECRETS_ENV
    if not path.is_file():
        raise SourceError(f"{path}: no such file; wandb.sagemaker_auth(path=...) writes it, or drop secrets_env")
    log.warning("%s travels with the source: whoever may read the source may read its keys", path)
    size = path.stat().st_size
    return [SourceFile(name=SECRETS_ENV, path=path, size=size, is_executable=False, may_hold_secrets=True)]


def left_behind(config: SweepConfig, folder: Path, files: Sequence[SourceFile]) -> list[str]:
    """Say which paths of the folder the command and the values of params name that are not among the files."""
    carried = {str(path) for file in files for path in (file.name, *PurePosixPath(file.name).parents)}
    return [
        f"{place}: {name} is {NOT_CARRIED}; {A_WAY}"
        for place, name in _names(config)
        # a word without a slash is hardly ever meant for a path, and `wandb` lies in many folders
        if "/" in name and _is_here(name, folder) and os.path.relpath(folder / name, folder) not in carried
    ]


def lost(reasons: Iterable[str]) -> str:
    """Say which file trials failed to find although it lies in the working directory; "" for none."""
    for reason in reasons:
        for name in _NOT_FOUND.findall(reason):
            if _is_here(name, Path()):
                return f"{name} lies here, but is {NOT_CARRIED}; {A_WAY}"
        for module in _NO_MODULE.findall(reason):  # a `_version.py` that git ignores, say
            for name in (f"{base}{module.replace('.', '/')}.py" for base in ("", "src/")):
                if _is_here(name, Path()):
                    return f"{name} lies here, but is {NOT_CARRIED}; name it in .smsweepignore as !/{name}"
    return ""


def _names(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """Yield each text that may be a path, after its place in the config."""
    for index, item in enumerate(config.command):
        yield f"command[{index}]", item.rpartition("=")[2]
    for path, leaf in config.space.leaves:
        values = map(leaf.value_at, range(leaf.size or 0)) if isinstance(leaf, Listed) else ()
        for value in islice(values, MOST_VALUES):
            if isinstance(value, str):
                yield f"parameters.{'.'.join(path)}", value


def _is_here(name: str, folder: Path) -> bool:
    return not os.path.isabs(name) and os.path.lexists(folder / name)  # noqa: PTH117


def origin(folder: Path) -> dict[str, Any]:
    """Return what can be told of a folder's commit and of this Python. Never an error: git may be missing."""
    # Each distribution's file is read once: `found.name` and `found.version` would parse it anew.
    packages = {f"{found['Name']}=={found['Version']}" for found in _metadata() if found["Name"]}
    return {
        "git": git_state(folder),
        "smsweep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": sorted(packages, key=str.lower),
    }


def _metadata() -> Iterator[Message]:
    """Yield the head of each installed distribution's metadata: its description is long, and not of interest."""
    for found in metadata.distributions():
        text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
        yield HeaderParser().parsestr(text.partition("\n\n")[0])


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit, branch, remote and whether tracked files differ from the commit; {} outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {
        "commit": commit,
        "branch": _git(folder, "branch", "--show-current"),
        "remote": _without_password(_git(folder, "remote", "get-url", "origin")),
        "is_dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_S, check=True
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
