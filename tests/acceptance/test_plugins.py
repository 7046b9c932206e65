"""Plug-ins that cannot be used: clear errors that name the distribution, and no effect on other commands."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.test_extending import make_environment
from tests.walkthrough import environment

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "2.0"

[project.entry-points."{group}"]
{entry}
"""
SEARCH = """
from smsweep.search.registry import SearchSpec

class Method:
    def __init__(self, space, seed):
        {body}

    def suggest(self, history, n):
        return [self.space.sample(__import__("random").Random(history.next_number + i)) for i in range(n)]

SPEC = SearchSpec(name="{name}", summary="a method", factory=Method)
"""
CONFIG = "program: train.py\nmethod: {method}\nrun_cap: 2\nparameters: {{x: {{values: [1, 2]}}}}\n"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in an environment that plug-ins can be installed into."""
    bin_folder = make_environment(tmp_path / "venv")
    environ = environment(tmp_path)
    environ["PATH"] = f"{bin_folder}:{environ['PATH']}"
    (tmp_path / "train.py").write_text("import smsweep\n")
    for method in ("random", "sobol"):
        (tmp_path / f"{method}.yaml").write_text(CONFIG.format(method=method))

    def run(*command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def install(run: Run, folder: Path, name: str, entry: str, source: str, group: str = "smsweep.search") -> None:
    package = folder / "dist" / name / name.replace("-", "_")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    (package.parent / "pyproject.toml").write_text(PYPROJECT.format(name=name, group=group, entry=entry))
    run("pip", "install", "--quiet", str(package.parent))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module\n", "cannot import broken_one:SPEC: ModuleNotFoundError: No module"),
        ("raise SystemExit(9)\n", "cannot import broken_one:SPEC: SystemExit: 9"),
        ("SPEC = 'sobol'\n", "broken_one:SPEC must be a SearchSpec, got 'sobol'"),
        (SEARCH.format(name="other", body="pass"), "the name of broken_one:SPEC must be 'sobol', got 'other'"),
    ],
)  # fmt: skip
def test_broken_plugin_is_reported_and_affects_only_its_own_commands(
    tmp_path: Path, run: Run, source: str, problem: str
) -> None:
    install(run, tmp_path, "broken-one", 'sobol = "broken_one:SPEC"', source)
    failed = run("smsweep", "plan", "sobol.yaml", code=2).stderr
    assert problem in failed
    assert "of broken-one 2.0" in failed
    assert "pip uninstall broken-one" in failed
    assert "2 trials" in run("smsweep", "plan", "random.yaml").stdout
    assert "smsweep" in run("smsweep", "--help").stdout
    (line,) = (line for line in run("smsweep", "doctor").stdout.splitlines() if "plug-in sobol" in line)
    assert line.startswith("missing") and problem in line


def test_exception_in_a_factory_names_the_distribution(tmp_path: Path, run: Run) -> None:
    source = SEARCH.format(name="sobol", body="raise ValueError('no primes')")
    install(run, tmp_path, "broken-one", 'sobol = "broken_one:SPEC"', source)
    failed = run("smsweep", "plan", "sobol.yaml", code=2).stderr
    assert "of broken-one 2.0: its factory raised ValueError: no primes" in failed


def test_built_in_name_is_refused(tmp_path: Path, run: Run) -> None:
    source = SEARCH.format(name="random", body="raise ValueError('the plug-in was used')")
    install(run, tmp_path, "imposter", 'random = "imposter:SPEC"', source)
    assert "2 trials" in run("smsweep", "plan", "random.yaml").stdout
    (line,) = (line for line in run("smsweep", "doctor").stdout.splitlines() if "plug-in random" in line)
    assert "imposter 2.0: smsweep itself uses the name" in line


def test_name_of_two_distributions_is_refused(tmp_path: Path, run: Run) -> None:
    source = SEARCH.format(name="sobol", body="self.space = space")
    for name in ("first-one", "second-one"):
        install(run, tmp_path, name, f'sobol = "{name.replace("-", "_")}:SPEC"', source)
    failed = run("smsweep", "plan", "sobol.yaml", code=2).stderr
    assert "first-one 2.0 and second-one 2.0" in failed
    run("pip", "uninstall", "--quiet", "--yes", "second-one")
    assert "2 trials" in run("smsweep", "plan", "sobol.yaml").stdout


def test_sweep_is_readable_after_its_plugin_was_removed(tmp_path: Path, run: Run) -> None:
    source = SEARCH.format(name="sobol", body="self.space = space")
    install(run, tmp_path, "sobol-search", 'sobol = "sobol_search:SPEC"', source)
    sweep_id = run("smsweep", "run", "sobol.yaml", "--quiet").stdout.strip()
    run("pip", "uninstall", "--quiet", "--yes", "sobol-search")
    assert sweep_id in run("smsweep", "ls").stdout
    assert "2 finished" in run("smsweep", "show", sweep_id).stdout
    assert (
        "expected grid, random, bayes or custom, got 'sobol'"
        in run("smsweep", "plan", "sobol.yaml", code=2).stderr
    )
    failed = run("smsweep", "agent", sweep_id, code=2).stderr
    assert "the search method 'sobol' is not installed; install the plug-in" in failed
