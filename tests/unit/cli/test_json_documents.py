"""The `--json` output of real commands against the published types."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.slow

FRONT = """
program: train.py
method: custom
run_cap: 2
metrics: [{name: loss, goal: minimize}, {name: cost, goal: minimize}]
parameters: {a: {values: [1, 2]}}
"""
TRAIN = """
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.log({"loss": 10 / a, "cost": a})
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("smsweep ls", ["ls"]),
        ("smsweep show ID", ["show", "ID"]),
        ("smsweep show ID/N", ["show", "ID/0"]),
        ("smsweep trials", ["trials", "ID"]),
        ("smsweep best", ["best", "ID"]),
        ("smsweep why", ["why", "ID/0"]),
        ("smsweep diff", ["diff", "ID/0", "ID/1"]),
        ("smsweep plan", ["plan", "sweep.yaml"]),
        ("smsweep plan", ["plan", "ID"]),
        ("smsweep export", ["export", "ID"]),
        ("smsweep export --to", ["export", "ID", "--to", "trials.csv"]),
        ("smsweep report", ["report", "ID", "-o", "report.html"]),
        ("smsweep doctor", ["doctor"]),
        ("smsweep completion", ["completion", "bash"]),
        ("smsweep skill", ["skill"]),
        ("smsweep sweep", ["sweep", "sweep.yaml"]),
        ("smsweep rm", ["rm", "ID/0", "--yes"]),
        ("smsweep rm --dry-run", ["rm", "ID", "--dry-run"]),
        ("smsweep prune", ["prune", "ID", "--keep-best", "1", "--dry-run"]),
        ("smsweep iam", ["iam"]),
    ],
)
def test_output_matches_its_type(cli: Cli, ran: str, name: str, arguments: list[str]) -> None:
    ended = cli(*(argument.replace("ID", ran) for argument in arguments), "--json")
    assert check(name, ended.out), ended.err


def test_watch_events_match_their_types(cli: Cli, ran: str) -> None:
    lines = cli("watch", ran, "--json").out.splitlines()
    assert [check("smsweep watch, each line", line)["event"] for line in lines] == ["sweep", "best"]


def test_log_lines_match_their_types(cli: Cli, ran: str) -> None:
    lines = cli("logs", f"{ran}/0", "--json").out.splitlines()
    assert [check("smsweep logs, each line", line)["line"] for line in lines] == ["trained with 1"]


def test_run_and_reproduce_match_their_types(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(FRONT)
    sweep = check("smsweep run", cli("run", "sweep.yaml", "--json", "--quiet").out)
    assert sweep["ended"] == {"finished": 2}
    front = check("smsweep best, several metrics", cli("best", sweep["id"], "--json").out)
    assert [trial["outcome"]["cost"] for trial in front]
    again = check("smsweep reproduce", cli("reproduce", f"{sweep['id']}/0", "--json", "--quiet").out)
    assert again["verdict"] == "equal"


def test_best_of_repeats_matches_its_type(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("repeats: 2\n")
    sweep = check("smsweep run", cli("run", "sweep.yaml", "--job", "job.yaml", "--json", "--quiet").out)
    assert len(sweep["best"]["repeats"]["trials"]) == 2


def test_failed_trial_matches_its_type(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[13, 1]"))
    sweep = check("smsweep run", cli("run", "sweep.yaml", "--json", "--quiet").out)
    assert sweep["failures"][0]["trials"] == 1
    assert check("smsweep why", cli("why", f"{sweep['id']}/0", "--json").out)["log"]
    assert check("smsweep retry", cli("retry", f"{sweep['id']}/0", "--json").out) == [f"{sweep['id']}/0"]
