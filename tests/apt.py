"""Debian's packages, installed where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

WAIT_S = 300  # for another apt-get that is at work


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> str:
    """Return what went wrong; "" when nothing did."""
    return update() or _call("install", "-y", "--no-install-recommends", *packages)


def update() -> str:
    """Return what went wrong; "" when nothing did."""
    return _call("update")


def _call(*words: str) -> str:
    apt = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={WAIT_S}", "-o", "Acquire::Retries=3"]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A service that a package starts inherits what apt-get has open: so that is a file, and nobody's pipe.
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(
            [*apt, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, env=environ
        )
        out.seek(0)
        said = out.read()[-2000:]
    return f"apt-get {' '.join(words)} ended with {done.returncode}:\n{said}" if done.returncode else ""
