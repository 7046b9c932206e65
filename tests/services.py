"""What the tests need from the system: `python -m tests.services` installs and starts it where that is allowed.

On a machine where it may not (not root, or no apt), it says what is missing and ends with 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import engine, slurm
from tests.browser import find_chromium


def main() -> int:
    found = (ensure_postgres(), ensure_slurm(), ensure_browser(), ensure_engine())
    problems = [problem for problem in found if problem]
    for problem in problems:
        print(f"tests: {problem}", file=sys.stderr)
    return 1 if problems else 0


def ensure_postgres() -> str:
    """Return what is missing; "" when PostgreSQL's programs are there."""
    if any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb"):
        return ""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "PostgreSQL is not installed; install it (Debian: apt-get install postgresql)"
    return install("postgresql")


def ensure_browser() -> str:
    """Return what is missing; "" when there is a Chromium."""
    if find_chromium():
        return ""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "Chromium is not installed; install it (Debian: apt-get install chromium)"
    return install("chromium")


def ensure_slurm() -> str:
    """Return what is missing; "" when SLURM's programs are there."""
    if all(map(shutil.which, slurm.PROGRAMS)):
        return ""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"SLURM is not installed; install it (Debian: apt-get install {' '.join(slurm.PACKAGES)})"
    return install(*slurm.PACKAGES)


def install(*packages: str) -> str:
    """Return what went wrong; "" when nothing did."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        code = subprocess.run(["apt-get", *argv], check=False, env=environ).returncode
        if code:
            return f"apt-get {argv[0]} for {' '.join(packages)} ended with {code}; its output is above"
    return ""


def ensure_engine() -> str:
    """Return what is missing; "" when a Docker Engine answers and has the tests' image."""
    try:
        engine.bring_up().close()
    except engine.NoEngine as err:
        return str(err)
    return ""


if __name__ == "__main__":
    sys.exit(main())
