"""Renew the two pinned requirement files: `make lock`, which hands over the Python of an empty environment.

requirements.txt is what pyproject's dependencies bring in; requirements-dev.txt what tests, linters and the
examples need on top of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]
BASE, DEV = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"
BASE_HEAD = "# The pinned base install, from pyproject.toml. Renew with `make lock`.\n"
DEV_HEAD = "# What tests, linters and the examples need on top of requirements.txt. Renew with `make lock`.\n"


def main(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    base = installed(python, project["project"]["dependencies"])
    BASE.write_text(BASE_HEAD + "".join(f"{line}\n" for line in base))
    example = (ROOT / "examples" / "digits" / "requirements.txt").read_text().split()
    wanted = [*project["dependency-groups"]["dev"], *extras["postgres"], *extras.get("endpoint", []), *example]
    both = installed(python, [*base, *wanted])
    DEV.write_text(DEV_HEAD + "-r requirements.txt\n" + "".join(f"{line}\n" for line in both if line not in base))


def installed(python: str, requirements: list[str]) -> list[str]:
    """Install and return everything that is there then, pinned."""
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *requirements], check=True)
    done = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True)
    return sorted((line for line in done.stdout.splitlines() if "==" in line), key=str.lower)


if __name__ == "__main__":
    main(sys.argv[1])
