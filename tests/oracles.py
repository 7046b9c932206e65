"""Other projects' packages to compare with, each in an environment of its own that is made on first use."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.interpreters import find_python, supported

ROOT = Path(__file__).parents[1]
DEBIAN_PYTHON = "/usr/bin/python3"
VENVS = ROOT / ".venvs"  # kept between test runs; delete it to start afresh


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    requirements: tuple[str, ...]  # for pip
    python_below: tuple[int, int]  # the first Python version for which its packages have no wheels
    python_minor: int | None = None  # the Python 3 it must have; None: any that is old enough
    beside: str = ""  # a module that apt has installed for Debian's Python, on which the environment then stands


ENVIRONMENTS: Mapping[str, Environment] = {
    "sweeps": Environment(requirements=("sweeps==0.3.0", "numpy<2", "pyyaml"), python_below=(3, 13)),
    "wandb": Environment(requirements=("wandb==0.31.0", "numpy"), python_below=(3, 15)),
    "wandb-0.23": Environment(requirements=("wandb==0.23.1", "numpy"), python_below=(3, 14)),
    "wandb-0.19": Environment(requirements=("wandb==0.19.11", "numpy"), python_below=(3, 13)),
    "wandb-0.16": Environment(requirements=("wandb==0.16.6", "numpy<2", "setuptools<81"), python_below=(3, 12)),
    "loggers": Environment(requirements=("tensorboardX==2.6.5", "mlflow-skinny==3.17.2"), python_below=(3, 15)),
    "pandas": Environment(requirements=("pandas==3.1.1", f"-e{ROOT}"), python_below=(3, 15)),
    "exports": Environment(
        requirements=(
            *("optuna==5.0.0", "optuna-dashboard==0.21.0", "pyarrow==26.0.1"),
            *("mlflow-skinny==3.17.2", "tensorboard==2.21.0", f"-e{ROOT}"),
        ),
        python_below=(3, 14),
    ),
    "notebook": Environment(
        requirements=("nbclient==0.11.0", "ipykernel==7.4.0", f"-e{ROOT}[report]"), python_below=(3, 15)
    ),
    "moto": Environment(requirements=("moto[s3,server]==5.2.5",), python_below=(3, 15)),
    "optuna": Environment(requirements=("optuna==5.0.0", f"-e{ROOT}"), python_below=(3, 14)),
    "torch": Environment(requirements=("wandb==0.31.0",), python_below=(3, 15), beside="torch"),  # PyPI's has 5 GB
    "audit": Environment(requirements=("pip-audit==2.10.1",), python_below=(3, 15)),
    "vermin": Environment(requirements=("vermin==1.9.2",), python_below=(3, 15)),
    "build": Environment(requirements=("build==1.3.0", "hatchling==1.27.0"), python_below=(3, 15)),
    "docs": Environment(
        requirements=("mkdocs-material==9.8.1", "mkdocstrings-python==2.0.11", f"-e{ROOT}"), python_below=(3, 15)
    ),
    "sagemaker2": Environment(requirements=("sagemaker==2.257.7", f"-e{ROOT}"), python_below=(3, 13)),
    "sagemaker3": Environment(requirements=("sagemaker==3.27.0", f"-e{ROOT}"), python_below=(3, 13)),
}
# The pinned base install on each Python: what README and docs say it runs on.
PYTHONS = {
    f"python3.{minor}": Environment(
        requirements=("-r", str(ROOT / "requirements.txt")), python_below=(3, minor + 1), python_minor=minor
    )
    for minor in supported()
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Oracle:
    python: Path  # interpreter that can import the package

    def ask(self, script: Path, question: object, *, timeout_s: float = 120) -> Any:
        """Run the script with the question as JSON on stdin and return the JSON it prints.

        Starting takes a second or two: put all cases of a test into one question.
        """
        done = subprocess.run(
            [str(self.python), str(script)],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def oracle(name: str) -> Oracle:
    """Return the named environment, made if need be; several test processes may ask at once.

    Where it cannot be made (offline, say), the test is skipped aloud; in CI it fails.
    """
    environment = {**ENVIRONMENTS, **PYTHONS}[name]
    home = VENVS / name
    ready = home / "ready"  # written last: an interrupted installation is done again
    wanted = "\n".join(environment.requirements)
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.is_file() or ready.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            try:
                _install(home, environment)
            except (OSError, subprocess.SubprocessError) as err:
                said = getattr(err, "stderr", None) or err
                reason = f"cannot make the environment of {name}: {said}"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
            ready.write_text(wanted)
    return Oracle(python=home / "bin" / "python")


def wheels(name: str) -> Path:
    """Return a folder with the wheels of the named environment, for an installation without network."""
    python, folder = oracle(name).python, VENVS / f"{name}-wheels"
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            draft = folder.with_suffix(".part")
            shutil.rmtree(draft, ignore_errors=True)
            wanted = ["--only-binary", ":all:", *ENVIRONMENTS[name].requirements]
            command = [str(python), "-m", "pip", "download", "--quiet", "--dest", str(draft), *wanted]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
            draft.rename(folder)
    return folder


def _install(home: Path, environment: Environment) -> None:
    beside = ["--system-site-packages"] if environment.beside else []
    for command in (
        [_interpreter(environment), "-m", "venv", *beside, str(home)],
        [
            str(home / "bin" / "python"),
            *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            "--no-compile",  # of these packages little is ever imported
            *("--only-binary", ":all:", *environment.requirements),
        ],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)


def _interpreter(environment: Environment) -> str:
    """Return this Python, or the newest to be found that is old enough."""
    if environment.beside:
        find = [DEBIAN_PYTHON, "-c", f"import {environment.beside}"]
        subprocess.run(find, check=True, capture_output=True, text=True, timeout=120)
        return DEBIAN_PYTHON
    below, exactly = environment.python_below, environment.python_minor
    if sys.version_info < below and exactly in (None, sys.version_info.minor):
        return sys.executable
    for minor in range(below[1] - 1, 9, -1):
        if found := find_python(minor):
            return found
    raise FileNotFoundError(f"no Python below {below[0]}.{below[1]} is to be found")


def make_all() -> None:
    """Make every environment, the biggest first; what cannot be made, the test that wants it says."""
    for name in reversed([*PYTHONS, *ENVIRONMENTS]):
        with contextlib.suppress(pytest.fail.Exception, pytest.skip.Exception):
            oracle(name)


if __name__ == "__main__":  # python -m tests.oracles [ENVIRONMENT PROGRAM [ARGUMENT ...]]
    if not sys.argv[1:]:
        make_all()
        sys.exit()
    environment_name, program, *arguments = sys.argv[1:]
    path = str(oracle(environment_name).python.with_name(program))
    os.execv(path, [path, *arguments])
