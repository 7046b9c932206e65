"""The folder of the store and of everything else, SMSWEEP_DIR, and checks that only its user can write to it.

Files in the folder run as the user: the in-job runtime, source snapshots, and the commands in the store.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from smsweep.errors import StoreUnavailable, UsageError

DEFAULT_DIR = ".smsweep"
IGNORE_FILE = ".gitignore"
FILE_NAME = "store.db"
TRUSTED = "SMSWEEP_TRUSTED_DIRS"  # environment: absolute paths that are used as they are, separated by colons
WRITABLE = stat.S_IWGRP | stat.S_IWOTH
REACHABLE = stat.S_IXGRP | stat.S_IXOTH


def make_home(environ: Mapping[str, str]) -> Path:
    """Create the folder if it does not exist. Only its owner can read it, and git ignores it.

    Args:
        environ: Environment variables; SMSWEEP_DIR names the folder.

    Returns:
        The folder.

    Raises:
        UsageError: If another user can change the folder (see `check_folder`), or the folder cannot be created.
        StoreUnavailable: If the folder cannot be written now, for example because the disk is full.
    """
    folder = home_dir(environ)
    is_new = not os.path.lexists(folder)
    try:
        for parent in reversed([parent for parent in folder.parents if not parent.exists()]):
            parent.mkdir(mode=0o755, exist_ok=True)  # not writable by others, for every umask
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            check_folder(folder, environ)
        except UsageError:
            if is_new:
                folder.rmdir()
            raise
        ignore = folder / IGNORE_FILE
        if not ignore.exists():
            ignore.touch(mode=0o644)  # not writable by others, for every umask
            ignore.write_text("*\n")
    except OSError as err:
        if (is_new or not folder.is_dir()) and err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise _unusable(folder, err) from err
        raise StoreUnavailable(
            f"{folder}: the store's folder cannot be created or written ({err.strerror}); "
            "set SMSWEEP_DIR to a folder that you may write to"
        ) from err
    return folder


def home_dir(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the folder of the store.

    Args:
        environ: SMSWEEP_DIR names the folder. Without it, the folder is the `.smsweep` of the current folder or of
            the nearest folder above it, as git finds its repository. If there is none, it is ./.smsweep, which may
            not exist. The search ends at the user's home, at the border of a file system, and inside a `.smsweep`.
    """
    if environ.get("SMSWEEP_DIR"):
        return Path(os.path.expanduser(environ["SMSWEEP_DIR"])).absolute()  # noqa: PTH111 - pathlib's raises where there is no home
    default = Path(DEFAULT_DIR).absolute()
    if os.path.lexists(default):
        return default
    return next(_homes_above(default.parent, environ), default)


