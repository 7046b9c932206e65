"""Functions as jobs, from modules, scripts and the standard input, in real processes."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.api.api import ApiRun
from smsweep.errors import SourceError, UsageError
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.function import pickle_function
from smsweep.store import notes
from tests.support.walkthrough import SMSWEEP

SWEEP = {"method": "grid", "metric": {"name": "loss"}, "parameters": {"x": {"values": [1, 2]}}}
MODULE = """\
import os
import helpers.scale
import smsweep

def train():
    from late import shift  # imported only in the job
    with smsweep.init() as run:
        run.log({"loss": shift(helpers.scale.double(run.config.x)), "pid": os.getpid()})
"""
SCRIPT = """\
import functools, json, os, sys
import smsweep

BASE = {"offset": 10}

def offset(x):
    return x + BASE["offset"]

def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        print("before the call")
        return function(*args, **kwargs)
    return wrapper

@traced
def train():
    run = smsweep.init()
    if run.config.x == 2:
        raise ValueError("two is too much")
    smsweep.log({"loss": offset(run.config.x)})

if __name__ == "__main__":
    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    smsweep.agent(sweep_id, train, parallel=2)
    runs = smsweep.Api().sweep(sweep_id).runs
    print(json.dumps({"id": sweep_id, "runs": [[run.state, run.summary, run.trial.reason] for run in runs]}))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside the repository, with an empty store in another folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    for name in ("SMSWEEP_STORE", "SMSWEEP_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    return work


def run_function(function: Callable[[], Any], **options: Any) -> list[ApiRun]:
    """Run a sweep of two trials in processes."""
    sweep_id = smsweep.sweep(SWEEP)
    smsweep.agent(sweep_id, function, **{"backend": "process", **options})
    return smsweep.Api().sweep(sweep_id).runs


def smsweep_command(*args: str) -> str:
    done = subprocess.run([*SMSWEEP, *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(runs: list[ApiRun]) -> list[Any]:
    return [run.summary.get("loss") for run in runs]


def test_parallel_function_runs_in_one_process_per_trial(folder: Path) -> None:
    runs = run_function(lambda: smsweep.log({"loss": os.getpid()}), backend=None, parallel=2)
    assert len({os.getpid(), *losses(runs)}) == 3
    assert {run.trial.place.partition("@")[0] for run in runs} == {"process"}


def test_function_runs_at_places(folder: Path) -> None:
    def train() -> None:
        smsweep.log({"loss": os.getpid()})

    config = {**SWEEP, "parameters": {"x": {"values": [1, 2, 3]}}}
    sweep_ids: list[str] = []
    smsweep.run(config, function=train, on=["local:2"], on_created=sweep_ids.append)
    runs = smsweep.Api().sweep(sweep_ids[0]).runs
    assert os.getpid() not in losses(runs)
    assert {run.trial.place_name for run in runs} == {"local"}
    assert [run.state for run in runs] == ["finished"] * 3
    with pytest.raises(UsageError, match="on"):
        run_function(train, backend="inline", on=["local"])


def test_inline_backend_keeps_threads(folder: Path) -> None:
    together = threading.Barrier(2, timeout=20)  # cannot be pickled

    def train() -> None:
        together.wait()
        smsweep.log({"loss": os.getpid()})

    assert losses(run_function(train, backend="inline", parallel=2)) == [os.getpid()] * 2


def test_function_of_module_runs_with_the_modules_that_it_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "helpers").mkdir()
    (folder / "helpers" / "scale.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "late.py").write_text("from deeper import ONE\ndef shift(x):\n    return x + ONE\n")
    (folder / "deeper.py").write_text("ONE = 1\n")
    (folder / "unrelated.py").write_text("raise AssertionError\n")
    (folder / "training.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    runs = run_function(importlib.import_module("training").train)
    assert losses(runs) == [3, 5]
    workspace = Workspace()
    members = open_bundle(bundle_path(workspace.bundles_dir, runs[0].sweep.sweep.source_hash)).members
    own = {member.name for member in members if not member.name.startswith("smsweep_function/")}
    assert own == {"training.py", "late.py", "deeper.py", "helpers/scale.py"}
    for name in ("training", "helpers", "helpers.scale"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("source", ["file", "standard input"])
def test_function_of_main_module_runs(folder: Path, source: str) -> None:
    (folder / "script.py").write_text(SCRIPT)
    program = ["script.py"] if source == "file" else ["-"]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=folder,
        input=SCRIPT,
        env={**os.environ},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["runs"] == [
        ["finished", {"loss": 11}, ""],
        ["failed", {}, answer["runs"][1][2]],
    ]
    reason, *rest = answer["runs"][1][2].splitlines()
    assert reason == "ValueError: two is too much (exit code 1)"
    frames = [line.strip().rpartition(" in ")[2] for line in rest if line.startswith("  File")]
    assert frames == ["wrapper", "train"]
    log = smsweep_command("logs", f"{answer['id']}/1")
    assert log.startswith("before the call\nTraceback (most recent call last):")
    assert log.rstrip().endswith("ValueError: two is too much")
    if source == "file":
        assert 'raise ValueError("two is too much")' in log


MAIN = """\
import argparse, functools, json, multiprocessing, pickle
import smsweep

class Net:
    @functools.cached_property
    def size(self):
        return 40

def square(x):
    return x * x

@functools.lru_cache
def train():
    from .late import SHIFT  # imported only in the job
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=int)
    base = parser.parse_args().base
    net = pickle.loads(pickle.dumps(Net()))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        smsweep.log({"loss": sum(pool.map(square, [1, 2])) + SHIFT + base + net.size})

if __name__ == "__main__":
    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    smsweep.agent(sweep_id, train, parallel=2)
    print(json.dumps([[run.summary, run.trial.reason] for run in smsweep.Api().sweep(sweep_id).runs]))
"""


def test_function_of_main_uses_its_package_names_and_arguments(folder: Path) -> None:
    """Pickles and processes of multiprocessing find the names of `__main__`, as in the process of the caller."""
    (folder / "package").mkdir()
    (folder / "package" / "late.py").write_text("SHIFT = 1000\n")
    (folder / "package" / "main.py").write_text(MAIN)
    done = subprocess.run(
        [sys.executable, "-m", "package.main", "--base", "7"],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[{"loss": 1052}, ""]] * 2


def test_auto_requirements_send_packages_that_no_index_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "venv" / "site-packages"
    origins = {
        "local": {"url": "file:///code/local", "dir_info": {}},
        "remote": {"url": "https://example.com/r.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
    }
    for name, origin in origins.items():
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("import remote\nX = 1\n" if name == "local" else "")
        about = site / f"{name}_dist-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.0\n")
        (about / "RECORD").write_text(f"{name}/__init__.py,,\n{about.name}/METADATA,,\n")
        (about / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(site)

    def train() -> None:
        import local  # type: ignore[import-not-found]

        smsweep.log({"loss": local.X})

    pickled = pickle_function(train, "auto")
    assert pickled.modules == ("local",)
    assert "remote-dist @ git+https://example.com/r.git@abc" in pickled.requirements
    assert not any(line.startswith("local") for line in pickled.requirements)


KINDS = """
import functools
import smsweep
from smsweep import Api, agent  # a job has neither

class Trainer:
    def __init__(self, factor):
        self.factor = factor

    def fit(self):
        smsweep.log({"loss": smsweep.init().config.x * self.factor})

    __call__ = fit

def make_closure(factor):
    def train(base=100):
        smsweep.log({"loss": smsweep.init().config.x * factor + base})
    return train

def scaled(factor, *, base):
    smsweep.log({"loss": smsweep.init().config.x * factor + base})

def starts_an_agent():
    agent("abcd1234")

CASES = {
    "closure with a default": make_closure(3),
    "partial": functools.partial(scaled, 3, base=7),
    "bound method": Trainer(5).fit,
    "callable object": Trainer(6),
    "partial of a closure": functools.partial(make_closure(3), base=0),
    "agent": starts_an_agent,
}
"""


@pytest.fixture
def cases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[[], None]]]:
    (folder / "kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("kinds").CASES
    monkeypatch.delitem(sys.modules, "kinds")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("closure with a default", [103, 106]),
        ("partial", [10, 13]),
        ("bound method", [5, 10]),
        ("callable object", [6, 12]),
        ("partial of a closure", [3, 6]),
    ],
)
def test_kind_of_function_runs_in_processes(
    cases: dict[str, Callable[[], None]], kind: str, expected: list[int]
) -> None:
    assert losses(run_function(cases[kind])) == expected


def test_function_that_starts_an_agent_fails_with_a_clear_reason(cases: dict[str, Callable[[], None]]) -> None:
    (run, _) = run_function(cases["agent"])
    assert run.trial.reason.startswith("ImportError: smsweep.agent is not available inside a job")


class Holder:
    def __init__(self) -> None:
        self.name = "holder"
        self.state = {"lock": threading.Lock()}


def test_value_that_cannot_be_pickled_is_named(folder: Path) -> None:
    lock = threading.Lock()
    holder = Holder()

    def helper() -> None:
        holder.state["lock"].acquire()

    def direct() -> None:
        lock.acquire()

    def indirect() -> None:
        helper()

    def default(data: object = (1, threading.Lock())) -> None:
        print(data)

    def method(self: Holder) -> None:
        print(self)

    sweep_id = smsweep.sweep(SWEEP)
    for function, path in (
        (direct, "direct.lock"),
        (indirect, "indirect.helper.holder.state['lock']"),
        (default, "default.data[1]"),
        (functools.partial(print, lock), "print.args[0]"),
        (method.__get__(holder), "method.__self__.state['lock']"),
    ):
        with pytest.raises(UsageError) as caught:
            smsweep.agent(sweep_id, function, backend="process")
        message = str(caught.value)
        assert f"cannot be sent to a job: {path} is a _thread.lock, which cannot be pickled" in message
        assert message.endswith('create it inside the function, or use backend="inline"')
    assert smsweep.Api().sweep(sweep_id).runs == []


def test_run_with_function_that_cannot_be_sent_creates_nothing(folder: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match="cannot be sent to a job"):
        smsweep.run(SWEEP, function=lambda: lock.acquire(), parallel=2)
    with pytest.raises(UsageError, match=r"requirements: missing\.txt: No such file"):
        smsweep.run(SWEEP, function=print, parallel=2, requirements="missing.txt")
    with pytest.raises(UsageError, match="parallel: expected a whole number above 0, got 0"):
        smsweep.run(SWEEP, function=print, parallel=0, backend="process")
    with pytest.raises(UsageError, match=r"function: losses cannot be called without arguments: .* 'runs'"):
        smsweep.run(SWEEP, function=losses, parallel=2)
    assert not Workspace().has_store


def test_later_agent_calls_the_function_that_was_sent_last(folder: Path) -> None:
    config = {**SWEEP, "parameters": {"x": {"values": [1, 2, 3]}}}
    sweep_id = smsweep.sweep(config)
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 10}), backend="process", count=1)
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 20}), backend="process", count=1)
    smsweep_command("agent", sweep_id)
    runs = smsweep.Api().sweep(sweep_id).runs
    assert losses(runs) == [10, 20, 20]
    with Workspace().store() as store:
        changed = [notes.changed_source(run.trial).get(store, sweep_id) for run in runs]
        sent = notes.FUNCTION.get(store, sweep_id)
    assert changed[0] is None
    assert [note and note["hash"] for note in changed[1:]] == [sent["hash"]] * 2


