"""`--prior-run`: the results that the search uses and ignores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.slow  # every test runs sweeps


def params(cli: Cli, sweep_id: str) -> list[int]:
    return [trial["params"]["a"] for trial in json.loads(cli("trials", sweep_id, "--json").out)]


def test_cells_in_a_csv_do_not_run_again(cli: Cli, folder: Path) -> None:
    (folder / "runs.csv").write_text('"Name","State","a","loss"\n"x","finished","1","10"\n"y","failed","4",""\n')
    ended = cli("run", "sweep.yaml", "-R", "runs.csv", "--quiet")
    assert params(cli, ended.out.strip()) == [2]


def test_export_works_as_prior_runs(cli: Cli, ran: str, folder: Path) -> None:
    (folder / "runs.csv").write_text(cli("export", ran).out)
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[1, 2, 5]"))
    ended = cli("run", "sweep.yaml", "-R", "runs.csv")
    assert "a outside the space: 1 of 3 runs" in ended.err
    assert params(cli, ended.out.split()[0]) == [5]


def test_csv_of_prior_runs_is_read_once(cli: Cli, folder: Path) -> None:
    (folder / "runs.csv").write_text("State,a,loss\nfinished,1,10\n")
    sweep_id = cli("sweep", "sweep.yaml", "-R", "runs.csv").out.strip()
    (folder / "runs.csv").unlink()
    cli("agent", sweep_id)
    assert params(cli, sweep_id) == [2, 4]


def test_bayes_uses_prior_runs_of_another_space(cli: Cli, ran: str, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: bayes\nmetric: {name: loss}\nrun_cap: 2\n"
        "parameters: {a: {min: 2, max: 9}, b: {min: 0.0, max: 1.0}}\n"
    )
    ended = cli("run", "sweep.yaml", "-R", ran)
    assert ended.code == 0, ended.err
    assert "prior runs: a outside the space: 1 of 3 trials" in ended.err
    assert "prior runs: without b: 3 of 3 trials" in ended.err


def test_missing_prior_run_creates_nothing(cli: Cli) -> None:
    assert "no such file" in cli("sweep", "sweep.yaml", "-R", "runs.csv").err
    assert cli("sweep", "sweep.yaml", "-R", "abcd1234").code == 2
    assert json.loads(cli("ls", "--json").out) == []


def test_parameter_that_does_not_exist_is_not_missing_in_prior_runs(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text("import smsweep\nsmsweep.init()\nsmsweep.log({'loss': 1.0})\n")
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: bayes\nmetric: {name: loss}\nrun_cap: 3\n"
        "parameters: {a: {values: [x, y]}, b: {min: 0.0, max: 1.0}}\n"
    )
    (folder / "job.yaml").write_text("search: {conditions: {b: {when: {a: y}}}}\n")
    ended = cli("run", "sweep.yaml", "--job", "job.yaml", "--quiet")
    assert ended.code == 0, ended.err
    sweep_id = ended.out.split()[0]
    (folder / "runs.csv").write_text(cli("export", sweep_id).out)
    for prior in (sweep_id, "runs.csv"):
        again = cli("sweep", "sweep.yaml", "--job", "job.yaml", "-R", prior)
        assert again.code == 0
        assert "without b" not in again.err
    refused = cli("enqueue", sweep_id, "a=x", "b=0.5")
    assert "params: no params with these values meet b if a is y; change the values" in refused.err
