"""The supply chain: `python -m tests.audit`, as `make audit` calls it.

Every file that pip would install is compared with the hashes of requirements.lock, every licence with those that
are allowed, and every version with the public lists of known weaknesses, where those can be reached. Ends with 1
where something is not as it should be; a list that cannot be reached is said, and no failure.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata

from tests.markdown import ROOT
from tests.oracles import oracle

LOCK = ROOT / "requirements.lock"
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|0BSD|Unlicense|Zlib)\b", re.I)
EXCEPTIONS = {"certifi": "MPL"}  # a list of certificates, taken as it is
UNREACHED = ("not found on PyPI and could not be audited", "Failed to resolve", "ConnectionError", "timed out")


def main() -> int:
    problems = [*wrong_hashes(), *wrong_licences(licences())]
    weaknesses, was_reached = known_weaknesses()
    if not was_reached:
        print("audit: the lists of known weaknesses cannot be reached from here: nothing was compared with them")
    for problem in [*problems, *weaknesses]:
        print(f"audit: {problem}", file=sys.stderr)
    if problems or weaknesses:
        return 1
    print(f"audit: {len(locked())} packages; files, licences{' and weaknesses' if was_reached else ''} are well")
    return 0


def locked() -> Mapping[str, list[str]]:
    """Return the hashes of requirements.lock by `name==version`, as that stands there with its marker."""
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", LOCK.read_text(encoding="utf-8")):
        if not entry.startswith("#"):
            name = entry.partition("\\")[0].strip()
            found[name] = re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry)
    return found


def wrong_hashes() -> Iterator[str]:
    """Have pip fetch all that would be installed here; it compares each file with the lock."""
    with tempfile.TemporaryDirectory() as folder:
        argv = ["download", "--quiet", "--require-hashes", "--no-deps", "--dest", folder, "-r", str(LOCK)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *argv], capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode:
        yield f"{LOCK.name}: {done.stderr[-2000:]}"


def licences() -> Mapping[str, str]:
    """Return what each package of the base install, as it is here, says of its licence."""
    return {name: licence(name) for name in installed_pins()}


def installed_pins() -> list[str]:
    names = {re.split(r"[=\[]", pin)[0] for pin in locked()}
    here = {str(found.metadata["Name"]).lower().replace("_", "-") for found in metadata.distributions()}
    return sorted(names & here)


def licence(name: str) -> str:
    said = metadata.metadata(name)
    named = [line.rpartition(":: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License ::")]
    stated = {field: said[field] for field in ("License-Expression", "License") if field in said}
    return stated.get("License-Expression") or ", ".join(named) or stated.get("License", "?").splitlines()[0]


def wrong_licences(found: Mapping[str, str]) -> Iterator[str]:
    for name, text in found.items():
        if not PERMISSIVE.search(text) and EXCEPTIONS.get(name, "?") not in text:
            yield f"{name} is under {text!r}, which is none of the permissive licences"


def known_weaknesses() -> tuple[list[str], bool]:
    """Return what pip-audit knows against the pins, and whether its list could be reached."""
    program = str(oracle("audit").python.with_name("pip-audit"))
    argv = [program, "--requirement", str(ROOT / "requirements.txt"), "--no-deps", "--disable-pip"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    said = done.stdout + done.stderr
    if any(word in said for word in UNREACHED):
        return [], False
    return ([said] if done.returncode else []), True


if __name__ == "__main__":
    sys.exit(main())
