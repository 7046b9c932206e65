"""Who may read and write what a container is shown: its image's user need not be the caller."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def open_to_all(folder: Path, *, folders: int, files: int) -> None:
    """Add these bits to the modes of a folder and all below it, whatever the umask; 0 for none. Links stay."""
    for parent, _, names in os.walk(folder):
        _allow(Path(parent), folders)
        for name in names if files else ():
            _allow(Path(parent, name), files)


def _allow(path: Path, bits: int) -> None:
    with suppress(PermissionError):  # not ours: an earlier container's, whose user has it still
        mode = path.lstat().st_mode
        if mode & bits != bits and not path.is_symlink():
            path.chmod(mode | bits)
