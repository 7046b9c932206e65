"""The folder of the store and of everything else: SMSWEEP_DIR."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from smsweep.errors import StoreUnavailable, UsageError
from smsweep.store.folder_trust import check_folder

DEFAULT_DIR = ".smsweep"
IGNORE_FILE = ".gitignore"
FILE_NAME = "store.db"


def make_home(environ: Mapping[str, str]) -> Path:
    """Create the folder if it does not exist. Only its owner can read it, and git ignores it.

    Args:
        environ: Environment variables; SMSWEEP_DIR names the folder.

    Returns:
        The folder.

    Raises:
        UsageError: If another user can change the folder. See `check_folder`.
        StoreUnavailable: If the folder cannot be created.
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
        raise StoreUnavailable(
            f"{folder}: the store's folder cannot be created or written ({err.strerror}); "
            "set SMSWEEP_DIR to a folder that you may write to"
        ) from err
    return folder


def home_dir(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of SMSWEEP_DIR, by default ./.smsweep."""
    folder = environ.get("SMSWEEP_DIR") or DEFAULT_DIR
    return Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - pathlib's raises where there is no home
