"""Select the files of a folder that belong to the source of a sweep."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smsweep.errors import SourceError
from smsweep.source.bundle import MAX_DEPTH
from smsweep.source.ignore import Rules
from smsweep.source.written_files import is_own_document
from smsweep.util.terminal_text import human_size

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024**2  # of a source; every job downloads it
MAX_ENTRIES = 100_000  # files and folders; more is a data set, or links that multiply
MAX_RECORDED_BYTES = 1024**2  # of a file in the record of an in-place source, unless it is a program
MAX_RECORD_BYTES = 64 * 1024**2  # of a whole record
MAX_RECORDED_ENTRIES = 1_000  # of a folder in a record; more is data or the output of trials
PROGRAMS = frozenset((".py", ".pyi", ".ipynb", ".sh", ".r", ".jl"))
MANY_FILES = 5_000  # unpacking so many files takes a second per trial

# Never part of a source, even if an ignore file includes them: keys, histories, caches, and logs of earlier runs.
ALWAYS_EXCLUDED = Rules().below(
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
slurm-[0-9]*.out
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
    excluded: Iterable[Path] = (),
    written: Iterable[Path] = (),
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> list[SourceFile]:
    """List the files of a source, sorted by name.

    The list does not contain ALWAYS_EXCLUDED, virtual environments, the folders in `excluded`, and the files that
    .smsweepignore and .gitignore files at any level exclude. .smsweepignore takes precedence over .gitignore.
    requirements.txt at the root is included even if .gitignore excludes it, because the job installs from it.
    A link is replaced by the content of its target, which must be in the folder. Empty folders are not included.

    Args:
        root: The source folder.
        excluded: Folders to exclude, such as smsweep's own.
        written: Files and folders that smsweep or its in-place trials wrote. They are excluded unless an ignore
            file includes them.
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
    walk = _Walk(root, real_root, frozenset(path.resolve() for path in excluded), frozenset(written))

    files: list[SourceFile] = []
    folders = [_Folder(real_root, "", Rules(), Rules(), ())]
    n_entries = 0
    while folders:
        for entry in walk.entries(folders.pop()):
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
        largest = _biggest(files)
        offenders = ", ".join(f"{name} ({human_size(size)})" for name, size in largest)
        raise SourceError(
            f"{root}: the source is {human_size(total)}, more than {human_size(max_bytes)}; largest: {offenders}; "
            f"add what the script does not need to {root / '.smsweepignore'}; for data, "
            f"{inputs_hint(real_root / largest[0][0], real_root)}"
        )
    if not files:
        raise SourceError(f"{root}: the source is empty, or all of its files are ignored; check .smsweepignore")
    if len(files) > MANY_FILES:
        log.warning(
            "each trial unpacks %s files of %s, many of them in %s; exclude what the script does not need with %s",
            *(f"{len(files):,}", root, _fullest(files, ()), root / ".smsweepignore"),
        )
    return sorted(files, key=lambda file: file.name)


def list_files(root: Path, *, excluded: Iterable[Path] = (), written: Iterable[Path] = ()) -> list[SourceFile]:
    """List the files of a folder in which trials run in place, sorted by name.

    Follows the rules of `collect`, but has no limits and skips everything that `collect` refuses: links that lead
    out of the folder, pipes, and folders that cannot be listed. Folders with more than MAX_RECORDED_ENTRIES
    entries are data or outputs, and are skipped as well.

    Args:
        root: The source folder.
        excluded: Folders to exclude, such as smsweep's own.
        written: Files and folders that smsweep or its in-place trials wrote.

    Raises:
        SourceError: If there is no such folder.
    """
    try:
        real_root = root.resolve(strict=True)
    except OSError as err:
        raise SourceError(f"{root}: no such source folder; it was moved or deleted") from err
    outside = frozenset(path.resolve() for path in excluded)
    walk = _Walk(root, real_root, outside, frozenset(written), is_tolerant=True)
    files: list[SourceFile] = []
    folders = [_Folder(real_root, "", Rules(), Rules(), ())]
    while folders:
        for entry in walk.entries(folders.pop()):
            files.append(entry) if isinstance(entry, SourceFile) else folders.append(entry)
    return sorted(files, key=lambda file: file.name)


