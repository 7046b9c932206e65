"""Files of a hostile package index are not installed, and their code does not run.

The project's own install commands run in a copy of the project that pins one small package. The index on loopback
serves the pinned file, or one of several hostile files.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker.wheels import make_wheel, serve
from tests.unit.runtime.jobs import Job
from tools import pins
from tools.environments import UV, oracle
from tools.pins import ROOT

NAME, PROJECT = "smsweep_demo", "smsweep-demo"
WHEEL = f"{NAME}-1.0-py3-none-any.whl"
REFUSALS = (  # of pip, of uv
    *("DO NOT MATCH THE HASHES", "No matching distribution found"),
    *("Hash mismatch for", "No solution found"),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The copy of the project, an environment to install into, and files that hostile code would write."""

    copy: Path
    venv: Path
    honest: bytes  # the wheel that is pinned
    mark: Path  # exists after code of a hostile file ran

    @property
    def python(self) -> str:
        return str(self.venv / "bin" / "python")

    @property
    def site(self) -> Path:
        (found,) = self.venv.glob("lib/python*/site-packages")
        return found

    def installed(self) -> list[str]:
        return sorted(path.name for path in self.site.glob(f"*{NAME}*"))

    def forget(self) -> None:
        for path in self.site.glob(f"*{NAME}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.mark.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("supply")
    copy = folder / "project"
    for name in ("smsweep", "hydra_plugins", "tests", "tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "container", copy / "container")
    honest = make_wheel(folder / "honest", NAME).read_bytes()
    pinned = {f"{PROJECT}==1.0": [f"sha256:{sha256(honest)}"]}
    (copy / "requirements").mkdir()
    for file in pins.FILES:
        (copy / file.relative_to(ROOT)).write_text(pins.render("for a test", pinned))
    environments = pins.read_environments()
    environments["environments"] = {name: {"for": [PROJECT], "pins": list(pinned)} for name in ("sweeps", UV)}
    environments["hashes"] = pinned
    (copy / pins.ENVIRONMENTS.relative_to(ROOT)).write_text(json.dumps(environments))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    return Place(copy=copy, venv=folder / "venv", honest=honest, mark=folder / "mark")


@pytest.fixture(autouse=True)
def _starts_clean(place: Place) -> Iterator[None]:
    place.forget()
    yield
    place.forget()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Attacks of an index. Each writes files below the folder, and returns the links of its page.

Attack = Callable[[Place, Path], Sequence[str]]


def evil_wheel(place: Place, version: str = "1.0", requires: str = "", name: str = NAME) -> bytes:
    """Return a wheel that is valid but not the pinned one; Python runs its code at each start."""
    files = {
        f"{NAME}.py": "VERSION = 'evil'\n",
        f"{NAME}.pth": f"import pathlib; pathlib.Path({str(place.mark)!r}).touch()\n",
    }
    return wheel_of(files, name, version, requires)


def wheel_of(files: Mapping[str, str], name: str, version: str, requires: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + requires,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in {**files, **about}.items():
            archive.writestr(path, text)
    return data.getvalue()


def evil_source(place: Place) -> bytes:
    """Return a source archive whose setup.py runs when its metadata is read."""
    script = f"import pathlib; pathlib.Path({str(place.mark)!r}).touch()\nraise SystemExit(1)\n"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("setup.py", script), ("PKG-INFO", f"Metadata-Version: 2.1\nName: {PROJECT}\n")):
            member = tarfile.TarInfo(f"{NAME}-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def serving(content: Callable[[Place], bytes], name: str = WHEEL, fragment: str = "") -> Attack:
    """Return an attack that serves a file under a name. fragment: can contain {own} and {pinned} digests."""

    def attack(place: Place, folder: Path) -> Sequence[str]:
        data = content(place)
        (folder / name).write_bytes(data)
        digests = {"own": sha256(data), "pinned": sha256(place.honest), "md5": hashlib.md5(data).hexdigest()}
        return [f'<a href="{name.replace("+", "%2B")}{fragment.format(**digests)}">{name}</a>']

    return attack


def with_metadata_apart(place: Place, folder: Path) -> Sequence[str]:
    """Serve the metadata of the wheel as a separate file (PEP 658), which requires an additional package."""
    evil = evil_wheel(place)
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: 1.0\nRequires-Dist: smsweep-evil\n".encode()
    (folder / WHEEL).write_bytes(evil)
    (folder / f"{WHEEL}.metadata").write_bytes(metadata)
    known = f"sha256={sha256(metadata)}"
    return [f'<a href="{WHEEL}" data-dist-info-metadata="{known}" data-core-metadata="{known}">{WHEEL}</a>']


def beside(*attacks: Attack) -> Attack:
    return lambda place, folder: [link for attack in attacks for link in attack(place, folder)]


ATTACKS: Mapping[str, Attack] = {
    "other content": serving(evil_wheel),
    "other content with its own hash": serving(evil_wheel, fragment="#sha256={own}"),
    "other content under the pinned hash": serving(evil_wheel, fragment="#sha256={pinned}"),
    "other content with an MD5": serving(evil_wheel, fragment="#md5={md5}"),
    "other content with a new requirement": serving(
        lambda place: evil_wheel(place, requires="Requires-Dist: smsweep-evil\n")
    ),
    "metadata apart": with_metadata_apart,
    "bytes behind the honest wheel": serving(lambda place: place.honest + b"\0" * 100),
    "half of the honest wheel": serving(lambda place: place.honest[: len(place.honest) // 2]),
    "a web page": serving(lambda place: b"<html>log in first</html>"),
    "a source archive": serving(evil_source, name=f"{NAME}-1.0.tar.gz"),
    "a source archive with its own hash": serving(
        evil_source, name=f"{NAME}-1.0.tar.gz", fragment="#sha256={own}"
    ),
    "a newer version": serving(lambda place: evil_wheel(place, "99.0"), name=f"{NAME}-99.0-py3-none-any.whl"),
    "a post-release": serving(
        lambda place: evil_wheel(place, "1.0.post1"), name=f"{NAME}-1.0.post1-py3-none-any.whl"
    ),
    "a local version": serving(
        lambda place: evil_wheel(place, "1.0+evil"), name=f"{NAME}-1.0+evil-py3-none-any.whl"
    ),
    "a higher build number": serving(evil_wheel, name=f"{NAME}-1.0-999-py3-none-any.whl"),
}
HONEST = serving(lambda place: place.honest, fragment="#sha256={own}")
# The index also has the pinned file: pip installs it, and no other file.
PASSED_OVER: Mapping[str, Attack] = {
    name: beside(ATTACKS[name], HONEST)
    for name in ("a newer version", "a local version", "a higher build number", "a source archive")
}


# Commands that install packages.


def makefile_lines(place: Place) -> list[list[str]]:
    """Return the pip commands that `make` runs for a new environment."""
    stamp = str(place.venv / ".dev")
    done = subprocess.run(
        ["make", "--dry-run", f"VENV={place.venv}", stamp],
        cwd=place.copy,
        check=True,
        capture_output=True,
        text=True,
    )
    return [shlex.split(line) for line in done.stdout.splitlines() if " -m pip " in line]


def dockerfile_lines(place: Place) -> list[list[str]]:
    """Return the pip commands in container/agent.Dockerfile, with the environment and files of this test."""
    text = (place.copy / "container" / "agent.Dockerfile").read_text().replace("\\\n", " ")
    found = []
    for command in re.findall(r"bin/pip (.*?)(?: &&|$)", text, re.M):
        for name in ("base", "postgres", "build"):
            (file,) = (place.copy / pin.relative_to(ROOT) for pin in pins.FILES if pin.stem == name)
            command = command.replace(f"{name}.txt", str(file))
        found.append([place.python, "-m", "pip", *shlex.split(command)])
    return found


Command = Callable[[Place, Mapping[str, str], Path], subprocess.CompletedProcess[str]]


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def make_line(number: int) -> Command:
    def command(place: Place, environ: Mapping[str, str], scratch: Path) -> subprocess.CompletedProcess[str]:
        lines = [line for line in makefile_lines(place) if "-r" in line]
        assert len(lines) == 3
        return run(lines[number], place.copy, environ)

    return command


def dockerfile_line(number: int) -> Command:
    def command(place: Place, environ: Mapping[str, str], scratch: Path) -> subprocess.CompletedProcess[str]:
        lines = [line for line in dockerfile_lines(place) if "-r" in line]
        assert len(lines) == 2
        return run(lines[number], place.copy, environ)

    return command


@functools.cache
def agent_requirements(place: Place) -> str:
    """Return the requirements that a detached agent's job installs, from the pins of the copy."""
    script = "from smsweep.remote.agent_job.submit import requirements as r; print(r(('postgres',)))"
    result = run([sys.executable, "-c", script], place.copy, {**os.environ, "PYTHONPATH": str(place.copy)})
    assert result.returncode == 0, result.stdout
    return result.stdout


def remote_agent(place: Place, environ: Mapping[str, str], scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint of a detached agent's job with its included requirements."""
    files = {"train.py": "import smsweep_demo\n", "requirements.txt": agent_requirements(place)}
    job = Job(scratch / "job").trial(files)
    job.environ |= {**environ, "PATH": f"{place.venv / 'bin'}:{os.environ['PATH']}"}
    done = job.run(["--install-requirements"])
    return subprocess.CompletedProcess([], done.code, done.out + done.err)


def download(place: Place, environ: Mapping[str, str], scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the download of `make audit`. The files are stored in a temporary folder."""
    script = "import sys; from tools import audit; sys.exit('\\n'.join(audit.wrong_hashes()) or 0)"
    return run([sys.executable, "-c", script], place.copy, {**environ, "PYTHONPATH": str(place.copy)})


def environment(name: str) -> Command:
    """Return a command that creates an environment of tools/environments.py."""

    def command(place: Place, environ: Mapping[str, str], scratch: Path) -> subprocess.CompletedProcess[str]:
        folder = place.copy / ".venvs"
        shutil.rmtree(folder, ignore_errors=True)
        if name != UV:  # the copy uses uv of this checkout
            (folder / UV / "bin").mkdir(parents=True)
            (folder / UV / "bin" / "uv").symlink_to(oracle(UV).python.with_name("uv"))
            document = json.loads((place.copy / pins.ENVIRONMENTS.relative_to(ROOT)).read_text())
            (folder / UV / "ready").write_text(pins.render(UV, document["hashes"]))
        script = f"from tools.environments import oracle; print(oracle({name!r}).python)"
        done = run([sys.executable, "-c", script], place.copy, {**environ, "PYTHONPATH": str(place.copy)})
        left = folder.glob(f"{name}/lib/python*/site-packages/{NAME}*")
        assert bool(list(left)) == (done.returncode == 0)
        return done

    return command


COMMANDS: Mapping[str, Command] = {
    "make .base": make_line(0),
    "make .example": make_line(1),
    "make .dev": make_line(2),
    "agent.Dockerfile: build": dockerfile_line(0),
    "agent.Dockerfile": dockerfile_line(1),
    "remote agent": remote_agent,
    "make audit": download,
    "tools.environments with pip": environment(UV),
    "tools.environments with uv": environment("sweeps"),
}
KINDS = ("make .base", "remote agent")  # pip does not resolve dependencies for one command, but does for the other
INTO_THE_VENV = set(COMMANDS) - {
    *("make audit", "tools.environments with pip", "tools.environments with uv"),
}


@pytest.fixture
def attempt(place: Place, tmp_path: Path) -> Callable[[str, Attack], subprocess.CompletedProcess[str]]:
    """Return a function that runs a command while the index serves an attack."""

    def attempt(command: str, attack: Attack) -> subprocess.CompletedProcess[str]:
        index = tmp_path / "index"
        (index / PROJECT).mkdir(parents=True)
        links = "\n".join(attack(place, index / PROJECT))
        (index / PROJECT / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        with serve(index) as (url, asked):
            done = COMMANDS[command](place, pip_environment(url, tmp_path), tmp_path)
        assert any(path.startswith(f"/{PROJECT}") for path in asked), "the index received a request"
        return done

    return attempt


def pip_environment(url: str, home: Path) -> dict[str, str]:
    """Return an environment in which pip uses only this index."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SMSWEEP_"))
    }
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": url, "PIP_NO_CACHE_DIR": "1", "CI": ""}
    settings |= {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": url, "UV_NO_CACHE": "1"}
    return {**inherited, **settings, "HOME": str(home), "PIP_RETRIES": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.mark.parametrize("command", COMMANDS)
def test_pinned_file_is_installed(
    command: str, place: Place, attempt: Callable[[str, Attack], subprocess.CompletedProcess[str]]
) -> None:
    done = attempt(command, HONEST)
    assert done.returncode == 0, done.stdout
    if command in INTO_THE_VENV:
        assert f"{NAME}.py" in place.installed()


@pytest.mark.parametrize(
    ("command", "attack"),
    [
        *((command, attack) for command in KINDS for attack in ATTACKS),
        *((command, "other content") for command in COMMANDS if command not in KINDS),
    ],
)
def test_other_files_are_refused(
    command: str, attack: str, place: Place, attempt: Callable[[str, Attack], subprocess.CompletedProcess[str]]
) -> None:
    done = attempt(command, ATTACKS[attack])
    assert done.returncode != 0
    assert any(refusal in done.stdout for refusal in REFUSALS), done.stdout
    assert place.installed() == []
    assert not place.mark.exists()


@pytest.mark.parametrize("command", KINDS)
@pytest.mark.parametrize("attack", PASSED_OVER)
def test_pinned_file_is_selected_among_other_files(
    command: str, attack: str, place: Place, attempt: Callable[[str, Attack], subprocess.CompletedProcess[str]]
) -> None:
    done = attempt(command, PASSED_OVER[attack])
    assert done.returncode == 0, done.stdout
    assert (place.site / f"{NAME}.py").read_text() == "VERSION = '1.0'\n"
    assert not place.mark.exists()


def test_build_of_this_folder_uses_no_index(place: Place, tmp_path: Path) -> None:
    """The index offers a build backend, but the build must use the installed, pinned one."""
    index = tmp_path / "index"
    (index / "hatchling").mkdir(parents=True)
    (index / "hatchling" / "index.html").write_text("<html></html>")
    local = [line for line in [*makefile_lines(place), *dockerfile_lines(place)] if "-r" not in line]
    assert len(local) == 3
    with serve(index) as (url, asked):
        for line in local:
            done = run(line, place.copy, pip_environment(url, tmp_path))
            assert done.returncode != 0, done.stdout
    assert asked == []


@pytest.mark.parametrize("swapped", ["", "smsweep", PROJECT])
def test_user_data_installs_only_the_release_and_its_pins(swapped: str, place: Place, tmp_path: Path) -> None:
    """The hash of the release's wheel is in examples/ec2/user-data.sh; those of other files are in the wheel."""
    text = (ROOT / "examples" / "ec2" / "user-data.sh").read_text(encoding="utf-8")
    (version,) = re.findall(r"smsweep==([\d.]+) ", text)
    (lines,) = re.findall(r"^python3 -m venv .*?postgres.txt\"$", text, re.M | re.S)
    folder = place.copy / "smsweep" / "requirements"
    files = {f"smsweep/requirements/{file.name}": file.read_text() for file in folder.iterdir()}
    release = wheel_of(files, "smsweep", version)
    served = {"smsweep": (f"smsweep-{version}-py3-none-any.whl", release), PROJECT: (WHEEL, place.honest)}
    if swapped:
        name, _ = served[swapped]
        served[swapped] = (name, evil_wheel(place, version=name.split("-")[1], name=name.split("-")[0]))
    for project, (name, data) in served.items():
        (tmp_path / "index" / project).mkdir(parents=True)
        (tmp_path / "index" / project / name).write_bytes(data)
        (tmp_path / "index" / project / "index.html").write_text(f'<html><a href="{name}">{name}</a></html>')
    venv = tmp_path / "venv"
    script = f"set -euo pipefail\nwheel={sha256(release)}\n{lines.replace('/opt/smsweep', str(venv))}\n"
    with serve(tmp_path / "index") as (url, _):
        done = run(["bash", "-c", script], tmp_path, pip_environment(url, tmp_path))
    assert (done.returncode == 0) == (not swapped), done.stdout
    assert bool(swapped) == ("DO NOT MATCH THE HASHES" in done.stdout)
    assert bool(list(venv.glob(f"lib/python*/site-packages/{NAME}.py"))) == (not swapped)
    assert not place.mark.exists()
