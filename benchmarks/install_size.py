"""Size of `pip install smsweep`: packages, licences, megabytes.

Installs the pinned packages into a new virtual environment. The sum excludes compiled bytecode, pip and
smsweep itself.

    python -m benchmarks.install_size
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ratios import keep

PINS = Path(__file__).parents[1] / "smsweep" / "requirements" / "base.txt"
# Runs in the new environment: prints each distribution with its licence and the size of its files.
LIST = """
import json
from importlib.metadata import distributions

def licence(meta):
    named = [line.rpartition(":: ")[2] for line in meta.get_all("Classifier", []) if line.startswith("License ::")]
    return meta.get("License-Expression") or ", ".join(named) or (meta.get("License") or "?").splitlines()[0]

print(json.dumps([
    (found.name, found.version, licence(found.metadata), sum(
        path.stat().st_size for path in map(found.locate_file, found.files or ())
        if path.suffix != ".pyc" and path.is_file()
    ))
    for found in distributions()
]))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-m", "venv", name], check=True)
        python = str(Path(name, "bin", "python"))
        pip = [python, "-m", "pip", "install", "--require-hashes", "--no-deps", "--quiet", "--no-compile"]
        subprocess.run([*pip, "-r", str(PINS)], check=True)
        listed = subprocess.run([python, "-c", LIST], check=True, stdout=subprocess.PIPE).stdout
    rows = [row for row in json.loads(listed) if row[0] not in ("pip", "setuptools")]
    rows.sort(key=lambda row: -row[3])
    print("| package | version | licence | MB |\n|---|---|---|---|")
    for package, version, licence, size in rows:
        print(f"| {package} | {version} | {licence} | {size / 1e6:.1f} |")
    keep("packages of the base install", len(rows))
    keep("MB of the base install", sum(row[3] for row in rows) / 1e6)
    print(f"\n{len(rows)} packages, {sum(row[3] for row in rows) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
