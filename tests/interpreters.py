"""Pythons of other versions: on PATH, or where pyenv and uv keep theirs."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def find_python(minor: int) -> str | None:
    """Return a python3.<minor> that works; a version manager's shim may be there without the version."""
    for python in _candidates(f"python3.{minor}"):
        if subprocess.run([python, "-c", "import ssl, sqlite3"], capture_output=True).returncode == 0:
            return python
    return None


def _candidates(name: str) -> Iterator[str]:
    if found := shutil.which(name):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    for folder in (pyenv, uv):
        yield from sorted(map(str, folder.glob(f"*/bin/{name}")), reverse=True)
