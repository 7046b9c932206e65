"""Build the files of a release, `make dist`: wheel, source archive, SBOM, release notes and SHA256SUMS in dist/.

The last commit is built twice, in clean clones that differ in path, umask, file times, time zone, locale, home and
time of the build (`BUILDS`). Both builds must have the same bytes, so that a release can be reproduced. twine and
check-wheel-contents check the files as PyPI does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.environments import oracle
from tools.pins import BASE, ROOT, pinned

NOTES = "RELEASE_NOTES.md"  # the newest section of CHANGELOG.md
# The site module of Python runs this file at each start of a build.
CLOCK = "import time\nreal = time.time\ntime.time = lambda: real() + {seconds}\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """A clean clone, and the settings of its build."""

    path: str  # of the clone
    umask: int
    zone: str  # time zone
    locale: str
    hash_seed: str
    clock_s: int  # difference of the build's clock to the real time
    file_time: int | None  # of all files in the clone; None keeps the time of the checkout


BUILDS = (
    Build(path="one", umask=0o022, zone="UTC", locale="C.UTF-8", hash_seed="1", clock_s=0, file_time=None),
    Build(
        path="another/clone",
        umask=0o077,
        zone="Pacific/Auckland",
        locale="C",
        hash_seed="2",
        clock_s=400 * 86_400,
        file_time=1_000_000_000,
    ),
)


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
        ValueError: If two builds differ, the tag does not match the version or the changelog, or PyPI does not
            accept a file.
    """
    with tempfile.TemporaryDirectory(prefix="smsweep-dist-") as name:
        folder = Path(name)
        clones = [_clone(source, folder, build) for build in BUILDS]
        (version,) = re.findall(r'^__version__ = "(.*)"$', (clones[0] / "smsweep/_version.py").read_text(), re.M)
        notes = release_notes(clones[0], version, tag)
        first, second = (_build(clone, folder, build) for clone, build in zip(clones, BUILDS, strict=True))
        if changed := differences(first, second):
            raise ValueError(f"two builds of the same commit differ; see RELEASING.md: {', '.join(changed)}")
        check(first)
        write_sbom(clones[0], first / f"smsweep-{version}.cdx.json", folder / "venv")
        (first / NOTES).write_text(notes, encoding="utf-8")
        hashes = digests(first)
        sums = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
        (first / "SHA256SUMS").write_text(sums, encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(first, out)
    return hashes


def release_notes(source: Path, version: str, tag: str = "") -> str:
    """Return the newest section of CHANGELOG.md.

    Raises:
        ValueError: If the checkout is not ready for the tag.
    """
    if tag not in ("", f"v{version}"):
        raise ValueError(
            f"the tag is {tag}, but the version in smsweep/_version.py is {version}; change one of them"
        )
    newest = (source / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    heading, _, notes = newest.partition("\n")
    if tag and not re.match(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", heading):
        raise ValueError(
            f"CHANGELOG.md: the newest section is {heading!r}; start it with '{version} (YEAR-MONTH-DAY)'"
        )
    if tag and "is not released yet" in (source / "README.md").read_text(encoding="utf-8"):
        raise ValueError("README.md: the status is 'not released yet'; update it, because PyPI shows it")
    return f"{notes.strip()}\n"


def differences(first: Path, second: Path) -> list[str]:
    """Return the names of files that differ between two builds, with the differing files in archives."""
    changed = []
    for name in sorted({file.name for folder in (first, second) for file in folder.iterdir()}):
        one, other = first / name, second / name
        if one.exists() and other.exists() and one.read_bytes() == other.read_bytes():
            continue
        parts, others = contents(one), contents(other)
        inside = sorted(part for part in {*parts, *others} if parts.get(part) != others.get(part))
        changed.append(f"{name} ({', '.join(inside) or 'order of its files'})")
    return changed


def contents(archive: Path) -> Mapping[str, object]:
    """Return the content, mode and time of each file in a wheel or source archive, by name."""
    if not archive.exists():
        return {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {i.filename: (wheel.read(i), i.external_attr, i.date_time) for i in wheel.infolist()}
    with tarfile.open(archive) as tar:
        return {
            i.name: (file.read() if (file := tar.extractfile(i)) else b"", i.mode, i.mtime, i.uid, i.uname)
            for i in tar.getmembers()
        }


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
        SOURCE_DATE_EPOCH=_epoch(source),
    )


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder, by name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def _clone(source: Path, folder: Path, build: Build) -> Path:
    clone = folder / build.path
    _run(["git", "clone", "--quiet", "--no-local", str(source), str(clone)], umask=build.umask)
    if build.file_time is not None:
        for file in clone.rglob("*"):
            os.utime(file, (build.file_time, build.file_time), follow_symlinks=False)
    return clone


def _build(clone: Path, folder: Path, build: Build) -> Path:
    """Build a clone's wheel and source archive, and return their folder."""
    settings, out = folder / f"settings-{build.hash_seed}", folder / f"dist-{build.hash_seed}"
    settings.mkdir()
    (settings / "sitecustomize.py").write_text(CLOCK.format(seconds=build.clock_s), encoding="utf-8")
    _run(
        [str(oracle("tools").python), "-m", "build", "--no-isolation", "--outdir", str(out), str(clone)],
        umask=build.umask,
        SOURCE_DATE_EPOCH=_epoch(clone),
        PYTHONPATH=str(settings),
        PYTHONHASHSEED=build.hash_seed,
        HOME=str(settings),
        TZ=build.zone,
        LC_ALL=build.locale,
    )
    return out


def _epoch(source: Path) -> str:
    """Return the time of the last commit, which is used as the build time."""
    return _run(["git", "-C", str(source), "log", "-1", "--format=%ct"]).strip()


def _run(argv: Sequence[str], *, umask: int = -1, **variables: str) -> str:
    environ = {**os.environ, **variables}
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environ, umask=umask).stdout


if __name__ == "__main__":
    sys.exit(main())