def recordable(files: Iterable[SourceFile]) -> list[SourceFile]:
    """Return the files that the record of an in-place source contains: all programs, and small files.

    A folder in which W&B's agent runs also has data and checkpoints. The record is for `diff` and `reproduce`, so
    it leaves out files of more than MAX_RECORDED_BYTES, then the largest ones until MAX_RECORD_BYTES are left.
    """
    kept: list[SourceFile] = []
    total = 0
    for file in sorted(files, key=lambda file: (not is_program(file.name), file.size, file.name)):
        is_small = file.size <= (MAX_RECORD_BYTES if is_program(file.name) else MAX_RECORDED_BYTES)
        if is_small and total + file.size <= MAX_RECORD_BYTES and len(kept) < MAX_ENTRIES:
            kept.append(file)
            total += file.size
        else:
            log.debug("source: the record leaves out %s (%s)", file.path, human_size(file.size))
    return sorted(kept, key=lambda file: file.name)


def is_program(name: str) -> bool:
    """Return True if a file has the suffix of a program or a notebook."""
    return PurePosixPath(name).suffix.lower() in PROGRAMS


def inputs_hint(path: Path, root: Path) -> str:
    """Return how a job gets data of the source folder: a line for job.yaml, or the option --in-place.

    Args:
        path: A file or folder.
        root: The source folder.
    """
    folder = path if path.is_dir() or path.parent == root else path.parent
    channel = re.sub(r"\W+", "_", folder.stem or folder.name, flags=re.ASCII).strip("_")[:64] or "data"
    line = f"inputs: {{{channel}: {json.dumps(f'file://{folder}', ensure_ascii=False)}}}"
    return (
        f"add {line} to job.yaml and read the path in SM_CHANNEL_{channel.upper()}, "
        "or run processes in the original folder with --in-place"
    )


def why_excluded(root: Path, name: str) -> str:
    """Return why a file of a folder is not in its source, such as "git ignores it"; "" for no known reason."""
    own, git, folder, parts = Rules(), Rules(), "", PurePosixPath(name).parts
    for depth, part in enumerate(parts):
        path = folder + part
        is_dir = depth < len(parts) - 1 or (root / name).is_dir()
        with suppress(SourceError, OSError):
            if (root / folder / ".smsweepignore").is_file():
                own = own.below(folder, _read_rules(root / folder / ".smsweepignore"))
            if (root / folder / ".gitignore").is_file():
                git = git.below(folder, _read_rules(root / folder / ".gitignore"))
        if ALWAYS_EXCLUDED.verdict(path, is_dir):
            return "smsweep never copies it"
        verdict = own.verdict(path, is_dir)
        if verdict:
            return ".smsweepignore excludes it"
        if verdict is None and git.verdict(path, is_dir):
            return "git ignores it"
        folder = f"{path}/"
    return ""


