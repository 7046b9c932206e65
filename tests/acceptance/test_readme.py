"""The README does what it says: the quickstart on a fresh copy, and the tour step by step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.markdown import ROOT, blocks
from tests.walkthrough import walk

README = blocks(ROOT / "README.md")
TOUR = [block for block in README if block.section == "A tour in five minutes"]


def test_the_tour_goes_as_shown(tmp_path: Path) -> None:
    walk(TOUR, tmp_path)


def test_nothing_but_the_top_is_left_out_of_the_tour() -> None:
    assert [(block.language, block.title) for block in README if block not in TOUR] == [
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
