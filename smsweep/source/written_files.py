"""Files that smsweep and its in-place trials wrote into a source folder. They are not part of a source.

The workspace has a record of them. smsweep also recognizes its own JSON documents by their keys, because a shell
can write them to any file, also before there is a workspace.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from smsweep.core import json_documents as documents

RECORD = "written.jsonl"  # in the workspace: one object per line, {"path", "by", "file"}
SMSWEEP, TRIALS = "smsweep", "trials"
MAX_DOCUMENT_BYTES = 4 * 1024**2
PEEK_BYTES = 200
STREAMS = (1, 2)  # stdout and stderr of this process

_KINDS: tuple[Any, ...] = (
    documents.ServedPageDocument,
    documents.EmulatorDocument,
    documents.PlanDocument,
    documents.ListedSweepDocument,
    documents.SweepDocument,
    documents.EndedAgentDocument,
    documents.DetachedSweepDocument,
    documents.TrialDocument,
    documents.ShownTrialDocument,
    documents.BestTrialDocument,
    documents.FrontTrialDocument,
    documents.WhyDocument,
    documents.DiffDocument,
    documents.ReproductionDocument,
    documents.SweepEventDocument,
    documents.TrialEventDocument,
)
# For each kind: the keys that a document must have, and those that it can have.
_KEYS = tuple(
    (
        frozenset(key for key in kind.__required_keys__ if "NotRequired[" not in str(kind.__annotations__[key])),
        frozenset(kind.__annotations__),
    )
    for kind in _KINDS
)
_FIELDS = {"path": str, "by": str, "file": list}
_FIRST_KEY = re.compile(r'\s*(?:\[\s*)?\{\s*"(\w+)"\s*:')
_ANY_KEY = frozenset().union(*(known for _, known in _KEYS))


def record_written(home: Path, paths: Iterable[Path], *, by: str = SMSWEEP) -> None:
    """Record files or folders that smsweep or a trial wrote. Does nothing without an own workspace.

    Args:
        home: The workspace's folder.
        paths: The files and folders.
        by: SMSWEEP or TRIALS. A file of smsweep counts only until another file replaces it.
    """
    known = {(entry["path"], tuple(entry["file"])) for entry in _entries(home)}
    lines = []
    for path in paths:
        with suppress(OSError):
            real, info = path.resolve(), path.stat()
            file = [info.st_dev, info.st_ino] if by == SMSWEEP and stat.S_ISREG(info.st_mode) else []
            if (str(real), tuple(file)) not in known:
                known.add((str(real), tuple(file)))
                lines.append(json.dumps({"path": str(real), "by": by, "file": file}) + "\n")
    with suppress(OSError):  # the record is a convenience; the command has done its work
        if lines and home.stat().st_uid == os.geteuid():
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(home / RECORD, flags, 0o600), "wb") as record:
                record.write("".join(lines).encode())


def written_paths(home: Path, *, by: Iterable[str] = (SMSWEEP, TRIALS)) -> frozenset[Path]:
    """Return the recorded files and folders that still exist, and the files that this process writes to.

    Args:
        home: The workspace's folder.
        by: Whose files to return.
    """
    paths = set(redirected_streams())
    for entry in _entries(home):
        path = Path(entry["path"])
        with suppress(OSError):
            info = path.lstat()
            is_unchanged = not entry["file"] or entry["file"] == [info.st_dev, info.st_ino]
            if is_unchanged and entry["by"] in by:
                paths.add(path)
    return frozenset(paths)


def redirected_streams() -> Iterator[Path]:
    """Yield the regular files that stdout and stderr of this process are redirected to."""
    for stream in STREAMS:
        with suppress(OSError):
            info = os.fstat(stream)
            path = _path_of(stream) if stat.S_ISREG(info.st_mode) else None
            if path is not None and os.path.samestat(info, path.stat()):
                yield path


def _path_of(descriptor: int) -> Path:
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def is_own_document(path: Path) -> bool:
    """Return True if a file is a JSON document that smsweep printed, for example `smsweep ui --json > ui.json`."""
    if path.suffix != ".json":
        return False
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(PEEK_BYTES)
            first = _FIRST_KEY.match(start)
            if first is None or first[1] not in _ANY_KEY or os.fstat(file.fileno()).st_size > MAX_DOCUMENT_BYTES:
                return False
            # Only the first document: `watch --json` prints one per line.
            document, _ = json.JSONDecoder().raw_decode((start + file.read()).lstrip())
    except (OSError, ValueError, RecursionError):
        return False
    if isinstance(document, list):
        document = document[0]
    return isinstance(document, dict) and any(
        required <= document.keys() <= known for required, known in _KEYS if required
    )


def _entries(home: Path) -> list[dict[str, Any]]:
    try:
        lines = (home / RECORD).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    entries = []
    for line in lines:
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and {name: type(value) for name, value in entry.items()} == _FIELDS:
                entries.append(entry)
    return entries
