"""Build the files of a release: `make dist` writes the wheel, source archive, SBOM and SHA256SUMS to dist/.

The last commit is built twice, in clean clones at different paths. Both builds must have the same bytes, so that a
release can be reproduced. twine and check-wheel-contents check the files as PyPI does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.environments import oracle
from tools.pins import BASE, ROOT, pinned

CLONES = ("one", "another/clone")  # paths of different length


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--tag", default="", help="tag of the release: v and the version of the package")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="folder for the files; existing files are removed"
    )
    options = parser.parse_args(argv)
    try:
        sums = make(options.out, options.tag)
    except (ValueError, subprocess.CalledProcessError) as err:
        print(f"dist: {err}\n{getattr(err, 'stderr', '')}", file=sys.stderr)
        return 1
    for name, digest in sums.items():
        print(f"{digest}  {name}")
    return 0


def make(out: Path, tag: str = "", source: Path = ROOT) -> Mapping[str, str]:
    """Build a repository's last commit.

    Args:
        out: Folder for the files. Existing files are removed.
        tag: Tag of the release; "" for none.
        source: The repository.

    Returns:
        The SHA-256 of each file, by name.

    Raises:
        ValueError: If two builds differ, the tag does not match the version, or PyPI does not accept a file.
    """
    with tempfile.TemporaryDirectory(prefix="smsweep-dist-") as name:
        folder = Path(name)
        clones = [folder / clone for clone in CLONES]
        builds = [folder / f"dist-{number}" for number, _ in enumerate(clones)]
        for clone in clones:
            _run(["git", "clone", "--quiet", "--no-local", str(source), str(clone)])
        (version,) = re.findall(r'^__version__ = "(.*)"$', (clones[0] / "smsweep/_version.py").read_text(), re.M)
        if tag not in ("", f"v{version}"):
            raise ValueError(
                f"the tag is {tag}, but the version in smsweep/_version.py is {version}; change one of them"
            )
        for clone, build in zip(clones, builds, strict=True):
            _build(clone, build)
        first, second = map(digests, builds)
        if first != second:
            raise ValueError(f"two builds of the same commit differ: {first} and {second}; see RELEASING.md")
        check(builds[0])
        write_sbom(clones[0], builds[0] / f"smsweep-{version}.cdx.json", folder / "venv")
        hashes = digests(builds[0])
        sums = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
        (builds[0] / "SHA256SUMS").write_text(sums, encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(builds[0], out)
    return hashes


def check(folder: Path) -> None:
    """Check the metadata of wheel and source archive, the README that PyPI renders, and the files in the wheel.

    Raises:
        ValueError: If a check fails. The message is its output.
    """
    wheels = [str(file) for file in folder.glob("*.whl")]
    archives = [str(file) for file in folder.glob("*.tar.gz")]
    config = ("--config", str(ROOT / "pyproject.toml"))
    for name, *argv in (
        ("twine", "check", "--strict", *wheels, *archives),
        ("check-wheel-contents", *config, *wheels),
    ):
        program = str(oracle("tools").python.with_name(name))
        done = subprocess.run([program, *argv], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{name}: {done.stdout}{done.stderr}")


def write_sbom(source: Path, file: Path, venv: Path) -> None:
    """Write a CycloneDX SBOM of the pinned base install: versions, licences and dependencies.

    Args:
        source: The checkout.
        file: The file to write.
        venv: Folder for an environment that has exactly these packages.
    """
    python = oracle("tools").python
    _run([str(python), "-m", "venv", "--without-pip", str(venv)])
    pip = [str(python), "-m", "pip", "--quiet", "--python", str(venv / "bin" / "python")]
    pins = source / BASE.relative_to(ROOT)
    _run([*pip, *pinned("install", pins), "--no-compile"])
    _run(
        [
            *(str(python.with_name("cyclonedx-py")), "environment", str(venv / "bin" / "python")),
            *("--pyproject", str(source / "pyproject.toml"), "--mc-type", "library", "--output-reproducible"),
            *("--output-format", "JSON", "--output-file", str(file), "--validate"),
        ],
        epoch=_epoch(source),
    )


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder, by name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def _build(source: Path, out: Path) -> None:
    python = str(oracle("tools").python)
    _run([python, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)], epoch=_epoch(source))


def _epoch(source: Path) -> str:
    """Return the time of the last commit, which is used as the build time."""
    return _run(["git", "-C", str(source), "log", "-1", "--format=%ct"]).strip()


def _run(argv: Sequence[str], *, epoch: str = "") -> str:
    environ = {**os.environ, **({"SOURCE_DATE_EPOCH": epoch} if epoch else {})}
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environ).stdout


if __name__ == "__main__":
    sys.exit(main())
