"""A new environment with smsweep's wheel, as users have it: no checkout, no development packages, no settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.markdown import ROOT
from tools.environments import oracle
from tools.pins import BASE, pinned, read_environment, render


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the working tree."""
    python = str(oracle("tools").python)
    argv = [python, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(argv, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path, packages: str = "") -> Path:
    """Create a virtual environment and install the wheel.

    Args:
        wheel: The wheel.
        folder: Folder of the environment, which is created.
        packages: An environment of tools/environments.py whose pins are added to the base install.

    Returns:
        The folder of the environment's programs.
    """
    uv = str(oracle("tools").python.with_name("uv"))
    folder.mkdir(parents=True)
    own = folder / "pins.txt"
    own.write_text(render("", read_environment(packages) if packages else {}))
    into = ["--quiet", "--python", str(folder / "bin" / "python")]
    for argv in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
        [uv, "pip", *pinned("install", BASE, own), *into],
        [uv, "pip", "install", "--no-deps", "--no-index", str(wheel), *into],
    ):
        subprocess.run(argv, check=True, capture_output=True, text=True)
    return folder / "bin"
