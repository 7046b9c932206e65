"""Mistakes of users: exit code 2, a message on stderr, nothing on stdout, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.cli.main import app
from tests.unit.cli.conftest import SWEEP, Cli

MISTAKES = {
    "no such verb": (["runn", "sweep.yaml"], "did you mean smsweep run"),
    "no such flag": (["run", "sweep.yaml", "--paralel", "2"], "--paralel"),
    "no such file": (["run", "nope.yaml"], "nope.yaml: no such file"),
    "a folder for a file": (["sweep", "."], ".: is a folder; expected a W&B sweep YAML"),
    "an id for a file": (["sweep", "abcd1234"], "--resume"),
    "no such sweep": (["show", "abcd1234"], "smsweep ls"),
    "no such trial": (["logs", "SWEEP/9"], "smsweep trials"),
    "a sweep for a trial": (["why", "SWEEP"], "SWEEP/0"),
    "log of a sweep without trials": (["logs", "SWEEP"], "no trial has started yet"),
    "a trial for a sweep": (["trials", "SWEEP/1"], "give the sweep id: SWEEP"),
    "not an id at all": (["agent", "Not An Id"], "smsweep ls"),
    "no such backend": (["agent", "SWEEP", "--backend", "cloud"], "process"),
    "a backend with a typo": (
        ["agent", "SWEEP", "--backend", "dockr"],
        "'dockr'; did you mean docker?",
    ),
    "no trials at once": (["agent", "SWEEP", "--parallel", "0"], "--parallel"),
    "count is not a number": (["agent", "SWEEP", "--count", "many"], "--count"),
    "two states": (["sweep", "--pause", "--stop", "SWEEP"], "contradict"),
    "update": (["sweep", "--update", "SWEEP", "sweep.yaml"], "--prior-run"),
    "settings of W&B": (["sweep", "sweep.yaml", "--settings", "a=1"], "have no effect in smsweep; remove"),
    "scheduler of W&B": (
        ["sweep-scheduler", "SWEEP", "--batch-size", "4"],
        "no such command; use smsweep agent SWEEP",
    ),
    "no such state": (["trials", "SWEEP", "--state", "done"], "finished"),
    "a name that steers a terminal": (["run", "a\u202eb\x1b[2J.yaml"], "a\\u202eb"),
    "no such format": (["export", "SWEEP", "--format", "xml"], "csv"),
    "no such folder": (["export", "SWEEP", "-o", "no/where.csv"], "no folder no"),
    "retry of a sweep": (["retry", "SWEEP"], "--failed"),
    "no such prior run": (["sweep", "sweep.yaml", "-R", "zzzz9999"], "zzzz9999"),
    "best without trials": (["best", "SWEEP"], "failed and crashed trials do not count"),
    "no such shell": (["completion", "ksh"], "bash"),
    "no argument": (["agent"], "a sweep's id or --queue"),
    "no such job file": (["sweep", "sweep.yaml", "--job", "nope.yaml"], "nope.yaml"),
}


@pytest.mark.parametrize("verb", ["plan", "sweep", "run"])
@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("budget: {usd: 5}", "budget.usd: needs price_per_hour"),
        ("budget: {hours: 1}", "do not cover one trial"),
        ("price_per_hour: aws\nbudget: {usd: 5, hours: 1}", "budget: 1 hours do not cover one trial"),
    ],
)
def test_budget_below_one_trial_creates_no_sweep(cli: Cli, verb: str, job: str, message: str) -> None:
    Path("job.yaml").write_text(job)
    ended = cli(verb, "sweep.yaml", "--job", "job.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "no sweep yet" in cli("ls").err


@pytest.mark.parametrize("verb", ["plan", "sweep", "run"])
def test_error_names_the_folder_below_that_has_the_program(cli: Cli, folder: Path, verb: str) -> None:
    (folder / "sweeps").mkdir()
    (folder / "sweep.yaml").rename(folder / "sweeps/sweep.yaml")
    (folder / "code/mnist").mkdir(parents=True)
    (folder / "train.py").rename(folder / "code/mnist/train.py")
    ended = cli(verb, "sweeps/sweep.yaml")
    expected = f"but there is {folder}/code/mnist/train.py; run from {folder}/code/mnist, or set source_dir"
    assert (ended.code, ended.out, expected in ended.err) == (2, "", True)


@pytest.mark.parametrize(("args", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_gets_an_error_message(cli: Cli, args: list[str], message: str) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    ended = cli(*(arg.replace("SWEEP", sweep_id) for arg in args))
    assert ended.code == 2, ended.err
    assert message in ended.err.replace(sweep_id, "SWEEP")
    assert ended.out == ""
    assert "Traceback" not in ended.err


CONFIGS = {
    "not YAML": "program: [",
    "empty": "",
    "a list": "- a\n- b\n",
    "no method": "program: train.py\nparameters: {a: {value: 1}}\n",
    "unknown method": "program: train.py\nmethod: gird\nparameters: {a: {value: 1}}\n",
    "unknown key": "program: train.py\nmethod: grid\nparametres: {a: {value: 1}}\n",
    "duplicate key": "program: train.py\nmethod: grid\nmethod: random\nparameters: {a: {value: 1}}\n",
    "grid over a range": "program: train.py\nmethod: grid\nparameters: {a: {min: 0.0, max: 1.0}}\n",
    "bayes without metric": "program: train.py\nmethod: bayes\nparameters: {a: {min: 0.0, max: 1.0}}\n",
    "program is missing": "program: other.py\nmethod: grid\nparameters: {a: {value: 1}}\n",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS.keys())
def test_invalid_config_creates_nothing(cli: Cli, folder: Path, text: str) -> None:
    (folder / "sweep.yaml").write_text(text)
    ended = cli("sweep", "sweep.yaml")
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert cli("ls", "--json").out.strip() == "[]"


DOOMED = {
    "no program": ({"sweep.yaml": "method: grid\nparameters: {a: {value: 1}}\n"}, [], "--program"),
    "no such backend": ({}, ["--backend", "cloud"], "use one of batch, docker"),
    "a channel that cannot be read": (
        {"job.yaml": "inputs: {train: 's3://bucket/train'}\n"},
        ["--job", "job.yaml"],
        "channel train",
    ),
    "no region": ({}, ["--backend", "sagemaker"], "AWS_REGION"),
    "no region for an agent": ({}, ["--detach=sagemaker"], "AWS_REGION"),
    "an agent far from its backend": ({}, ["--detach=s3", "--backend", "docker"], "cannot reach --backend docker"),
    "half a command": ({}, ["--notify", "say 'hello"], "not a valid command: No closing quotation"),
}


@pytest.mark.parametrize(("files", "flags", "message"), DOOMED.values(), ids=DOOMED.keys())
def test_run_that_cannot_start_a_trial_creates_nothing(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], flags: list[str], message: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    for name, text in files.items():
        (folder / name).write_text(text)
    ended = cli("run", "sweep.yaml", *flags)
    assert ended.code in (1, 2), ended.err
    assert message in ended.err
    assert ended.out == ""
    assert cli("ls", "--json").out.strip() == "[]"


def test_debug_variable_prints_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_DEBUG", "1")
    assert "Traceback" in cli("run", "nope.yaml").err


def test_debug_flag_prints_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_DEBUG", "")  # so that the variable is restored afterwards
    assert "Traceback" in cli("--debug", "run", "nope.yaml").err


@pytest.fixture
def broken_command() -> Iterator[str]:
    """A command that raises an unexpected exception."""
    app.command("broken")(lambda: print(1 // 0))
    yield "broken"
    app.registered_commands.pop()


def test_unexpected_exception_is_reported_as_a_bug(cli: Cli, broken_command: str) -> None:
    ended = cli(broken_command)
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert "report" in ended.err
    assert "Traceback" not in ended.err


def test_error_names_a_store_that_cannot_be_opened(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_STORE", f"sqlite:///{folder}/nowhere/store.db")
    ended = cli("ls")
    assert ended.code == 1
    assert "nowhere/store.db" in ended.err
    assert "Traceback" not in ended.err


REFUSED_BY_RUN = {
    "no such program": ("program: trian.py", "", []),
    "no program": ("{}", "", []),
    "no such secret": ("program: train.py", "secrets: {TOKEN: 'env:NOT_SET_ANYWHERE'}", []),
    "no such source": ("program: train.py", "source_dir: nowhere", []),
    "a hook without consent": ("program: train.py", "notify: ['./hook.sh']", []),
    "no such prior run": ("program: train.py", "", ["-R", "zzzz9999"]),
    "no such prior file": ("program: train.py", "", ["-R", "none.csv"]),
    "no such backend": ("program: train.py", "", ["--backend", "cloud"]),
    "invalid notification": ("program: train.py", "", ["--notify", "ftp://x"]),
}


@pytest.mark.parametrize(("program", "job", "args"), REFUSED_BY_RUN.values(), ids=REFUSED_BY_RUN.keys())
def test_plan_refuses_what_run_refuses(cli: Cli, program: str, job: str, args: list[str]) -> None:
    cli("sweep", "sweep.yaml")  # so that there is a store
    config = SWEEP.replace("program: train.py", "" if program == "{}" else program)
    Path("sweep.yaml").write_text(config)
    Path("job.yaml").write_text(job)
    args = ["sweep.yaml", *(["--job", "job.yaml"] if job else []), *args]
    refused, planned = cli("run", *args), cli("plan", *args)
    assert (refused.code != 0, refused.out) == (True, "")
    assert planned == refused


def test_plan_without_a_store_creates_no_folder(cli: Cli, folder: Path) -> None:
    assert cli("plan", "sweep.yaml", "--program", "train.py").code == 0
    assert not (folder / ".smsweep").exists()
