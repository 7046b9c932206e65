"""Select the files of a folder that belong to the source of a sweep."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smsweep.errors import SourceError
from smsweep.source.bundle import MAX_DEPTH
from smsweep.source.ignore import Rules

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024**2  # of a source; every job downloads it
MAX_ENTRIES = 100_000  # files and folders; more is a data set, or links that multiply
MANY_FILES = 5_000  # unpacking so many files takes a second per trial

# Never part of a source, even if an ignore file includes them: keys, histories, caches, and logs of earlier runs.
ALWAYS_LEFT_OUT = Rules().below(
    "",
    """
secrets.env
.env*
.netrc
_netrc
.aws/
*.pem
id_rsa*
id_dsa*
id_ecdsa*
id_ed25519*
.git
.hg
.svn
.smsweep
__pycache__/
*.pyc
.venv/
venv/
node_modules/
.mypy_cache/
.ruff_cache/
.pytest_cache/
.hypothesis/
.ipynb_checkpoints/
.DS_Store
.#*
**/wandb/settings
**/wandb/debug*.log
**/wandb/latest-run
**/wandb/run-*
**/wandb/offline-run-*
**/wandb/sweep-*
""",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of a source."""

    name: str  # relative to the source folder, with `/`
    path: Path  # of its content, with links resolved
    size: int  # bytes, when it was listed
    is_executable: bool  # by its owner
    may_hold_secrets: bool = False  # the user has allowed secrets in it, so it is not scanned


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is still to be listed."""

    path: Path  # links resolved
    name: str  # "" for the root, else "a/b/"
    own: Rules  # of .smsweepignore files
    git: Rules  # of .gitignore files
    above: tuple[Path, ...]  # its parent folders, with links resolved, to detect links to one of them


def collect(
    root: Path,
    *,
    leave_out: Iterable[Path] = (),
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> list[SourceFile]:
    """List the files of a source, sorted by name.

    The list does not contain ALWAYS_LEFT_OUT, virtual environments, the folders in leave_out, and the files that
    .smsweepignore and .gitignore files at any level exclude. .smsweepignore takes precedence over .gitignore.
    requirements.txt at the root is included even if .gitignore excludes it, because the job installs from it.
    A link is replaced by the content of its target, which must be in the folder. Empty folders are not included.

    Args:
        root: The source folder.
        leave_out: Folders to exclude, such as smsweep's own.
        max_bytes: Limit for the size of all files.
        max_entries: Limit for the number of files and folders.

    Raises:
        SourceError: If the source is empty or exceeds a limit, or contains a broken link, a link to a target
            outside or to a parent folder, or an entry that is neither a file nor a folder.
    """
    try:
        real_root = root.resolve(strict=True)
    except OSError as err:
        raise SourceError(f"{root}: no such source folder; correct `source_dir`") from err
    if not real_root.is_dir():
        raise SourceError(f"{root}: is a file; set `source_dir` to the folder that contains the script")
    outside = frozenset(path.resolve() for path in leave_out)

    files: list[SourceFile] = []
    folders = [_Folder(real_root, "", Rules(), Rules(), ())]
    n_entries = 0
    while folders:
        for entry in _list(root, real_root, folders.pop(), outside):
            n_entries += 1
            if isinstance(entry, _Folder):
                folders.append(entry)
            else:
                files.append(entry)
            if n_entries > max_entries:
                raise SourceError(
                    f"{root}: the source has more than {max_entries:,} files and folders, many of them in "
                    f"{_fullest(files, folders)}; add it to {root / '.smsweepignore'}"
                )
    total = sum(file.size for file in files)
    if total > max_bytes:
        offenders = ", ".join(f"{name} ({human_size(size)})" for name, size in _biggest(files))
        raise SourceError(
            f"{root}: the source is {human_size(total)}, more than {human_size(max_bytes)}; largest: {offenders}; "
            f"add what the script does not need to {root / '.smsweepignore'}, "
            "and pass data to the job as an input channel"
        )
    if not files:
        raise SourceError(f"{root}: the source is empty, or all of its files are ignored; check .smsweepignore")
    if len(files) > MANY_FILES:
        log.warning(
            "each trial unpacks %s files of %s, many of them in %s; exclude what the script does not need with %s",
            *(f"{len(files):,}", root, _fullest(files, ()), root / ".smsweepignore"),
        )
    return sorted(files, key=lambda file: file.name)


def _list(
    root: Path, real_root: Path, folder: _Folder, outside: frozenset[Path]
) -> Iterator[SourceFile | _Folder]:
    """Yield the entries of a folder that are not excluded."""
    try:
        with os.scandir(folder.path) as scan:
            entries = {entry.name: entry for entry in scan}
    except OSError as err:
        raise SourceError(f"{root / folder.name}: cannot be listed: {err.strerror}") from err
    if "pyvenv.cfg" in entries and folder.name:
        log.debug("source: left out %s, a virtual environment", root / folder.name)
        return
    own, git = folder.own, folder.git
    if ".smsweepignore" in entries:
        own = own.below(folder.name, _read_rules(folder.path / ".smsweepignore"))
    if ".gitignore" in entries:
        keep = "\n!/requirements.txt" if folder.name == "" else ""
        git = git.below(folder.name, _read_rules(folder.path / ".gitignore") + keep)

    for entry in entries.values():
        name = folder.name + entry.name
        shown = root / name
        try:
            is_dir = entry.is_dir()
        except OSError:  # a link to itself
            is_dir = False
        is_left_out = ALWAYS_LEFT_OUT.verdict(name, is_dir)
        if is_left_out is None:
            is_left_out = own.verdict(name, is_dir)
        if is_left_out is None:
            is_left_out = git.verdict(name, is_dir)
        if is_left_out:
            log.debug("source: left out %s", shown)
            continue
        path = folder.path / entry.name
        if entry.is_symlink():
            path = _follow(shown, path, real_root)
            if path in folder.above or path == folder.path:
                raise SourceError(f"{shown}: the link leads to a folder above it; ignore or remove it")
            if _is_always_left_out(path.relative_to(real_root), is_dir):
                log.debug("source: left out %s, a link to %s", shown, path)
                continue
        if path in outside:
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError as err:
            raise SourceError(f"{str(shown)!a}: the name is not UTF-8; rename or ignore it") from err
        if is_dir:
            if len(folder.above) >= MAX_DEPTH:
                raise SourceError(f"{shown}: is more than {MAX_DEPTH} folders deep; ignore or move it")
            yield _Folder(path, f"{name}/", own, git, (*folder.above, folder.path))
            continue
        try:
            status = path.stat()
        except OSError as err:
            raise SourceError(f"{shown}: was removed while the source was read; try again") from err
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{shown}: is a pipe, socket or device; ignore or remove it")
        yield SourceFile(
            name=name, path=path, size=status.st_size, is_executable=bool(status.st_mode & stat.S_IXUSR)
        )


def _read_rules(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: cannot be read as UTF-8 text: {err}; save it as UTF-8") from err


def _follow(shown: Path, path: Path, real_root: Path) -> Path:
    """Return the target of a link, or raise SourceError if it cannot be packed."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as err:  # RuntimeError: a cycle of links, before Python 3.13
        raise SourceError(f"{shown}: the link is broken ({path.readlink()}); ignore or remove it") from err
    if not target.is_relative_to(real_root):
        raise SourceError(
            f"{shown}: the link leads out of the source, to {target}; copy the file, ignore the link, "
            "or pass data to the job as an input channel"
        )
    return target


