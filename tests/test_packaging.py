"""What is published: the same bytes from the same commit, and a wheel that runs a sweep where nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.interpreters import find_python, supported
from tests.markdown import ROOT
from tests.oracles import oracle

PARTS = ("smsweep", "pyproject.toml", "README.md", "LICENSE")
TRAIN = "import smsweep\nwith smsweep.init() as run:\n    run.log({'loss': run.config.x})\n"
SWEEP = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss"},
    "parameters": {"x": {"values": [2, 1]}},
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders with wheel and sdist, built of copies of the source at different places and times."""
    python = oracle("tools").python
    folders = []
    for mtime in (1_000_000_000, 1_500_000_000):
        source = tmp_path_factory.mktemp("source")
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, source)
        for path in source.rglob("*"):
            os.utime(path, (mtime, mtime))
        out = tmp_path_factory.mktemp("dist")
        subprocess.run(
            [str(python), "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
            check=True,
            capture_output=True,
        )
        folders.append(out)
    return folders


@pytest.mark.oracle
def test_a_build_can_be_repeated(builds: list[Path]) -> None:
    first, second = (
        {file.name: sha256(file.read_bytes()).hexdigest() for file in out.iterdir()} for out in builds
    )
    assert len(first) == 2
    assert first == second


@pytest.mark.oracle
@pytest.mark.parametrize("minor", supported())
def test_the_wheel_runs_a_sweep_on(minor: int, builds: list[Path], tmp_path: Path) -> None:
    if find_python(minor) is None:
        pytest.skip(f"there is no python3.{minor}")
    python = str(oracle(f"python3.{minor}").python)
    wheel = next(builds[0].glob("*.whl"))
    installed = tmp_path / "installed"
    subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            str(installed),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP))
    done = subprocess.run(
        [python, str(installed / "bin" / "smsweep"), "run", "sweep.yaml", "--json", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "SMSWEEP_DIR": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"]["objective"] == 1
