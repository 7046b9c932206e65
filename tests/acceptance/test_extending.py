"""docs/extending.md can be followed: its files and diffs, in a copy of the package, do what it shows."""

from __future__ import annotations

import shutil
from itertools import groupby
from pathlib import Path

from tests.markdown import ROOT, Block, blocks
from tests.walkthrough import walk

PAGE = ROOT / "docs" / "extending.md"


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "smsweep", tmp_path / "smsweep", ignore=shutil.ignore_patterns("__pycache__"))
    first = Block(page=PAGE, line=0, section="", language="bash", title="", text="export PYTHONPATH=$PWD\n")
    for _, group in groupby(blocks(PAGE), lambda block: block.section):
        shown = list(group)
        for block in shown:
            if block.language == "diff":
                apply(block, tmp_path / block.title)
        walk([first, *(block for block in shown if block.language != "diff")], tmp_path)


def test_the_sizes_that_the_page_tells_are_true() -> None:
    sizes: dict[str, int] = {}
    for block in blocks(PAGE):
        lines = block.text.splitlines()
        if block.language == "diff":
            lines = [line for line in lines if line.startswith("+")]
        elif not block.title.startswith("smsweep/"):
            continue
        sizes[block.section] = sizes.get(block.section, 0) + len([line for line in lines if line.strip()])
    *most, last = map(str, sizes.values())
    assert f"{', '.join(most)} and {last} lines" in " ".join(PAGE.read_text(encoding="utf-8").split())


def apply(block: Block, file: Path) -> None:
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.place}: {file.name} has not exactly one place for it"
    file.write_text(text.replace(before, after), encoding="utf-8")