def test_function_is_reproduced_from_its_snapshot(folder: Path) -> None:
    (run, _) = run_function(lambda: smsweep.log({"loss": smsweep.init().config.x}))
    assert run.reproduce()["verdict"] == "equal"


def test_function_replaces_program_of_sweep_only_for_its_agent(folder: Path) -> None:
    (folder / "train.py").write_text("import smsweep\nsmsweep.log({'loss': 1})\n")
    sweep_id = smsweep.sweep({**SWEEP, "program": "train.py"})
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 2}), backend="process", count=1)
    smsweep.agent(sweep_id)
    assert losses(smsweep.Api().sweep(sweep_id).runs) == [2, 1]


def test_function_finds_relative_files_of_the_working_directory(folder: Path) -> None:
    (folder / "data.txt").write_text("7")
    assert losses(run_function(lambda: smsweep.log({"loss": int(Path("data.txt").read_text())}))) == [7, 7]


def test_process_has_the_interpreter_of_the_caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder / "other" / "bin"
    other.mkdir(parents=True)
    (other / "python").write_text("#!/bin/sh\nexit 9\n")
    (other / "python").chmod(0o755)
    monkeypatch.setenv("VIRTUAL_ENV", str(other.parent))  # of the shell that started Jupyter
    monkeypatch.setenv("PATH", f"{other}:{os.environ['PATH']}")
    runs = run_function(lambda: smsweep.log({"loss": sys.prefix == prefix}))
    assert losses(runs) == [True, True]


