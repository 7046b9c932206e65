"""Plug-ins that cannot be used: clear errors that name the distribution, and no effect on other commands."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.acceptance.test_extending import make_environment
from tests.support.walkthrough import environment

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "2.0"

[project.entry-points."smsweep.search"]
{method} = "{package}:SPEC"
"""
SOURCE = """
import random
from smsweep.search.registry import SearchSpec

class Method:
    def __init__(self, space, seed):
        {body}

    def suggest(self, history, n):
        return [self.space.sample(random.Random(history.next_number + i)) for i in range(n)]

SPEC = SearchSpec(name="{method}", summary="a method", factory=Method)
"""
WORKING = "self.space = space"
# name of the distribution -> name of its search method, code
DISTRIBUTIONS = {
    "no-import": ("m-import", "import no_such_module\n"),
    "no-exit": ("m-exit", "raise SystemExit(9)\n"),
    "no-spec": ("m-spec", "SPEC = 'm-spec'\n"),
    "no-name": ("m-name", SOURCE.format(method="other", body=WORKING)),
    "no-factory": ("m-factory", SOURCE.format(method="m-factory", body="raise ValueError('no primes')")),
    "no-suggest": ("m-suggest", SOURCE.format(method="m-suggest", body="pass")),
    "imposter": ("random", SOURCE.format(method="random", body="raise ValueError('the plug-in was used')")),
    "imposter-two": ("custom", SOURCE.format(method="custom", body="raise ValueError('the plug-in was used')")),
    "first-one": ("m-twice", SOURCE.format(method="m-twice", body=WORKING)),
    "second-one": ("m-twice", SOURCE.format(method="m-twice", body=WORKING)),
    "works": ("m-works", SOURCE.format(method="m-works", body=WORKING)),
}
CONFIG = "program: train.py\nmethod: {method}\nrun_cap: 2\nparameters: {{x: {{values: [1, 2]}}}}\n"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a command in an environment with all of the distributions."""
    folder = tmp_path_factory.mktemp("plugins")
    bin_folder = make_environment(folder / "venv")
    environ = environment(folder)
    environ["PATH"] = f"{bin_folder}:{environ['PATH']}"
    (folder / "train.py").write_text("import smsweep\n")

    def run(*command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=240)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    for name, (method, source) in DISTRIBUTIONS.items():
        package = folder / "distributions" / name / name.replace("-", "_")
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        text = PYPROJECT.format(name=name, method=method, package=package.name)
        (package.parent / "pyproject.toml").write_text(text)
        (folder / f"{method}.yaml").write_text(CONFIG.format(method=method))
    run("pip", "install", "--quiet", *(str(folder / "distributions" / name) for name in DISTRIBUTIONS))
    return run


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no-import", "cannot import no_import:SPEC: ModuleNotFoundError: No module named 'no_such_module'"),
        ("no-exit", "cannot import no_exit:SPEC: SystemExit: 9"),
        ("no-spec", "no_spec:SPEC must be a SearchSpec, got 'm-spec'"),
        ("no-name", "the name of no_name:SPEC must be 'm-name', got 'other'"),
        ("no-suggest", "suggest raised AttributeError: 'Method' object has no attribute 'space'"),
        ("no-factory", "its factory raised ValueError: no primes"),
    ],
)
def test_broken_plugin_is_reported_with_its_distribution(run: Run, name: str, problem: str) -> None:
    method, _ = DISTRIBUTIONS[name]
    failed = run("smsweep", "plan", f"{method}.yaml", code=2).stderr
    assert f"plug-in {method} (smsweep.search) of {name} 2.0: {problem}" in failed
    assert failed.rstrip().endswith(f"pip uninstall {name}")


def test_broken_plugins_do_not_affect_other_commands(run: Run) -> None:
    assert "2 trials" in run("smsweep", "plan", "random.yaml").stdout
    assert "2 trials" in run("smsweep", "plan", "m-works.yaml").stdout
    assert "method: custom is valid, but smsweep cannot run it" in run(
        "smsweep", "plan", "custom.yaml", code=2
    ).stderr  # fmt: skip
    run("smsweep", "--help")


def test_doctor_reports_each_plugin(run: Run) -> None:
    lines = [line for line in run("smsweep", "doctor").stdout.splitlines() if "plug-in" in line]
    found = {line.split("plug-in ")[1].split(" ")[0]: line for line in lines}
    assert found.keys() == {method for method, _ in DISTRIBUTIONS.values()}
    assert [name for name, line in found.items() if line.startswith("ok")] == ["m-factory", "m-suggest", "m-works"]
    assert "imposter 2.0: smsweep itself uses the name" in found["random"]
    assert "imposter-two 2.0: smsweep itself uses the name" in found["custom"]
    assert "SystemExit: 9" in found["m-exit"]


def test_name_of_two_distributions_is_refused(run: Run) -> None:
    failed = run("smsweep", "plan", "m-twice.yaml", code=2).stderr
    assert "first-one 2.0 and second-one 2.0: the name must be unique" in failed


def test_sweep_is_readable_after_its_plugin_was_removed(run: Run) -> None:
    sweep_id = run("smsweep", "run", "m-works.yaml", "--quiet").stdout.strip()
    run("pip", "uninstall", "--quiet", "--yes", "works")
    assert sweep_id in run("smsweep", "ls").stdout
    assert "2 finished" in run("smsweep", "show", sweep_id).stdout
    failed = run("smsweep", "plan", "m-works.yaml", code=2).stderr
    assert "got 'm-works'" in failed
    failed = run("smsweep", "agent", sweep_id, code=2).stderr
    assert "the search method 'm-works' is not installed; install the plug-in that provides it" in failed
