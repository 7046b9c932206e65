"""Options and defaults that commands share: names of sweeps, the newest sweep, sweep.yaml, --dir and --region."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smsweep.api.api import Api
from smsweep.core.sweep import Sweep
from smsweep.errors import UsageError
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import SWEEP, Cli


def add_sweep(sweep_id: str, new_id: str, name: str) -> Sweep:
    """Store a copy of a sweep, without its trials."""
    with Workspace().store() as store:
        found = store.get_sweep(sweep_id)
        return store.create_sweep(replace(found, id=new_id, name=name, created_at=None))


def test_name_of_a_sweep_works_as_its_id(cli: Cli, ran: str) -> None:
    for command in ("show", "trials", "best", "export", "watch", "logs"):
        assert cli(command, "tiny").out == cli(command, ran).out != "", command


def test_name_of_a_sweep_works_in_labels_of_trials(cli: Cli, ran: str) -> None:
    assert json.loads(cli("why", "tiny/2", "--json").out)["trial"] == f"{ran}/2"
    assert cli("diff", "tiny/1", f"{ran}/1", "--exit-code").code == 0
    assert cli("plan", "tiny").out == cli("plan", ran).out
    assert cli("sweep", "--resume", "tiny").out.strip() == ran
    again = cli("sweep", "sweep.yaml", "--name", "again", "-R", "tiny").out.strip()
    with Workspace().store() as store:
        assert store.get_sweep(again).prior_runs == (ran,)


@pytest.mark.usefixtures("cli")
def test_name_of_a_sweep_works_in_python(ran: str) -> None:
    assert Api().sweep("tiny").id == ran
    assert Api().run("tiny/2").id == Api().run(f"{ran}/2").id
    assert Api().diff("tiny/1", f"{ran}/1")["is_same"] is True


def test_ambiguous_name_is_refused_with_the_ids(cli: Cli, ran: str) -> None:
    add_sweep(ran, "aaaaaaaa", "tiny")
    ended = cli("show", "tiny")
    assert (ended.code, ran in ended.err, "aaaaaaaa" in ended.err) == (2, True, True)
    with pytest.raises(UsageError, match="2 sweeps have this name"):
        Api().sweep("tiny")


def test_id_wins_over_a_name_and_a_name_over_a_prefix(cli: Cli, ran: str) -> None:
    add_sweep(ran, "aaaaaaaa", ran)
    add_sweep(ran, "bbbbbbbb", "aaaa")
    assert json.loads(cli("show", ran, "--json").out)["id"] == ran
    assert json.loads(cli("show", "aaaa", "--json").out)["id"] == "bbbbbbbb"


@pytest.mark.parametrize("name", ["Résumé 2: lr/7", "UPPER.case", "1/2", "baseline"])
def test_any_text_is_a_name(cli: Cli, ran: str, name: str) -> None:
    add_sweep(ran, "aaaaaaaa", name)
    assert json.loads(cli("show", name, "--json").out)["id"] == "aaaaaaaa"


def test_sweep_is_not_cancelled_by_a_short_prefix(cli: Cli, ran: str) -> None:
    cli("sweep", "--resume", ran)
    assert cli("sweep", "--cancel", ran[:5]).code == 2
    assert cli("sweep", "--cancel", ran[:6]).out.strip() == ran


READING = ("show", "trials", "best", "export", "watch", "logs", "report")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Connect stdin and stderr to a terminal at each call. A call returns the output since the last one.

    The kernel delivers the output of a terminal in parts, so a call reads to a mark that it writes itself.
    """
    main, other = os.openpty()
    mark = "\x1e"
    with open(other, "r+b", buffering=0) as raw, open(other, "w", closefd=False) as text:  # noqa: PTH123 - a descriptor

        def connect() -> str:
            monkeypatch.setattr(sys, "stdin", raw)
            monkeypatch.setattr(sys, "stderr", text)
            print(mark, end="", file=text, flush=True)
            output = ""
            while mark not in output:
                output += os.read(main, 65536).decode()
            return output.removesuffix(mark)

        yield connect
    os.close(main)