prefix = sys.prefix


def test_agent_of_another_python_version_is_refused(folder: Path) -> None:
    sweep_id = smsweep.sweep(SWEEP)
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 1}), backend="process", count=1)
    with Workspace().store() as store:
        notes.FUNCTION.put(store, sweep_id, {**notes.FUNCTION.get(store, sweep_id), "python": "3.9"})
    with pytest.raises(UsageError, match=r"was pickled by Python 3.9, .*: start it with Python 3.9"):
        smsweep.agent(sweep_id)


def test_requirements_of_this_environment_are_accepted(folder: Path) -> None:
    import boto3

    def train() -> None:
        smsweep.log({"loss": boto3.__version__})

    sweep_id = smsweep.sweep(SWEEP)
    smsweep.agent(sweep_id, train, backend="process", requirements="auto", count=1)
    smsweep.agent(sweep_id, train, backend="process", requirements=["numpy", "# comment"], count=1)
    assert losses(smsweep.Api().sweep(sweep_id).runs) == [boto3.__version__] * 2
    bundles = [open_bundle(path) for path in Workspace().bundles_dir.glob("*.tar.gz")]
    assert sorted("requirements.txt" in {member.name for member in each.members} for each in bundles) == [
        True,
        True,
    ]


def test_requirements_that_processes_do_not_have_are_refused(folder: Path) -> None:
    message = r"requirements: processes use the packages of .*, which does not have no-such-package, numpy==0\.1;"
    lines = ["no-such-package", "numpy==0.1", "numpy>=1", "./local.whl"]
    with pytest.raises(UsageError, match=message):
        smsweep.run(SWEEP, function=print, parallel=2, requirements=lines)
    assert not Workspace().has_store
    with pytest.raises(UsageError, match=message):
        smsweep.agent(smsweep.sweep(SWEEP), print, backend="process", requirements=lines)


