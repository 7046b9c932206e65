"""The README and the tutorials work as shown: the quickstart in a fresh copy, and each tutorial step by step.

The tutorials run in new environments with the wheel, as after `pip install smsweep`.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from docker import DockerClient

from tests.support.installation import build_wheel, install
from tests.support.markdown import ROOT, blocks
from tests.support.walkthrough import walk
from tools.docker_engine import IMAGE

README = blocks(ROOT / "README.md")
EXAMPLE = [block for block in README if block.section == "Example"]
LAPTOP = blocks(ROOT / "docs/start-laptop.md")
DOCKER = blocks(ROOT / "docs/start-docker.md")
SAGEMAKER = blocks(ROOT / "docs/start-sagemaker.md")
FILES = [block for block in LAPTOP if block.title in ("train.py", "sweep.yaml")]  # of the tutorials after it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the base install."""
    return install(wheel, tmp_path_factory.mktemp("base") / "venv")


def test_readme_example_works_as_shown(tmp_path: Path) -> None:
    walk(EXAMPLE, tmp_path)


def test_readme_is_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.oracle
def test_laptop_tutorial_works_as_shown_after_installation(base: Path, tmp_path: Path) -> None:
    walk(LAPTOP, tmp_path, base)


@pytest.mark.docker
def test_docker_tutorial_works_as_shown_after_installation(
    docker_engine: DockerClient, base: Path, tmp_path: Path
) -> None:
    (image,) = re.findall(r"image_uri: (\S+)", "".join(block.text for block in DOCKER))
    docker_engine.images.get(IMAGE).tag(image)
    try:
        walk([*FILES, *DOCKER], tmp_path, base)
    finally:
        docker_engine.images.remove(image)


@pytest.mark.oracle
def test_sagemaker_tutorial_works_as_shown_after_installation(wheel: Path, tmp_path: Path) -> None:
    programs = install(wheel, tmp_path / "venv", "tutorial")
    folder = tmp_path / "work"
    folder.mkdir()
    walk([*FILES, *SAGEMAKER], folder, programs)


def test_readme_picture_shows_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMSWEEP_DIR", raising=False)
    draw = runpy.run_path(str(ROOT / "docs" / "draw_picture.py"))["run"]
    assert draw(tmp_path) == (ROOT / "docs" / "picture.svg").read_text(encoding="utf-8")


def test_readme_blocks_outside_the_example_are_known() -> None:
    shown = [block for block in README if block not in EXAMPLE]
    assert [(block.language, block.title) for block in shown] == [
        ("bash", "make"),
        ("text", ""),
        ("yaml", "job"),
        ("bash", "aws"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_works_on_a_fresh_copy(tmp_path: Path) -> None:
    copy = fresh_copy(tmp_path / "copy")
    started = time.monotonic()
    done = subprocess.run(
        ["make", "quickstart", f"PYTHON={base_python()}"],
        cwd=copy,
        env={
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("SMSWEEP_", "VIRTUAL_ENV"))
            },
            "PIP_NO_COMPILE": "0",  # pip's spelling of --no-compile; Python compiles what the sweep imports
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    print(f"make quickstart took {time.monotonic() - started:.0f} s with installation")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^sweep \w{8} is finished: 20 finished$", done.stderr, re.M)
    header = README[1].text.splitlines()[0]
    assert header.split() in [line.split() for line in done.stderr.splitlines()]
    assert re.search(r"^\d+\*\s+finished\s+0\.9", done.stderr, re.M), "no best trial is marked"


def fresh_copy(to: Path) -> Path:
    """Copy the tracked files as they are in the working tree."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def base_python() -> str:
    """Return the interpreter that created the test environment."""
    return os.path.realpath(shutil.which("python3", path=str(ROOT / ".venv/bin")) or "python3")