def _is_always_left_out(path: Path, is_dir: bool) -> bool:
    """Return True if a path or one of its parent folders is always excluded."""
    steps = [*reversed(path.parents[:-1]), path] if path.parts else []
    return any(ALWAYS_LEFT_OUT.verdict(step.as_posix(), is_dir or step != path) for step in steps)


def _biggest(files: Iterable[SourceFile], n: int = 5) -> list[tuple[str, int]]:
    """Return the n largest files or folders and their sizes, none inside another.

    A folder is replaced by an entry in it that has more than half of its size.
    """
    sizes: dict[str, int] = {}
    biggest_child: dict[str, int] = {}
    for file in files:
        for at, char in enumerate(file.name):
            if char == "/":
                sizes[file.name[: at + 1]] = sizes.get(file.name[: at + 1], 0) + file.size
        sizes[file.name] = file.size
    for name, size in sizes.items():
        parent = name.rstrip("/").rpartition("/")[0] + "/"
        biggest_child[parent] = max(biggest_child.get(parent, 0), size)
    chosen: list[tuple[str, int]] = []
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        is_shown_by_child = name.endswith("/") and biggest_child[name] * 2 > size
        if not is_shown_by_child and not any(name.startswith(f) for f, _ in chosen if f.endswith("/")):
            chosen.append((name, size))
        if len(chosen) == n:
            break
    return chosen


def _fullest(files: Iterable[SourceFile], folders: Iterable[_Folder]) -> str:
    """Return the entry of the root that contains most of the listed files and folders."""
    counts: dict[str, int] = {}
    for name in (*(file.name for file in files), *(folder.name for folder in folders)):
        top = name.split("/")[0] + ("/" if "/" in name else "")
        counts[top] = counts.get(top, 0) + 1
    return max(counts, key=lambda top: counts[top])


def human_size(n_bytes: int) -> str:
    """Return a size in a readable form, such as `1.2 GiB`."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
