"""The README does what it says: the quickstart on a fresh copy, and the tour step by step."""

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

from tests.engine import IMAGE
from tests.markdown import ROOT, blocks
from tests.walkthrough import walk

README = blocks(ROOT / "README.md")
TOUR = [block for block in README if block.section == "A tour in five minutes"]
STEPS = [block for block in README if block.section == "Here, in a container, on SageMaker"]
STEPS_FILES = [block for block in TOUR if block.title in ("train.py", "sweep.yaml")]


def test_the_tour_goes_as_shown(tmp_path: Path) -> None:
    walk(TOUR, tmp_path)


@pytest.mark.docker
def test_the_three_steps_go_as_shown(docker_engine: DockerClient, tmp_path: Path) -> None:
    (image,) = re.findall(r"image_uri: (\S+)", STEPS[0].text)
    docker_engine.images.get(IMAGE).tag(image)
    try:
        walk([*STEPS_FILES, *STEPS], tmp_path)
    finally:
        docker_engine.images.remove(image)


def test_the_picture_is_of_such_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMSWEEP_DIR", raising=False)
    draw = runpy.run_path(str(ROOT / "docs" / "draw_picture.py"))["run"]
    assert draw(tmp_path) == (ROOT / "docs" / "picture.svg").read_text(encoding="utf-8")


def test_nothing_but_the_top_is_left_out() -> None:
    shown = [block for block in README if block not in (*TOUR, *STEPS)]
    assert [(block.language, block.title) for block in shown] == [
        ("bash", "make"),
        ("text", ""),
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
            name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "VIRTUAL_ENV"))
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
    """Copy what git knows of, as it is in the working tree."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def base_python() -> str:
    """Return the Python that our own environment was made from."""
    return os.path.realpath(shutil.which("python3", path=str(ROOT / ".venv/bin")) or "python3")
