"""Where a sweep comes from: the commit of its source, the versions it was created with."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep._version import __version__

GIT_S = 5  # at most for each question to git


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
