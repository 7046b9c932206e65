"""System services of the tests: `python -m tools.services` installs and starts them, where it is allowed.

Without root or apt, the command reports what is missing, and exits with code 1.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools import apt, docker_engine, slurm
from tools.browser import find_chromium


def main() -> int:
    problems = [problem for problem in (ensure_programs(), ensure_engine()) if problem]
    for problem in problems:
        print(f"tests: {problem}", file=sys.stderr)
    return 1 if problems else 0


def ensure_programs() -> str:
    """Install missing programs. Return the error, or "" on success."""
    missing = [package for name, packages in PACKAGES.items() if not IS_INSTALLED[name]() for package in packages]
    if not missing:
        return ""
    if not apt.can_install():
        return f"programs are missing; on Debian, run: apt-get install {' '.join(missing)}"
    print(f"tests: apt-get install {' '.join(missing)}", file=sys.stderr)
    return apt.install(missing)


def ensure_engine() -> str:
    """Start a Docker Engine with the image of the tests. Return the error, or "" on success."""
    try:
        docker_engine.bring_up().close()
    except docker_engine.NoEngine as err:
        return str(err)
    return ""


def has_postgres() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb") is not None


def has_torch() -> bool:
    """Return True if Debian's Python has PyTorch, and can create environments with it."""
    return all(any(Path("/usr/lib").glob(pattern)) for pattern in TORCH_FILES)


TORCH_FILES = ("python3/dist-packages/torch", "python3.*/ensurepip")
PACKAGES: Mapping[str, Sequence[str]] = {
    "postgres": ["postgresql"],
    "slurm": [*slurm.PACKAGES],
    "browser": ["chromium-headless-shell"],
    "terminal": ["tmux"],
    "torch": ["python3-torch", "python3-venv"],
    "antlr": ["python3-antlr4"],
    "engine": [*docker_engine.APT_PACKAGES],
}
IS_INSTALLED: Mapping[str, Callable[[], bool]] = {
    "postgres": has_postgres,
    "slurm": lambda: all(map(shutil.which, slurm.PROGRAMS)),
    "browser": lambda: find_chromium() != "",
    "terminal": lambda: shutil.which("tmux") is not None,
    "torch": has_torch,
    "antlr": lambda: Path("/usr/lib/python3/dist-packages/antlr4").is_dir(),
    "engine": docker_engine.can_start,
}
if __name__ == "__main__":
    sys.exit(main())
