"""`smsweep confirm` and `confirm` in job.yaml, on real jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smsweep
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from tests.support.json_documents import check
from tests.unit.cli.conftest import Cli

SWEEP = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {values: [1, 2, 3, 4]}}
"""
# the seed of the search favors 4, whose mean is the worst
TRAIN = """
import argparse, os, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
seed = int(os.environ.get("SMSWEEP_REPEAT", "0"))
smsweep.log({"loss": a + (seed % 3) / 10 - (5 if a == 4 and not seed else 0), "seed": seed})
"""


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


def seeds(cli: Cli, sweep_id: str, number: int) -> list[int]:
    trials = json.loads(cli("trials", sweep_id, "--json").out)
    return [trial["metrics"]["seed"] for trial in trials if trial["confirms"] == number]


def test_confirm_run_finds_the_best_trial_despite_noise(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--parallel", "4").out.strip()
    assert json.loads(cli("best", sweep_id, "--json").out)["params"] == {"a": 4}
    ended = cli("confirm", sweep_id, "--top", "2", "--repeats", "3", "--run", "--parallel", "2")
    assert ended.code == 0, ended.err
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert shown["state"] == "finished"
    best = check("smsweep best", cli("best", sweep_id, "--json").out)
    assert best["params"] == {"a": 1}
    assert best["repeats"]["interval"][0] < best["repeats"]["mean"] < best["repeats"]["interval"][1]
    assert "95 % interval" in cli("best", sweep_id).out
    assert "repeat of" in cli("trials", sweep_id).out.splitlines()[0]
    assert "trial 3, repeat 1" in cli("show", f"{sweep_id}/4").out
    assert seeds(cli, sweep_id, 3)[0] == 1
    assert seeds(cli, sweep_id, 0) == list(range(1, len(seeds(cli, sweep_id, 0)) + 1))
    run = smsweep.Api().sweep(sweep_id).best_run()
    assert run is not None
    assert run.repeats == best["repeats"]


def test_equal_repeats_get_a_hint(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN.replace('os.environ.get("SMSWEEP_REPEAT", "0")', "os.devnull == 7"))
    sweep_id = cli("run", "sweep.yaml", "--parallel", "4").out.strip()
    assert cli("confirm", sweep_id, "--top", "2", "--run").code == 0
    assert "all repeats are equal; is SMSWEEP_REPEAT the seed of the script?" in cli("best", sweep_id).out
    assert len(cli("trials", sweep_id).out.splitlines()) == 7  # a header, four trials and two repeats


def test_confirm_of_job_yaml_repeats_the_best_trials(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("confirm: {top: 2, trials: 5}\n")
    sweep = check("smsweep run", cli("run", "sweep.yaml", "--job", "job.yaml", "--json", "--quiet").out)
    assert (sweep["state"], sweep["best"]["params"]) == ("finished", {"a": 1})
    assert sweep["expected_trial_count"] == 9


def test_stopped_sweep_gets_repeats_and_stays_stopped(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--count", "3").out.strip()
    cli("sweep", "--stop", sweep_id)
    assert cli("confirm", sweep_id, "--top", "2", "--repeats", "1", "--run").code == 0
    shown = json.loads(cli("show", sweep_id, "--json").out)
    assert (shown["state"], shown["trials"]) == ("stopped", {"finished": 5})


def test_same_request_again_adds_no_repeats(cli: Cli, folder: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--parallel", "4").out.strip()
    first = check("smsweep confirm", cli("confirm", sweep_id, "--top", "2", "--json").out)
    assert first == {"id": sweep_id, "repeats": 6}
    cli("agent", sweep_id, "--count", "2")
    assert check("smsweep confirm", cli("confirm", sweep_id, "--top", "2", "--json").out)["repeats"] == 4
    with Workspace().store() as store:
        assert notes.CONFIRM.get(store, sweep_id)["trials"] == 6
    more = check("smsweep confirm", cli("confirm", sweep_id, "--top", "3", "--json").out)
    assert more["repeats"] == 9


def test_reproduced_repeat_has_its_seed(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("confirm: {top: 2, trials: 2}\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml").out.strip()
    assert json.loads(cli("reproduce", f"{sweep_id}/5", "--json", "--quiet").out)["verdict"] == "equal"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("", "", "0 finished trials with a value of 'loss'; confirm needs two or more"),
        ("metric: {name: loss, goal: minimize}", "", "no metric to compare trials by"),
    ],
)
def test_sweep_without_best_trials_is_refused(
    cli: Cli, folder: Path, before: str, after: str, problem: str
) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace(before, after))
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    refused = cli("confirm", sweep_id)
    assert refused.code == 2
    assert problem in refused.err
    with Workspace().store() as store:
        assert notes.CONFIRM.get(store, sweep_id) == {}


@pytest.mark.parametrize(
    ("job", "sweep", "problem"),
    [
        ("confirm: {top: 0}", "", "job.yaml:1: confirm.top"),
        ("confirm: {trials: 3, repeats: 2}", "", "job.yaml:1: confirm.repeats: cannot be combined with trials"),
        ("confirm: {}\nrepeats: 2", "", "job.yaml:1: confirm: cannot be combined with repeats"),
        ("confirm: {}", "run_cap: 10", "leave fewer than two of the 10 trials of run_cap"),
        ("confirm: {}\nbudget: {trials: 16}", "", "leave fewer than two of the 16 trials of budget.trials"),
    ],
)
def test_invalid_confirm_creates_no_sweep(cli: Cli, folder: Path, job: str, sweep: str, problem: str) -> None:
    (folder / "job.yaml").write_text(job)
    (folder / "sweep.yaml").write_text(f"{SWEEP}{sweep}\n")
    refused = cli("sweep", "sweep.yaml", "--job", "job.yaml")
    assert refused.code == 2
    assert problem in refused.err
    assert cli("ls").out == ""


def test_recovered_sweep_knows_its_repeats(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("confirm: {top: 2, trials: 5}\n")
    sweep_id = cli("run", "sweep.yaml", "--job", "job.yaml").out.strip()
    before = json.loads(cli("trials", sweep_id, "--json").out)
    (folder / ".smsweep" / "store.db").unlink()
    assert cli("recover", sweep_id, "sweep.yaml", "--job", "job.yaml").code == 0
    cli("agent", sweep_id)
    after = json.loads(cli("trials", sweep_id, "--json").out)
    facts = ("number", "params", "confirms", "repeat", "objective")
    assert [[trial[name] for name in facts] for trial in after] == [
        [trial[name] for name in facts] for trial in before
    ]


@pytest.mark.parametrize(
    ("job", "method", "problem"),
    [
        (
            "search: {cost: time}",
            "grid",
            "search.cost: the search method grid does not choose params by their cost",
        ),
        ("search: {cost: dollars}", "bayes", "job.yaml:1: search.cost: dollars needs price_per_hour"),
        ("search: {cost: epochs}", "bayes", "job.yaml:1: search.cost"),
    ],
)
def test_invalid_cost_creates_no_sweep(cli: Cli, folder: Path, job: str, method: str, problem: str) -> None:
    (folder / "job.yaml").write_text(job)
    (folder / "sweep.yaml").write_text(SWEEP.replace("grid", method))
    refused = cli("sweep", "sweep.yaml", "--job", "job.yaml")
    assert refused.code == 2
    assert problem in refused.err
    assert cli("ls").out == ""


def test_bayes_sweep_saves_instance_time(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("search: {cost: time}\nbudget: {trials: 9}\n")
    (folder / "sweep.yaml").write_text(
        SWEEP.replace("grid", "bayes").replace("values: [1, 2, 3, 4]", "min: 1, max: 90")
    )
    sweep = check("smsweep run", cli("run", "sweep.yaml", "--job", "job.yaml", "--json", "--quiet").out)
    assert sweep["trials"] == {"finished": 9}
    assert cli("plan", sweep["id"]).code == 0
