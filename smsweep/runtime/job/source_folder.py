"""Find or unpack the source of the script; no member of a tarball may leave the target folder.

A process that forks many jobs caches a small tarball, and reads and checks it only once.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile

from smsweep.runtime.job.command_macros import INTERPRETER
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.sm_variables import user_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from smsweep.runtime.job.trial_document import Assignment
    from smsweep.runtime.opt_ml_layout import Layout

MAX_BYTES = 4 << 20  # of all files
MAX_FILES = 500
# Identity of the tarball (device, inode, size, time) -> path, content (None: a folder), mode and time per member.
_cached: dict[tuple[int, ...], list[tuple[str, bytes | None, int, float]]] = {}


def source_folder(layout: Layout, assignment: Assignment) -> str:
    """Return the folder to run the script in.

    The first of these: <ml>/code, unpacked from the tarball in smsweep's channel; a <ml>/code that AWS's toolkit
    or the image has filled; <ml>/code with a copy of a local `sagemaker_submit_directory`; an empty <ml>/code, for
    a program of the image.

    Raises:
        JobFailure: If the source is in S3, or cannot be unpacked.
    """
    if os.path.exists(layout.source_tar):
        unpack(layout.source_tar, layout.code)
        return layout.code
    if os.path.isdir(layout.code) and os.listdir(layout.code):
        return layout.code
    submitted = layout.local_path(str(assignment.platform.get("sagemaker_submit_directory") or ""))
    if os.path.isdir(submitted):
        copy_folder(submitted, layout.code)
    elif os.path.isfile(submitted):
        unpack(submitted, layout.code)
    elif "://" in submitted:
        raise JobFailure(
            f"sagemaker_submit_directory is {submitted}, which only AWS's own toolkit downloads; "
            f"put the source into {layout.source_tar} or {layout.code}"
        )
    os.makedirs(layout.code, exist_ok=True)
    return layout.code


def copy_folder(source: str, target: str) -> None:
    """Copy a folder to `target`, an empty folder or a new one. A script may write beside itself.

    Raises:
        JobFailure: If a file cannot be copied.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(target)
        shutil.copytree(source, target)
    except OSError as err:  # shutil.Error has one entry per file
        reason = err.args[0][0][2] if isinstance(err, shutil.Error) else err
        raise JobFailure(f"{source}: cannot be copied to {target}: {reason}") from err


def original_folder(folder: str) -> str:
    """Return the folder of an in-place job. Raises JobFailure if it was moved or deleted."""
    if not os.path.isdir(folder):
        raise JobFailure(
            f"{folder}: the source folder was moved or deleted, and in_place runs the script there; restore the "
            "folder, or run the recorded source with --no-in-place"
        )
    return folder


EXECUTABLE = 0o111  # for all users
SHELL = "/bin/sh"
STARTABLE = (b"#!", b"\x7fELF")  # first bytes of a file that the system can start


def user_command(program: str, params: Mapping[str, Any], cwd: str) -> list[str]:
    """Return the argv of a Python script, or of another program in the source folder cwd."""
    args = user_args(params)
    if program.endswith(".py"):
        return [INTERPRETER, program, *args]
    path, head = os.path.join(cwd, program), STARTABLE[0]
    with contextlib.suppress(OSError):  # the start of the program reports the error
        os.chmod(path, os.stat(path).st_mode | EXECUTABLE)
        with open(path, "rb") as file:
            head = file.read(4)
    command = os.path.join(os.curdir, program)
    return [command, *args] if head.startswith(STARTABLE) else [SHELL, command, *args]  # as execvp(3) does


def cache(tar_path: str) -> None:
    """Read a tarball for `extract_cached`. Holds one tarball; ignores large, unusual and broken ones."""
    try:
        key = _identity(tar_path)
        if key in _cached:
            return
        _cached.clear()
        _cached[key] = []  # if the next lines fail, the tarball is not read again
        if hasattr(tarfile, "data_filter") and key[2] <= MAX_BYTES:
            _cached[key] = list(_members(tar_path))
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return


