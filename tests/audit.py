"""The supply chain and the code: `python -m tests.audit`, as `make audit` calls it.

* Every file that pip would install has one of the pinned hashes.
* Every licence of the base install is a permissive one.
* No pinned version is in the public lists of known vulnerabilities, where these can be reached.
* bandit finds no unsafe call in smsweep, and zizmor no unsafe step in the release workflow.

Exits with 1 if a check fails. A list that cannot be reached is reported, and is not a failure.
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

from tests.oracles import oracle
from tests.pins import BASE, FILES, ROOT, pinned, read

PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|0BSD|Unlicense|Zlib)\b", re.I)
EXCEPTIONS = {"certifi": "MPL"}  # a list of certificates, taken as it is
UNREACHED = ("not found on PyPI and could not be audited", "Failed to resolve", "ConnectionError", "timed out")
# pyproject.toml says which findings of bandit are none, and why.
SCANS = (
    ("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "smsweep"),
    ("zizmor", "--quiet", "--offline", "--no-progress", "--persona", "pedantic", ".github/workflows"),
)


def main() -> int:
    problems = [*wrong_hashes(), *wrong_licences(licences()), *findings()]
    vulnerabilities, was_reached = known_vulnerabilities()
    if not was_reached:
        print("audit: the lists of known vulnerabilities cannot be reached; nothing was compared with them")
    for problem in [*problems, *vulnerabilities]:
        print(f"audit: {problem}", file=sys.stderr)
    if problems or vulnerabilities:
        return 1
    n_pins = sum(len(read(file)) for file in FILES)
    print(f"audit: {n_pins} pins: no problem in files, licences, code{', vulnerabilities' if was_reached else ''}")
    return 0


def wrong_hashes() -> Iterator[str]:
    """Have pip download all that `make` would install; it compares each file with its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*pinned("download", *FILES), "--quiet", "--dest", folder]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *argv], capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode:
        yield f"pip download: {done.stderr[-2000:]}"


def findings(root: Path = ROOT) -> Iterator[str]:
    """Yield what the scanners of source code report about a checkout."""
    for name, *arguments in SCANS:
        program = str(oracle("tools").python.with_name(name))
        done = subprocess.run(
            [program, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            yield f"{name}: {done.stdout}{done.stderr}"


def licences() -> Mapping[str, str]:
    """Return what each package of the base install, as it is here, says of its licence."""
    return {name: licence(name) for name in installed_pins()}


def installed_pins() -> list[str]:
    pinned = [Requirement(pin) for pin in read(BASE)]
    return sorted(pin.name for pin in pinned if pin.marker is None or pin.marker.evaluate())


def licence(name: str) -> str:
    said = metadata.metadata(name)
    named = [line.rpartition(":: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License ::")]
    stated = {field: said[field] for field in ("License-Expression", "License") if field in said}
    return stated.get("License-Expression") or ", ".join(named) or stated.get("License", "?").splitlines()[0]


def wrong_licences(found: Mapping[str, str]) -> Iterator[str]:
    for name, text in found.items():
        if not PERMISSIVE.search(text) and EXCEPTIONS.get(name, "?") not in text:
            yield f"{name} is under {text!r}, which is none of the permissive licences"


def known_vulnerabilities() -> tuple[list[str], bool]:
    """Return what pip-audit reports about the pins, and whether its list could be reached."""
    program = str(oracle("tools").python.with_name("pip-audit"))
    files = [word for file in FILES for word in ("--requirement", str(file))]
    argv = [program, *files, "--require-hashes", "--disable-pip"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    said = done.stdout + done.stderr
    if any(word in said for word in UNREACHED):
        return [], False
    return ([said] if done.returncode else []), True


if __name__ == "__main__":
    sys.exit(main())
