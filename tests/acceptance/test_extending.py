"""The distribution of docs/extending.md works in a separate environment as shown."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.markdown import ROOT, Block, blocks
from tests.support.walkthrough import walk

PAGE = ROOT / "docs" / "extending.md"
# Use the installed, pinned build backend without network. "false" turns build isolation off.
PIP_CONFIG = "[install]\nno-deps = true\nno-index = true\nno-build-isolation = false\n"


def make_environment(folder: Path) -> Path:
    """Return the bin folder of a virtual environment with smsweep and its dependencies from this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    bin_folder, python = folder / "bin", folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    packages = sysconfig.get_path("purelib")
    (site / "smsweep-tests.pth").write_text(f"import site; site.addsitedir({packages!r})\n")
    scripts = {
        "smsweep": f'exec "{python}" -P -m smsweep "$@"',
        "pip": f'exec "{sys.executable}" -m pip --python "{python}" "$@"',
    }
    (folder / "pip.conf").write_text(PIP_CONFIG)
    for name, line in scripts.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (bin_folder / name).chmod(0o755)
    return bin_folder


def test_page_can_be_followed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "smsweep", tmp_path / "smsweep")  # with compiled modules, whose times stay valid
    bin_folder = make_environment(tmp_path / "venv")
    text = f"export PYTHONPATH=$PWD PATH={bin_folder}:$PATH\n"
    first = Block(page=PAGE, line=0, section="", language="bash", title="", text=text)
    shown = blocks(PAGE)
    for block in shown:
        if block.language == "diff":
            apply(block, tmp_path / block.title)
    walk([first, *(block for block in shown if block.language != "diff")], tmp_path)


def apply(block: Block, file: Path) -> None:
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.place}: {file.name} must contain the replaced text exactly once"
    file.write_text(text.replace(before, after), encoding="utf-8")
