"""Other Python versions, on PATH or installed by pyenv or uv.

`python -m tools.interpreters`, or `make test-pythons`, runs the fast tests on each installed Python version that
pyproject.toml lists. The environments are in `.venvs/`.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@functools.cache
def find_python(minor: int) -> str | None:
    """Return a working python3.<minor>, or None. The shim of a version manager can exist without the version."""
    for python in _candidates(f"python3.{minor}"):
        if subprocess.run([python, "-c", "import ssl, sqlite3"], capture_output=True).returncode == 0:
            return python
    return None


def supported() -> list[int]:
    """Return the minor versions that pyproject.toml lists."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return [int(minor) for minor in re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', text)]


def main() -> int:
    ended = {}
    for minor in supported():
        python = find_python(minor)
        if python is None:
            ended[minor] = "not installed"
            continue
        command = ["make", "test-fast", f"VENV=.venvs/python3.{minor}", f"PYTHON={python}"]
        done = subprocess.run([*command, f"ARGS={' '.join(sys.argv[1:])}"], cwd=ROOT, check=False)
        ended[minor] = "failed" if done.returncode else "passed"
    for minor, how in ended.items():
        print(f"Python 3.{minor}: {how}")
    return 1 if "failed" in ended.values() else 0


def _candidates(name: str) -> Iterator[str]:
    if path := shutil.which(name):
        yield path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    for folder in (pyenv, uv):
        yield from sorted(map(str, folder.glob(f"*/bin/{name}")), reverse=True)


if __name__ == "__main__":
    sys.exit(main())
