"""Tests that the runtime starts on Python 3.8 and newer."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import smsweep
from smsweep.core.failure_kind import affects_every_trial
from tests.unit.runtime.jobs import Job
from tools.environments import oracle
from tools.interpreters import find_python

pytestmark = pytest.mark.slow

PACKAGE = Path(smsweep.__file__).parent
OLDEST = (3, 8)
SCRIPT = (
    "import smsweep; smsweep.init(config={'e': 1}); smsweep.log({'lr': smsweep.config.lr}); print(smsweep.config)"
)


@pytest.mark.parametrize(
    "file", [PACKAGE / "__init__.py", *sorted((PACKAGE / "runtime").glob("*.py"))], ids=lambda file: file.name
)
def test_runtime_modules_have_python_3_8_syntax(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=OLDEST)


@pytest.mark.oracle
def test_runtime_modules_use_only_python_3_8_features() -> None:
    vermin = oracle("tools").python.with_name("vermin")
    files = [str(PACKAGE / "__init__.py"), str(PACKAGE / "runtime")]
    done = subprocess.run(
        [str(vermin), "--target=3.8-", "--violations", "--no-tips", *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_runtime_imports_only_standard_library_and_itself() -> None:
    allowed = sys.stdlib_module_names | {"smsweep.runtime"}
    foreign = [
        (file.name, module)
        for file in (PACKAGE / "runtime").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        if module.split(".")[0] not in allowed and not module.startswith("smsweep.runtime")
    ]
    assert foreign == []


@pytest.mark.parametrize("minor", range(8, 15))
def test_trial_runs_on_old_python(minor: int, job: Job) -> None:
    python = find_python(minor)
    if python is None:
        pytest.skip(f"there is no python3.{minor}")
    done = job.trial({"train.py": SCRIPT}, {"lr": 0.5}, command=[python, "${program}"]).run(python=python)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("{'lr': 0.5, 'e': 1}\n")


def test_too_old_python_is_reported(job: Job) -> None:
    python = find_python(6)
    if python is None:
        pytest.skip("there is no python3.6")
    (job.ml / "output").mkdir()
    done = job.trial({"train.py": SCRIPT}).run(python=python)
    reason = "python3 is 3.6 here; a job needs 3.8 or newer: name another image"
    assert (done.code, done.err.strip()) == (1, reason)
    assert (job.ml / "output/failure").read_text() == reason
    assert affects_every_trial(reason)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runtime_tests_pass_on_python_3_8() -> None:
    python = find_python(OLDEST[1])
    if python is None:
        pytest.skip("there is no python3.8")
    here = Path(__file__)
    argv = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not oracle", f"--ignore={here}", str(here.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *argv],
        cwd=PACKAGE.parent,
        env={**os.environ, "SMSWEEP_TEST_JOB_PYTHON": python},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