def _homes_above(folder: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders of stores above a folder, nearest first, except those of other users."""
    home, device = os.path.expanduser("~"), None  # noqa: PTH111 - pathlib's raises where there is no home
    for above in (folder, *folder.parents):
        try:
            info = above.stat()
        except OSError:  # the current folder was deleted, or a folder above it cannot be searched
            return
        if device not in (None, info.st_dev) or above.name == DEFAULT_DIR:
            return
        candidate, device = above / DEFAULT_DIR, info.st_dev
        own = _own_ids(environ)
        if candidate.is_dir() and (
            is_trusted(candidate, environ) or all(info.st_uid in own for info in _stats(candidate))
        ):
            yield candidate
        if str(above) == home:
            return


def check_usable(environ: Mapping[str, str]) -> None:
    """Raise UsageError if the folder of the store cannot be read, or if SMSWEEP_DIR cannot be created."""
    folder = home_dir(environ)
    try:
        if os.path.lexists(folder):
            with os.scandir(folder):
                return
        if environ.get("SMSWEEP_DIR"):
            existing = next(parent for parent in folder.parents if os.path.lexists(parent))
            with TemporaryDirectory(dir=existing):  # only an attempt shows whether folders can be created
                return
    except OSError as err:
        raise _unusable(folder, err) from err


def _unusable(folder: Path, err: OSError) -> UsageError:
    return UsageError(
        f"{folder}: this folder cannot hold the store ({err.strerror}); set SMSWEEP_DIR or --dir to a folder that "
        "you can read and write"
    )


def check_folder(folder: Path, environ: Mapping[str, str]) -> None:
    """Raise UsageError if another user can change the folder, or what is directly in it.

    Args:
        folder: Absolute path of the folder. A folder that does not exist passes.
        environ: `SMSWEEP_TRUSTED_DIRS` names folders that pass without a check. `SUDO_UID` counts for root: the
            user who called sudo may own the folder.

    Raises:
        UsageError: If the folder, or a link in its place, belongs to another user; if its group or others can
            write to it; if all users can write to a folder above it that is not sticky; or if an entry of the
            folder is not the user's or root's. The message names the command or the variable that helps.
    """
    if not os.path.lexists(folder) or is_trusted(folder, environ):
        return
    own = _own_ids(environ)
    _refuse_owner(folder, own)
    _refuse_parents(folder)
    entries = _entries(folder)
    _refuse_foreign(folder, entries, own)
    _refuse_writable(folder, entries)


def check_contents(folder: Path, environ: Mapping[str, str]) -> None:
    """Raise UsageError if an entry of a folder in the folder is not the user's or root's.

    An agent calls this before it uses jobs, snapshots and records that are there from before.
    """
    if is_trusted(folder, environ):
        return
    for child in _entries(folder):
        _refuse_foreign(folder, _entries(child), _own_ids(environ))


def is_trusted(folder: Path, environ: Mapping[str, str]) -> bool:
    """Return True if `SMSWEEP_TRUSTED_DIRS` names the folder. Relative paths in it name nothing."""
    named = (os.path.expanduser(text) for text in environ.get(TRUSTED, "").split(os.pathsep))  # noqa: PTH111 - pathlib's raises where there is no home
    target = os.path.realpath(folder)
    return any(os.path.realpath(text) == target for text in named if Path(text).is_absolute())


def is_private(info: os.stat_result) -> bool:
    """Return True if only this user, or root, can write to a plain file."""
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & WRITABLE


def _own_ids(environ: Mapping[str, str]) -> set[int]:
    """Return the user ids that may own the folder: the process's own, and for root that of sudo's caller."""
    own = {os.geteuid()}
    caller = environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and caller.isascii() and caller.isdigit():
        own.add(int(caller))
    return own


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing for a file, or a folder that cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Yield the state of a path and, where that is a link, of what the link leads to."""
    with suppress(OSError):  # a link to nothing, a draft that has been put in place
        info = path.lstat()
        yield info
        if stat.S_ISLNK(info.st_mode):
            yield path.stat()


def _refuse_owner(folder: Path, own: set[int]) -> None:
    for info in _stats(folder):
        if info.st_uid not in own:
            who = _user(info.st_uid)
            what = "this link" if stat.S_ISLNK(info.st_mode) else "this folder"
            raise UsageError(
                f"{folder}: {what} belongs to {who}, you are {_user(os.geteuid())}, and its content can run code "
                f"as you; set SMSWEEP_DIR to a folder of your own, or, if you trust {who}, set {_trust(folder)}"
            )


def _refuse_parents(folder: Path) -> None:
    """A folder that another user can replace is that user's from then on, also under a running agent."""
    above = [*reversed(folder.parents)], [*reversed(Path(os.path.realpath(folder)).parents)]
    for parent in (parent for parents in above for parent in _reachable(parents)):
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise UsageError(
                f"{folder}: every user can write to {parent} (mode {_octal(mode)}), and so replace this folder; "
                f"run `chmod o-w {_quoted(parent)}`, or set SMSWEEP_DIR to a folder in your home, or, if you "
                f"trust every user, set {_trust(folder)}"
            )


def _reachable(parents: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders that other users can get to. parents: from the root of the file system down."""
    for parent in parents:
        if not parent.stat().st_mode & REACHABLE:
            return
        yield parent


def _refuse_writable(folder: Path, entries: Iterable[Path]) -> None:
    top = folder.stat().st_mode
    is_reachable = top & (REACHABLE | WRITABLE)  # else no other user gets to the entries
    writable: dict[Path, int] = {}
    for path in (folder, *(entries if is_reachable else ())):
        for info in _stats(path):
            if info.st_mode & WRITABLE and not stat.S_ISLNK(info.st_mode):
                writable[path] = info.st_mode
    if writable:
        path, mode = next(iter(writable.items()))
        fix = f"chmod go-w {' '.join(map(_quoted, writable))}"
        raise UsageError(
            f"{folder}: other users can write to {path} (mode {_octal(mode)}), and its content can run code as "
            f"you; check that nobody else changed it, then run `{fix}`; if you trust them, set {_trust(folder)}"
        )


def _refuse_foreign(folder: Path, entries: Iterable[Path], own: set[int]) -> None:
    for entry in entries:
        for info in _stats(entry):
            if info.st_uid not in {0, *own}:
                who, me = _user(info.st_uid), os.geteuid()
                raise UsageError(
                    f"{entry}: this belongs to {who}, you are {_user(me)}, and it can run code as you; remove it, "
                    f"or, if you know what it is, run `chown -Rh {me} {_quoted(entry)}`, or, if you trust {who}, "
                    f"set {_trust(folder)}"
                )


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _trust(folder: Path) -> str:
    return f"{TRUSTED}={_quoted(folder)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
