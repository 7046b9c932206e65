"""Dependencies have known files, permissive licences and documentation; code and workflows pass the scanners."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.markdown import ROOT
from tools import audit, pins
from tools.docker_engine import PULLED
from tools.environments import ENVIRONMENTS, IN_BENCHMARKS, IN_CONTAINERS, oracle
from tools.lock import wanted

PIN = re.compile(r"[a-z0-9-]+==[^ ,;*]+( ; .+)?")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


PINNED_ENVIRONMENTS = {**ENVIRONMENTS, **IN_BENCHMARKS, **IN_CONTAINERS}
# Platform names of uv; docs/installation.md lists the platforms of smsweep.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-apple-darwin")


def all_pins() -> dict[str, pins.Pins]:
    """Return the pins by the name of their requirement file or environment."""
    return {
        **{file.name: pins.read(file) for file in pins.FILES},
        **{name: pins.read_environment(name) for name in PINNED_ENVIRONMENTS},
    }


@pytest.mark.parametrize("name", list(all_pins()))
def test_every_pin_has_one_version_and_file_hashes(name: str) -> None:
    found = all_pins()[name]
    assert found
    assert [pin for pin in found if not PIN.fullmatch(pin)] == []
    assert [pin for pin, hashes in found.items() if not hashes or not all(map(HASH.fullmatch, hashes))] == []


@pytest.mark.parametrize("file", pins.FILES, ids=lambda file: file.name)
def test_every_pip_install_requires_hashes(file: Path) -> None:
    options = re.findall(r"^--.*$", file.read_text(encoding="utf-8"), re.M)
    assert tuple(options) == pins.OPTIONS


@pytest.mark.parametrize("file", [*pins.FILES, pins.ENVIRONMENTS], ids=lambda file: file.name)
def test_pins_name_no_package_index(file: Path) -> None:
    assert not re.search(r"https?:|file:|index-url|find-links", file.read_text(encoding="utf-8"))


def test_environment_pins_match_their_requirements() -> None:
    pinned = {name: found["for"] for name, found in pins.read_environments()["environments"].items()}
    assert pinned == {name: wanted(environment) for name, environment in PINNED_ENVIRONMENTS.items()}


def test_package_has_same_hashes_in_all_files() -> None:
    seen: dict[str, set[tuple[str, ...]]] = {}
    for found in all_pins().values():
        for pin, hashes in found.items():
            seen.setdefault(pins.without_marker(pin), set()).add(tuple(sorted(hashes)))
    assert {pin: found for pin, found in seen.items() if len(found) > 1} == {}


def unpinned_commands(text: str) -> list[str]:
    """Return the commands of a script, Makefile, Dockerfile or workflow that install packages without a hash."""
    commands = re.split(r"&&|\|\||;|\n", text.replace("\\\n", " "))
    installs = [command for command in commands if INSTALLS.search(command)]
    return [command for command in installs if not PINNED.search(command)]


def unpinned_calls(text: str) -> list[str]:
    """Return the pip argument lists in Python source that install packages without a hash."""
    found = []
    for node in ast.walk(ast.parse(text)):
        parts = (
            node.elts
            if isinstance(node, (ast.List, ast.Tuple))
            else node.args
            if isinstance(node, ast.Call)
            else ()
        )
        words = {str(part.value) for part in parts if isinstance(part, ast.Constant)}
        is_ours = isinstance(node, ast.Call) and ast.unparse(node.func) in ("pinned", "pins.pinned")
        if words & VERBS and not is_ours and not words & {"--require-hashes", "--no-index"}:
            found.append(ast.unparse(node))
    return found


VERBS = {"install", "download", "wheel"}
INSTALLS = re.compile(
    r"(\bpip3?|\$\(PIP\)).* (install|download|wheel)\b|\b(uv|uvx|pipx|npm|npx|easy_install) +[a-z]"
)
PINNED = re.compile(r"--require-hashes|--no-index")
SCRIPTS = ("Makefile", ".ci/run", "container/*", "examples/*/*.sh", ".github/workflows/*.yml")
OTHERS = {  # calls that do not install Python packages for the project
    "tools/apt.py": "Debian's packages, which are signed",
    "smsweep/runtime/job/requirements.py": "a user's requirements, as the user states them",
    "smsweep/backends/docker/requirements_image.py": "sections of pip's configuration",
    "smsweep/cli/lazy_group.py": "names of other tools' commands",
    "tests/acceptance/test_readme.py": "the name of a folder",
    "tests/docker/test_takeover.py": "parts of a message",
    "tests/acceptance/test_plugins.py": "distributions that the test itself has written",
}


@pytest.mark.parametrize("script", [file for glob in SCRIPTS for file in sorted(ROOT.glob(glob))], ids=str)
def test_scripts_install_only_pinned_packages(script: Path) -> None:
    if script.suffix != ".md":
        assert unpinned_commands(script.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("folder", ["smsweep", "hydra_plugins", "tests", "benchmarks", "examples"])
def test_python_code_installs_only_pinned_packages(folder: str) -> None:
    names = [file.relative_to(ROOT).as_posix() for file in sorted((ROOT / folder).rglob("*.py"))]
    found = {name: unpinned_calls((ROOT / name).read_text(encoding="utf-8")) for name in names}
    assert {name: calls for name, calls in found.items() if calls and name not in OTHERS} == {}
    assert all(found[name] for name in OTHERS if name.startswith(folder))


@pytest.mark.parametrize(
    "line",
    [
        "pip install build",
        "RUN python3 -m pip install --no-cache-dir '.[postgres]'",
        "\t$(PIP) install -r requirements.txt",
        "apt-get update && pip3 download six",
        "/opt/x/bin/pip install \\\n    --upgrade pip",
        "uv pip install six",
        "uvx ruff",
        "npm install left-pad",
    ],
)
def test_script_that_installs_packages_is_detected(line: str) -> None:
    assert unpinned_commands(line) != []


@pytest.mark.parametrize(
    "code",
    [
        "run([python, '-m', 'pip', 'install', 'six'])",
        "run([*pip, 'wheel', '.'])",
        "pip('install', '-r', 'requirements.txt')",
        "run((python, '-m', 'pip', 'download', '--no-deps', 'six'))",
    ],
)
def test_python_code_that_installs_packages_is_detected(code: str) -> None:
    assert unpinned_calls(code) != []


def test_every_licence_is_permissive() -> None:
    assert list(audit.wrong_licences(audit.licences())) == []


def test_unknown_or_copyleft_licence_is_reported() -> None:
    (problem,) = audit.wrong_licences({"six": "MIT", "readline": "GPL-3.0-or-later"})
    assert problem.startswith("readline has the licence 'GPL-3.0-or-later'")


def test_docs_list_licences() -> None:
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| [\d.]+ \|$", page, re.M))
    assert listed == audit.licences()


@pytest.mark.parametrize(
    "dockerfile", sorted((ROOT / "container").glob("*Dockerfile")), ids=lambda file: file.name
)
def test_base_images_are_pinned_by_digest(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    assert re.findall(r"^ARG BASE=(.*)$", text, re.M) == [PULLED]
    assert re.fullmatch(r"[\w.-]+:[\w.-]+@sha256:[0-9a-f]{64}", PULLED)
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = re.findall(r"uses: *(.*)$", workflow.read_text(encoding="utf-8"), re.M)
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_each_workflow_job_has_only_named_permissions(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert content["permissions"] == {}
    writing = {name: job["permissions"] for name, job in content["jobs"].items()}
    assert writing == {
        "build": {"contents": "read"},
        "reproduce": {"contents": "read"},
        "attest": {"id-token": "write", "attestations": "write"},
        "publish": {"id-token": "write"},
        "announce": {"contents": "write"},
        "site": {"id-token": "write", "pages": "write"},
    }


@pytest.mark.oracle
def test_scanners_report_no_finding() -> None:
    assert list(audit.findings()) == []


@pytest.mark.oracle
def test_scanners_report_unsafe_call_and_unpinned_action(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in {
        "smsweep/unsafe.py": "import subprocess\nsubprocess.run(input(), shell=True)\n",
        ".github/workflows/unsafe.yml": "on: push\njobs: {a: {runs-on: x, steps: [{uses: a/b@v4}]}}\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    code, workflow = audit.findings(tmp_path)
    assert "B602" in code
    assert "unpinned-uses" in workflow


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_pins_have_wheels_for(python: str, platform: str, tmp_path: Path) -> None:
    uv = str(oracle("tools").python.with_name("uv"))
    files = [word for file in (pins.BASE, pins.POSTGRES) for word in ("--requirement", str(file))]
    target = ["--python-version", python, "--python-platform", platform, "--target", str(tmp_path / "none")]
    done = subprocess.run(
        [uv, "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--no-build", *target, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Would install \d+ packages", done.stderr)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.timeout(900)  # it downloads all files; pip repeats failed requests
def test_package_index_has_pinned_files() -> None:
    assert list(audit.wrong_hashes()) == []