def test_newest_sweep_is_the_default_on_a_terminal(cli: Cli, ran: str, terminal: Callable[[], str]) -> None:
    add_sweep(ran, "aaaaaaaa", "newer")
    terminal()
    for command in READING:
        code = cli(command).code
        assert "newest sweep: aaaaaaaa (newer)" in terminal(), command
        assert code == (2 if command in ("best", "logs") else 0), command  # it has no trials


def test_sweep_must_be_named_without_a_terminal(cli: Cli, ran: str) -> None:
    for command in READING:
        ended = cli(command)
        assert (ended.code, ended.out) == (2, "")
        assert f"error: smsweep {command}: ID" in ended.err
        assert " is missing; write: smsweep " in ended.err


def test_sweep_must_be_named_for_changes(cli: Cli, ran: str, terminal: Callable[[], str]) -> None:
    terminal()
    for words in ("rm -y", "retry --failed", "sweep --stop", "sweep --cancel", "agent", "why"):
        assert cli(*words.split()).code == 2
    with Workspace().store() as store:
        assert [sweep.id for sweep in store.list_sweeps()] == [ran]


def test_log_of_a_sweep_is_that_of_the_trial_that_started_last(cli: Cli, ran: str) -> None:
    ended = cli("logs", ran)
    assert ended.out == cli("logs", f"{ran}/2").out != ""
    assert ended.err == f"log of trial {ran}/2, which started last\n"


@pytest.mark.parametrize("command", ["sweep", "plan", "run"])
def test_sweep_yaml_is_the_default_config(cli: Cli, command: str) -> None:
    ended = cli(command)
    assert (ended.code, "config: sweep.yaml\n" in ended.err) == (0, True)


def test_missing_config_is_a_usage_error(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").unlink()
    for command in ("sweep", "plan", "run"):
        ended = cli(command)
        assert (ended.code, ended.out) == (2, "")
        assert "this folder has no sweep.yaml or sweep.yml; write: smsweep" in ended.err


def test_sweep_yaml_comes_before_sweep_yml(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yml").write_text(SWEEP.replace("[1, 2, 4]", "[1]"))
    assert "3 trials" in cli("plan").out
    (folder / "sweep.yaml").unlink()
    assert "grid: 1 trial," in cli("plan").out


@pytest.mark.parametrize("before", [True, False])
def test_dir_names_the_store_on_every_command(
    cli: Cli, ran: str, folder: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("SMSWEEP_DIR", str(folder / "other"))
    option = ("--dir", str(folder / ".smsweep"))
    for command in (("ls",), ("show", ran[:5]), ("trials", "tiny"), ("best", ran), ("why", f"{ran}/0")):
        ended = cli(*option, *command) if before else cli(*command, *option)
        assert (ended.code, ended.out != "") == (0, True), ended.err


def test_region_and_profile_reach_aws(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert "ap-south-2" in cli("iam", "--sweep", sweep_id, "--region", "ap-south-2").out
    assert "ap-south-2" in cli("--region", "ap-south-2", "iam", "--sweep", sweep_id).out
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    ended = cli("auth", "--profile", "no-such-profile")
    assert (ended.code != 0, "no-such-profile" in ended.err) == (True, True)


def test_store_is_found_in_a_parent_folder(
    cli: Cli, ran: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "src" / "deep"
    inner.mkdir(parents=True)
    (inner / "train.py").write_text((folder / "train.py").read_text())
    (inner / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(inner)
    assert ran in cli("ls").out
    ended = cli("sweep")
    assert f"the sweep is stored in {folder / '.smsweep'}" in ended.err
    assert not (inner / ".smsweep").exists()
    with Workspace().store() as store:
        assert store.get_sweep(ended.out.strip()).name == "tiny"


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/smsweep", "train.py"])
def test_folder_that_cannot_hold_the_store_is_a_usage_error(cli: Cli, place: str) -> None:
    for words in ("ls", "sweep sweep.yaml", "show abcd1234", "rm -y abcd1234", "run sweep.yaml"):
        ended = cli(*words.split(), "--dir", place)
        assert (ended.code, ended.out) == (2, ""), ended.err
        assert ended.err.startswith(f"error: {Path(place).absolute()}: this folder cannot hold the store (")
