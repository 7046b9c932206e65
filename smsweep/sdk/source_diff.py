"""Two source snapshots compared, file by file."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smsweep.errors import SourceError
from smsweep.runtime.secrets import SECRETS_ENV
from smsweep.sdk.workspace import Workspace
from smsweep.source.bundle import Bundle, bundle_path
from smsweep.source.unpack import extract

MAX_TEXT = 512_000  # bytes of a file whose lines are compared

Data = dict[str, Any]


def source_diff(workspace: Workspace, hashes: tuple[str, str], redact: Callable[[str], str]) -> Data:
    """Return `is_same` and, where the sources differ, `files`: name, change, and a unified diff of texts.

    change: added, removed, changed, or mode (it became executable, or ceased to be). A file of another kind than
    text, a very large one, and one with secrets have no diff. `missing`: which snapshot is not on this machine;
    files are null then.
    """
    about: Data = {"a": hashes[0], "b": hashes[1], "is_same": hashes[0] == hashes[1], "files": [], "missing": []}
    if about["is_same"]:
        return about
    about["missing"] = [name for name in hashes if name and not bundle_path(workspace.bundles_dir, name).is_file()]
    if about["missing"]:
        return about | {"files": None}
    with tempfile.TemporaryDirectory(prefix="smsweep-diff-") as scratch:
        folders = (Path(scratch) / "a", Path(scratch) / "b")
        try:
            bundles = [_extract(workspace, name, folder) for name, folder in zip(hashes, folders, strict=True)]
        except SourceError as err:
            return about | {"files": None, "missing": [str(err)]}
        return about | {"files": _files(bundles, folders, redact)}


def _extract(workspace: Workspace, source_hash: str, into: Path) -> Bundle | None:
    if not source_hash:
        return None  # a sweep of a Python function
    return extract(bundle_path(workspace.bundles_dir, source_hash), into, expect=source_hash)


def _files(bundles: list[Bundle | None], folders: tuple[Path, Path], redact: Callable[[str], str]) -> list[Data]:
    before, after = ({member.name: member for member in bundle.members} if bundle else {} for bundle in bundles)
    found = []
    for name in sorted({*before, *after}):
        a, b = before.get(name), after.get(name)
        if a == b:
            continue
        if a is None or b is None:
            change = "added" if a is None else "removed"
        else:
            change = "changed" if a.sha256 != b.sha256 else "mode"
        texts = [
            _lines(folder / name, name) if member else [] for folder, member in zip(folders, (a, b), strict=True)
        ]
        found.append({"name": name, "change": change, "diff": _unified(name, *texts, redact=redact)})
    return found


def _lines(path: Path, name: str) -> list[str] | None:
    """Return a text's lines; None for what is no text, is too long, or is for nobody's eyes."""
    if name == SECRETS_ENV or path.stat().st_size > MAX_TEXT:
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.splitlines()


def _unified(
    name: str, before: list[str] | None, after: list[str] | None, *, redact: Callable[[str], str]
) -> list[str] | None:
    if before is None or after is None:
        return None
    lines = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
    return redact("\n".join(lines)).splitlines()