@dataclass(frozen=True, slots=True)
class _Walk:
    """Lists the folders of one source."""

    root: Path  # as the user named it
    real_root: Path  # links resolved
    outside: frozenset[Path]  # always excluded
    written: frozenset[Path]  # excluded unless an ignore file includes them
    is_tolerant: bool = False  # skip what cannot be packed, instead of raising

    def entries(self, folder: _Folder) -> Iterator[SourceFile | _Folder]:
        """Yield the entries of a folder that are not excluded."""
        try:
            listed = _scan(self.root, folder)
            if self.is_tolerant and folder.name and len(listed) > MAX_RECORDED_ENTRIES:
                log.debug("source: left out %s, which has %d entries", folder.path, len(listed))
                return
            rules = _rules_in(self.root, folder, listed)
        except SourceError as err:
            if not self.is_tolerant:
                raise
            log.debug("source: left out %s", err)
            return
        if rules is None:
            return
        for entry in listed.values():
            try:
                item = self._entry(folder, entry, *rules)
            except SourceError as err:
                if not self.is_tolerant:
                    raise
                log.debug("source: left out %s", err)
                continue
            if item is not None:
                yield item

    def _entry(
        self, folder: _Folder, entry: os.DirEntry[str], own: Rules, git: Rules
    ) -> SourceFile | _Folder | None:
        """Return an entry of a folder; None if it is excluded. Raises SourceError if it cannot be packed."""
        name = folder.name + entry.name
        display_path = self.root / name
        try:
            is_dir = entry.is_dir()
        except OSError:  # a link to itself
            is_dir = False
        is_excluded = ALWAYS_EXCLUDED.verdict(name, is_dir)
        if is_excluded is None:
            is_excluded = own.verdict(name, is_dir)
        if is_excluded is None:
            is_excluded = git.verdict(name, is_dir)
        path = folder.path / entry.name
        if is_excluded is None:
            is_excluded = path in self.written or (not is_dir and is_own_document(path))
        if is_excluded:
            log.debug("source: left out %s", display_path)
            return None
        if entry.is_symlink():
            path = _follow(display_path, path, self.real_root)
            if path in folder.above or path == folder.path:
                raise SourceError(f"{display_path}: the link leads to a folder above it; ignore or remove it")
            if _is_always_excluded(path.relative_to(self.real_root), is_dir):
                log.debug("source: left out %s, a link to %s", display_path, path)
                return None
        if path in self.outside:
            return None
        try:
            entry.name.encode()
        except UnicodeEncodeError as err:
            raise SourceError(f"{str(display_path)!a}: the name is not UTF-8; rename or ignore it") from err
        if is_dir:
            if len(folder.above) >= MAX_DEPTH:
                raise SourceError(f"{display_path}: is more than {MAX_DEPTH} folders deep; ignore or move it")
            return _Folder(path, f"{name}/", own, git, (*folder.above, folder.path))
        try:
            status = path.stat()
        except OSError as err:
            raise SourceError(f"{display_path}: was removed while the source was read; try again") from err
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{display_path}: is a pipe, socket or device; ignore or remove it")
        return SourceFile(
            name=name, path=path, size=status.st_size, is_executable=bool(status.st_mode & stat.S_IXUSR)
        )


def _scan(root: Path, folder: _Folder) -> dict[str, os.DirEntry[str]]:
    """Return the entries of a folder by name. Raises SourceError."""
    try:
        with os.scandir(folder.path) as scan:
            return {entry.name: entry for entry in scan}
    except OSError as err:
        raise SourceError(f"{root / folder.name}: cannot be listed: {err.strerror}") from err


def _rules_in(root: Path, folder: _Folder, entries: Collection[str]) -> tuple[Rules, Rules] | None:
    """Return the rules of .smsweepignore and .gitignore files for the entries; None for a virtual environment."""
    if "pyvenv.cfg" in entries and folder.name:
        log.debug("source: left out %s, a virtual environment", root / folder.name)
        return None
    own, git = folder.own, folder.git
    if ".smsweepignore" in entries:
        own = own.below(folder.name, _read_rules(folder.path / ".smsweepignore"))
    if ".gitignore" in entries:
        keep = "\n!/requirements.txt" if folder.name == "" else ""
        git = git.below(folder.name, _read_rules(folder.path / ".gitignore") + keep)
    return own, git


def _read_rules(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: cannot be read as UTF-8 text: {err}; save it as UTF-8") from err


def _follow(display_path: Path, path: Path, real_root: Path) -> Path:
    """Return the target of a link, or raise SourceError if it cannot be packed."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as err:  # RuntimeError: a cycle of links, before Python 3.13
        raise SourceError(f"{display_path}: the link is broken ({path.readlink()}); ignore or remove it") from err
    if not target.is_relative_to(real_root):
        raise SourceError(
            f"{display_path}: the link leads out of the source, to {target}; copy the file or ignore the link; "
            f"for data, {inputs_hint(target, target.parent)}"
        )
    return target


def _is_always_excluded(path: Path, is_dir: bool) -> bool:
    """Return True if a path or one of its parent folders is always excluded."""
    steps = [*reversed(path.parents[:-1]), path] if path.parts else []
    return any(ALWAYS_EXCLUDED.verdict(step.as_posix(), is_dir or step != path) for step in steps)


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
        is_covered_by_child = name.endswith("/") and biggest_child[name] * 2 > size
        if not is_covered_by_child and not any(name.startswith(f) for f, _ in chosen if f.endswith("/")):
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


def is_sweep_config(file: SourceFile) -> bool:
    """Return True for a W&B sweep config. Users edit it for their next sweep while a sweep runs."""
    if PurePosixPath(file.name).suffix.lower() not in (".yaml", ".yml"):
        return False
    text = file.path.read_text(encoding="utf-8", errors="replace")
    return all(re.search(rf"^{key}:", text, re.MULTILINE) for key in ("method", "parameters"))