def extract_cached(tar_path: str, folder: str) -> bool:
    """Write a cached tarball into an empty folder, as `unpack` does. Return False if it is not cached."""
    if not _cached or os.listdir(folder):
        return False
    members = _cached.get(_identity(tar_path))
    for name, content, mode, time in members or ():
        path = os.path.join(folder, name)
        if content is None:
            os.makedirs(path, exist_ok=True)
            continue
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)  # independent of the umask
            os.utime(fd, (time, time))
    return bool(members)


def _members(tar_path: str) -> Iterator[tuple[str, bytes | None, int, float]]:
    """Yield plain files and folders with plain names, parents first. Raises ValueError for any other member."""
    n_bytes = 0
    folders: set[str] = set()
    files: set[str] = set()
    with gzip.open(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            name, parts = member.name, member.name.split("/")
            n_bytes += member.size
            if not {"", ".", ".."}.isdisjoint(parts) or not (member.isfile() or member.isdir()):
                raise ValueError(name)
            if n_bytes > MAX_BYTES or len(files) == MAX_FILES:
                raise ValueError(tar_path)
            for n in range(1, len(parts) + member.isdir()):
                folder = "/".join(parts[:n])
                if folder not in folders:
                    folders.add(folder)
                    yield folder, None, 0, 0.0
            content = tar.extractfile(member)
            if content:
                files.add(name)
                allowed = tarfile.data_filter(member, os.sep)
                yield name, content.read(), allowed.mode or 0, allowed.mtime
        if files & folders:
            raise ValueError(tar_path)


def _identity(path: str) -> tuple[int, ...]:
    info = os.stat(path)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def unpack(tar_path: str, folder: str, *, skip_links: bool = False) -> None:
    """Extract every member into a folder, which is created. Existing files are replaced.

    Args:
        tar_path: The .tar.gz file.
        folder: Target folder.
        skip_links: Skip all links.

    Raises:
        JobFailure: For an absolute path, `..`, a link that leads out of the folder, a device, or a name that
            replaces another one because the file system ignores case. Names the member.
    """
    os.makedirs(folder, exist_ok=True)
    root = os.path.realpath(folder)
    # Python's own filter (3.8.17 and newer) is a second check beside `_check`.
    how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        if extract_cached(tar_path, folder):
            return
        with gzip.open(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            names: dict[str, str] = {}
            for member in tar:
                other = names.setdefault(member.name.lower(), member.name)
                if (
                    other != member.name
                    and not member.isdir()
                    and os.path.lexists(os.path.join(root, member.name))
                ):
                    raise JobFailure(
                        f"{tar_path}: {other!r} and {member.name!r} are one file in {folder}; rename one of them"
                    )
                if skip_links and (member.issym() or member.islnk()):
                    continue
                _check(member, root, tar_path)
                tar.extract(member, root, **how)  # type: ignore[arg-type]  # Python 3.8 has no filter
    except (tarfile.TarError, OSError, EOFError) as err:
        raise JobFailure(f"{tar_path}: cannot be unpacked into {folder}: {err}") from err


def _check(member: tarfile.TarInfo, root: str, tar_path: str) -> None:
    """Refuse a member outside root, or a link to a target outside root. Considers links unpacked before."""
    name = member.name
    if os.path.isabs(name) or ".." in name.split("/"):
        raise JobFailure(f"{tar_path}: member {name!r} refused: its path leaves the source folder")
    parent = os.path.realpath(os.path.join(root, os.path.dirname(name)))  # resolves links unpacked before
    if not _is_within(parent, root):
        raise JobFailure(f"{tar_path}: member {name!r} refused: a link on its path leaves the source folder")
    if member.issym() or member.islnk():
        base = parent if member.issym() else root  # a hard link's target is relative to the top
        if os.path.isabs(member.linkname) or not _is_within(
            os.path.realpath(os.path.join(base, member.linkname)), root
        ):
            raise JobFailure(f"{tar_path}: member {name!r} refused: it links to {member.linkname!r}, outside")
    elif not (member.isfile() or member.isdir()):
        raise JobFailure(f"{tar_path}: member {name!r} refused: neither a file, a folder nor a link")


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
