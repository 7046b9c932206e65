"""Installation of Debian packages, where it is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

WAIT_S = 300  # for another running apt-get


def can_install() -> bool:
    """Return True if this process can install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> str:
    """Install packages. Return the error, or "" on success."""
    return update() or _call("install", "-y", "--no-install-recommends", *packages)


def update() -> str:
    """Update the package lists. Return the error, or "" on success."""
    return _call("update")


def _call(*words: str) -> str:
    apt = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={WAIT_S}", "-o", "Acquire::Retries=3"]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Services that a package starts inherit the output of apt-get: a pipe would stay open.
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(
            [*apt, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, env=environ
        )
        out.seek(0)
        output = out.read()[-2000:]
    return f"apt-get {' '.join(words)} exited with code {done.returncode}:\n{output}" if done.returncode else ""
