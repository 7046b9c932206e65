"""Audit of the supply chain and the code: `python -m tools.audit`, or `make audit`.

* Each file that pip installs has one of the pinned hashes.
* All licences of the base install are permissive.
* No pinned version is in the public lists of known vulnerabilities, if they are reachable.
* bandit finds no unsafe call in smsweep, and zizmor no unsafe step in the release workflow.

The exit code is 1 if a check fails. An unreachable list is reported, and is not a failure.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tools.environments import oracle
from tools.pins import BASE, FILES, ROOT, pinned, read

PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|0BSD|Unlicense|Zlib)\b", re.I)
EXCEPTIONS = {"certifi": "MPL"}  # a list of certificates, used unchanged
UNREACHED = ("not found on PyPI and could not be audited", "Failed to resolve", "ConnectionError", "timed out")
# pyproject.toml has the accepted findings of bandit, with reasons.
SCANS = (
    ("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "smsweep"),
    ("zizmor", "--quiet", "--offline", "--no-progress", "--persona", "pedantic", ".github/workflows"),
)


def main() -> int:
    problems = [*wrong_hashes(), *wrong_licences(licences()), *findings()]
    vulnerabilities, was_reached = known_vulnerabilities()
    if not was_reached:
        print("audit: the lists of known vulnerabilities are not reachable; this check was skipped")
    for problem in [*problems, *vulnerabilities]:
        print(f"audit: {problem}", file=sys.stderr)
    if problems or vulnerabilities:
        return 1
    n_pins = sum(len(read(file)) for file in FILES)
    print(f"audit: {n_pins} pins: no problem in files, licences, code{', vulnerabilities' if was_reached else ''}")
    return 0


def wrong_hashes() -> Iterator[str]:
    """Download all pinned files with pip, which checks their hashes."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*pinned("download", *FILES), "--quiet", "--dest", folder]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *argv], capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode:
        yield f"pip download: {done.stderr[-2000:]}"


def findings(root: Path = ROOT) -> Iterator[str]:
    """Yield the reports of the source code scanners about a checkout."""
    for name, *arguments in SCANS:
        program = str(oracle("tools").python.with_name(name))
        done = subprocess.run(
            [program, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            yield f"{name}: {done.stdout}{done.stderr}"


def licences() -> Mapping[str, str]:
    """Return the licence of each installed package of the base install."""
    return {name: licence(name) for name in installed_pins()}


def installed_pins() -> list[str]:
    pinned = [Requirement(pin) for pin in read(BASE)]
    return sorted(pin.name for pin in pinned if pin.marker is None or pin.marker.evaluate())


def licence(name: str) -> str:
    output = metadata.metadata(name)
    named = [
        line.rpartition(":: ")[2] for line in output.get_all("Classifier", []) if line.startswith("License ::")
    ]
    stated = {field: output[field] for field in ("License-Expression", "License") if field in output}
    return stated.get("License-Expression") or ", ".join(named) or stated.get("License", "?").splitlines()[0]


def wrong_licences(licence_texts: Mapping[str, str]) -> Iterator[str]:
    for name, text in licence_texts.items():
        if not PERMISSIVE.search(text) and EXCEPTIONS.get(name, "?") not in text:
            yield f"{name} has the licence {text!r}, which is not permissive"


def known_vulnerabilities() -> tuple[list[str], bool]:
    """Return (reports of pip-audit about the pins, True if its lists are reachable)."""
    program = str(oracle("tools").python.with_name("pip-audit"))
    files = [word for file in FILES for word in ("--requirement", str(file))]
    argv = [program, *files, "--require-hashes", "--disable-pip"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    output = done.stdout + done.stderr
    if any(word in output for word in UNREACHED):
        return [], False
    return ([output] if done.returncode else []), True


if __name__ == "__main__":
    sys.exit(main())
