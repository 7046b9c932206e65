"""Pinned packages: their files and contents. `make lock` writes them (tools/lock.py).

Each package has an exact version, and the SHA-256 of each of its files in the index. The files in
smsweep/requirements are part of the package, because a detached agent installs them in its own job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
BASE = ROOT / "smsweep" / "requirements" / "base.txt"
POSTGRES = BASE.with_name("postgres.txt")
BUILD, EXAMPLES, DEV = (FOLDER / f"{name}.txt" for name in ("build", "examples", "dev"))
FILES = (BASE, POSTGRES, BUILD, EXAMPLES, DEV)
ENVIRONMENTS = FOLDER / "environments.json"  # one file for all environments, because they share most hashes
# Only wheels are installed: the build of a source archive uses unpinned packages.
OPTIONS = ("--require-hashes", "--only-binary :all:")
# Installs this checkout with the pinned build backend. The isolated build of pip downloads an unpinned one.
THIS_FOLDER = ("install", "--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT))

Pins = Mapping[str, Sequence[str]]  # `NAME==VERSION` or `NAME==VERSION ; MARKER` -> hashes: `sha256:HEX`


def read(file: Path) -> Pins:
    """Return the pins of a requirement file, in order."""
    text = file.read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith(("#", "--"))]
    return {entry.partition("\\")[0].strip(): re.findall(r"--hash=(\S+)", entry) for entry in entries}


def read_environment(name: str) -> Pins:
    """Return the own pins of an environment of tools/environments.py."""
    document = read_environments()
    return {pin: document["hashes"][without_marker(pin)] for pin in document["environments"][name]["pins"]}


def read_environments() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ENVIRONMENTS.read_text(encoding="utf-8"))
    return document


def write_environments(environments: Mapping[str, tuple[Sequence[str], Pins]]) -> None:
    """Write the pins of all environments, each with its requirements."""
    hashes = {without_marker(pin): value for _, pins in environments.values() for pin, value in pins.items()}
    content = {
        "environments": {
            name: {"for": wanted, "pins": list(pins)} for name, (wanted, pins) in environments.items()
        },
        "hashes": dict(sorted(hashes.items())),
    }
    ENVIRONMENTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def without_marker(pin: str) -> str:
    return pin.partition(";")[0].strip()


def render(about: str, pins: Pins) -> str:
    """Return the text of a requirement file. pip applies the options in the file at each installation."""
    lines = [f"# {about}", *OPTIONS]
    for pin, hashes in pins.items():
        lines.append(" \\\n".join([pin, *(f"    --hash={value}" for value in hashes)]))
    return "".join(f"{line}\n" for line in lines)


def pinned(verb: str, *files: Path) -> Sequence[str]:
    """Return the arguments of pip that install or download complete requirement files."""
    named = [word for file in files for word in ("--requirement", str(file))]
    return [verb, "--require-hashes", "--no-deps", *named]
