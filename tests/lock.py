"""Renew the pinned requirement files: `make lock`, which hands over the uv of an environment of its own.

requirements.txt is what pyproject's dependencies bring in, requirements.lock the same with the hashes of every
file that an index has of it, requirements-dev.txt what tests, linters and the examples need on top. All hold for
every Python that pyproject allows: where an older one needs an older release, or more packages, a marker says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE, DEV, LOCK = (ROOT / f"requirements{end}" for end in (".txt", "-dev.txt", ".lock"))
BASE_HEAD = "# The pinned base install, from pyproject.toml. Renew with `make lock`.\n"
LOCK_HEAD = (
    "# requirements.txt with hashes: pip install --require-hashes -r requirements.lock. Renew with `make lock`.\n"
)
DEV_HEAD = "# What tests, linters and the examples need on top of requirements.txt. Renew with `make lock`.\n"


def main(uv: str) -> None:
    base = resolved(uv)
    BASE.write_text(BASE_HEAD + "".join(f"{line}\n" for line in base))
    hashed = resolved(uv, "--generate-hashes", "--constraint", str(BASE))
    LOCK.write_text(LOCK_HEAD + "".join(f"{line}\n" for line in hashed))
    extras = [word for name in ("postgres", "endpoint", "report", "ui") for word in ("--extra", name)]
    wanted = (*extras, "--group", "dev", "--constraint", str(BASE))
    both = resolved(uv, *wanted, str(ROOT / "examples" / "digits" / "requirements.txt"))
    DEV.write_text(DEV_HEAD + "-r requirements.txt\n" + "".join(f"{line}\n" for line in both if line not in base))


def resolved(uv: str, *options: str) -> Sequence[str]:
    """Return all that the project needs, pinned, for each Python that it supports."""
    oldest = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[0]
    argv = [uv, "pip", "compile", "--universal", "--python-version", oldest, "--no-header", "--no-annotate"]
    done = subprocess.run(
        [*argv, "--quiet", *options, "pyproject.toml"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()


if __name__ == "__main__":
    main(sys.argv[1])