def test_show_and_plan_name_the_function(folder: Path) -> None:
    sweep_id = smsweep.sweep(SWEEP)
    call = f'smsweep.agent("{sweep_id}", function=...)'
    assert f"pending; run trials with: {call}" in smsweep_command("show", sweep_id)
    assert f"each trial calls: no function yet; {call} sends a function" in smsweep_command("plan", sweep_id)

    def train() -> None:
        smsweep.log({"loss": 1})

    smsweep.agent(sweep_id, train, backend="process", count=1)
    shown = smsweep_command("show", sweep_id)
    assert f"pending; run trials with: smsweep agent {sweep_id}" in shown
    assert (
        f"train, sent by Python {sys.version_info.major}.{sys.version_info.minor}; {call} sends another" in shown
    )
    planned = smsweep_command("plan", sweep_id)
    assert f"each trial calls: train; {call} sends a function" in planned
    assert "/usr/bin/env" not in planned


SENDS = """
import os, signal, sys
import smsweep
from smsweep.store.sql import SqlStore

call, when, sweep_id = sys.argv[1:]
original = getattr(SqlStore, call)

def killed(self, *args, **options):
    if call == "put_note" and "function" not in args:
        return original(self, *args, **options)
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, *args, **options)
    os.kill(os.getpid(), signal.SIGKILL)

def train():
    smsweep.log({"loss": smsweep.init().config.x})

if when != "never":
    setattr(SqlStore, call, killed)
smsweep.agent(sweep_id, train, backend="process")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["put_note", "set_source_hash"])
def test_sender_killed_while_it_sends_a_function_leaves_a_valid_sweep(folder: Path, call: str, when: str) -> None:
    (folder / "sends.py").write_text(SENDS)
    sweep_id = smsweep.sweep(SWEEP)

    def send(when: str) -> int:
        command = [sys.executable, "sends.py", call, when, sweep_id]
        return subprocess.run(command, env={**os.environ}, timeout=120).returncode

    assert send(when) == -signal.SIGKILL
    if (call, when) == ("put_note", "before"):
        assert send("never") == 0
    else:
        smsweep_command("agent", sweep_id)  # the function was recorded
    assert losses(smsweep.Api().sweep(sweep_id).runs) == [1, 2]


def test_secret_in_function_is_sent_to_no_container(folder: Path) -> None:
    key = "AKIA" + "QWERTYUIOPASDFGH"
    sweep_id = smsweep.sweep(SWEEP)
    with pytest.raises(SourceError, match=r"smsweep_function/function.pkl:\d+: AKIA\*\*\*: looks like an AWS"):
        smsweep.agent(sweep_id, lambda: print(key), backend="docker")
    assert not list(Workspace().bundles_dir.glob("*.tar.gz"))


def test_arguments_without_function_are_refused(folder: Path) -> None:
    sweep_id = smsweep.sweep(SWEEP)
    with pytest.raises(UsageError, match=r'backend: "inline" calls a function of this process'):
        smsweep.agent(sweep_id, backend="inline")
    with pytest.raises(UsageError, match="requirements: only jobs of a function install them"):
        smsweep.agent(sweep_id, requirements="auto")
    with pytest.raises(UsageError, match="requirements: expected a file, a list of lines or 'auto', got 3"):
        smsweep.agent(sweep_id, print, parallel=2, requirements=3)  # type: ignore[arg-type]  # the point
