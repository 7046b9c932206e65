"""Whole sweeps from Python: real store, real jobs in real processes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import smsweep
from smsweep.errors import UsageError
from smsweep.services.sweeps import control

SCRIPT = """\
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--kind")
args, _ = parser.parse_known_args()
for step in range(3):
    smsweep.log({"loss": args.x + 2 - step, "nested": {"kind": args.kind}}, step=step)
"""
GRID = {
    "program": "train.py",
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"values": [0.5, 2.0, 1.0]}, "kind": {"value": "a b"}},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a training script, and an empty store in another folder."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(work)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "SMSWEEP_STORE"):
        monkeypatch.delenv(name, raising=False)
    return work


def test_sweep_runs_and_records_every_cell(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID, project="demo")
    smsweep.agent(sweep_id, parallel=2)
    runs = smsweep.Api().sweep(f"me/demo/{sweep_id}").runs
    assert [(run.config, run.state, run.objective) for run in runs] == [
        ({"kind": "a b", "x": 0.5}, "finished", 0.5),
        ({"kind": "a b", "x": 2.0}, "finished", 2.0),
        ({"kind": "a b", "x": 1.0}, "finished", 1.0),
    ]


def test_wandb_notebook_runs_with_import_replaced(folder: Path) -> None:
    def train(config: Mapping[str, Any] | None = None) -> None:
        with smsweep.init(config=config):
            for epoch in range(smsweep.config.epochs):
                smsweep.log({"loss": smsweep.config.x / (epoch + 1), "epoch": epoch})

    config: dict[str, Any] = {"method": "random", "metric": {"name": "loss", "goal": "minimize"}}
    config["parameters"] = {"x": {"min": 1.0, "max": 2.0}}
    config["parameters"].update({"epochs": {"value": 2}})
    assert smsweep.login()
    sweep_id = smsweep.sweep(config, project="pytorch-sweeps-demo")
    smsweep.agent(sweep_id, train, count=2)
    assert [len(run.history(pandas=False)) for run in smsweep.Api().sweep(sweep_id).runs] == [2, 2]


def test_history_has_every_logged_row(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id, count=1)
    (run,) = smsweep.Api().sweep(sweep_id).runs
    rows = [{"_step": row["_step"], "loss": row["loss"]} for row in run.scan_history()]
    assert rows == [{"_step": step, "loss": 2.5 - step} for step in range(3)]


def test_rows_are_asked_for_as_from_wandbs_api(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import smsweep\n"
        "for step in range(4):\n"
        "    smsweep.log({'loss': 4 - step, '_step': 99, **({'acc': step} if step % 2 else {})})\n"
    )
    sweep_id = smsweep.sweep(GRID, project="demo", entity="me")
    smsweep.agent(sweep_id, count=1)
    (run,) = smsweep.Api().sweep(sweep_id).runs
    assert list(run.scan_history(keys=["loss"], page_size=2, min_step=1, max_step=3, use_cache=False)) == [
        {"loss": 3},
        {"loss": 2},
    ]
    assert run.history(keys=["acc"], x_axis="_step", pandas=False) == [
        {"_step": 1, "acc": 1},
        {"_step": 3, "acc": 3},
    ]
    assert run.history(keys=["loss"], x_axis="acc", pandas=False, samples=1) == [{"acc": 1, "loss": 3}]
    same = smsweep.Api().run(f"{run.entity}/{run.project}/{run.id}")
    assert (same.config, same.sweep.id, same.sweep.entity, same.sweep.project) == (
        run.config,
        sweep_id,
        "me",
        "demo",
    )


def test_history_without_keys_has_all_keys_and_accepts_no_plain_string(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 1}), count=1)
    (run,) = smsweep.Api().sweep(sweep_id).runs
    assert list(run.scan_history(keys=[])) == list(run.scan_history()) == run.history(keys=[], pandas=False)
    for ask in (run.history, run.scan_history):
        with pytest.raises(UsageError, match="keys: expected a list of names, got 'loss'"):
            list(ask(keys="loss"))


def test_sweep_order_and_run_summary_use_wandb_terms(folder: Path) -> None:
    sweep_id = smsweep.sweep({**GRID, "metric": {"name": "loss", "goal": "maximize"}})
    smsweep.agent(sweep_id, lambda: smsweep.log({"loss": 1}), count=1)
    sweep = smsweep.Api().sweep(sweep_id)
    assert sweep.order == "-summary_metrics.loss"
    assert (sweep.runs[0].summary_metrics, sweep.runs[0].url) == ({"loss": 1}, None)


def test_prior_runs_accepts_ids_of_earlier_runs(folder: Path) -> None:
    first = smsweep.sweep(GRID)
    smsweep.agent(first, count=2)
    done = smsweep.Api().sweep(first).runs
    second = smsweep.sweep(GRID, prior_runs=[run.id for run in done])
    smsweep.agent(second, count=1)
    (run,) = smsweep.Api().sweep(second).runs
    assert run.config not in [one.config for one in done]
    with pytest.raises(smsweep.SmsweepError, match=f"sweep {first} has no trial 99"):
        smsweep.sweep(GRID, prior_runs=[f"{first}-99"])


def test_runs_of_a_project_are_filtered_and_ordered_as_in_wandb(folder: Path) -> None:
    def train() -> None:
        config = smsweep.init().config
        smsweep.log({"loss": config["x"], "val": {"acc": 1 - config["x"]}})
        if config["x"] == 2.0:
            raise ValueError("too large")

    first = smsweep.sweep(GRID, project="demo", entity="me")
    second = smsweep.sweep({**GRID, "parameters": {"x": {"value": 0.25}}}, project="demo")
    other = smsweep.sweep({**GRID, "parameters": {"x": {"value": 0.75}}}, project="other")
    for sweep_id in (first, second, other):
        smsweep.agent(sweep_id, train)
    api = smsweep.Api()

    def chosen(path: str | None = "me/demo", *filters: Any, **order: Any) -> list[str]:
        return [run.id for run in api.runs(path, *filters, **order)]

    assert chosen() == [f"{first}-0", f"{first}-1", f"{first}-2", f"{second}-0"]
    assert chosen("you/demo") == chosen("demo", {"sweep": second}) == [f"{second}-0"]
    assert chosen(None, {"state": "failed"}) == [f"{first}-1"]
    assert chosen(None, {"config.x": {"$lt": 1}}) == [f"{first}-0", f"{second}-0", f"{other}-0"]
    assert chosen("demo", {"config.x.value": 0.5}) == chosen("demo", {"display_name": f"{first}-0"})
    order = {"order": "-summary_metrics.val.acc"}
    assert chosen("demo", **order) == [f"{second}-0", f"{first}-0", f"{first}-2", f"{first}-1"]
    assert [sweep.id for sweep in api.project("demo", entity="me").sweeps()] == [second, first]
    with pytest.raises(
        smsweep.SmsweepError, match="nets: no sweep has this project; the projects: demo, me/demo, ot"
    ):
        api.runs("me/nets")
    with pytest.raises(UsageError, match="'tags' is not a field of smsweep's runs; use one of createdAt, "):
        api.runs("me/demo", {"tags": "best"})


def test_sweep_lists_its_agents_with_their_runs(folder: Path) -> None:
    seen: list[Any] = []

    def train() -> None:
        sweep = smsweep.Api().sweep(smsweep.init().sweep_id)
        (agent,) = sweep.agents()
        seen.append(
            (agent.host, agent.state, [run.id for run in agent.runs()], sweep.agent(agent.id).name == agent.id)
        )
        smsweep.log({"loss": 1})

    sweep_id = smsweep.sweep(GRID, project="demo", entity="me")
    smsweep.agent(sweep_id, train, count=1)
    assert seen == [(socket.gethostname(), "RUNNING", [f"{sweep_id}-0"], True)]
    sweep = smsweep.Api().sweep(sweep_id)
    assert (sweep.agents(), sweep.path, sweep.username) == ([], ["me", "demo", sweep_id], "me")
    with pytest.raises(smsweep.SmsweepError, match=f"sweep {sweep_id} has no agent 'gone'; its agents: none"):
        sweep.agent("gone")


def test_enqueued_run_is_the_next_one(folder: Path) -> None:
    sweep = smsweep.Api().sweep(smsweep.sweep(GRID, project="demo", entity="me"))
    run_id = sweep.enqueue_run({"x": 1.0}, display_name="mine")
    assert (run_id, smsweep.Api().run(f"me/demo/{run_id}").state) == (f"{sweep.id}-0", "pending")
    smsweep.agent(sweep.id, count=2)
    assert [run.config["x"] for run in sweep.runs] == [1.0, 0.5]


def test_loaded_sweep_has_its_new_state(folder: Path) -> None:
    sweep = smsweep.Api().sweep(smsweep.sweep(GRID))
    control.set_state(sweep.id, "stop")
    assert sweep.state == "running"
    assert sweep.load()["id"] == sweep.id
    assert sweep.state == "stopped"
    assert sweep.to_html(hidden=True).startswith("<details><summary>sweep</summary>")


def test_best_run_has_best_objective(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id, parallel=2)
    best = smsweep.Api().sweep(sweep_id).best_run()
    assert best is not None
    assert best.config["x"] == 0.5


def test_best_run_by_other_metric_has_value_of_metric(folder: Path) -> None:
    def train() -> None:
        smsweep.log({"loss": 1, "other": float(smsweep.init().config["x"])})

    sweep_id = smsweep.sweep({**GRID, "parameters": {"x": {"values": ["nan", "1", "2"]}}})
    smsweep.agent(sweep_id, train)
    best_run = smsweep.Api().sweep(sweep_id).best_run
    assert [run and run.summary["other"] for run in map(best_run, ("+other", "other", "+none"))] == [1, 2, None]


def test_expected_run_count_is_grid_size(folder: Path) -> None:
    config = {**GRID, "parameters": {"x": {"values": [1, 2, 3]}, "y": {"values": [1, 2, 3]}}}
    assert smsweep.Api().sweep(smsweep.sweep(config)).expected_run_count == 9


def test_edited_script_does_not_change_sweep(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id, count=1)
    (folder / "train.py").write_text("raise SystemExit(1)\n")
    smsweep.agent(sweep_id)
    assert [run.state for run in smsweep.Api().sweep(sweep_id).runs] == ["finished"] * 3


def test_finished_sweep_repeats_no_cell(folder: Path) -> None:
    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id)
    smsweep.agent(sweep_id)
    assert len(smsweep.Api().sweep(sweep_id).runs) == 3


def test_function_runs_in_this_process(folder: Path) -> None:
    pids = set()

    def train() -> None:
        with smsweep.init(config={"momentum": 0.9}) as run:
            pids.add(os.getpid())
            smsweep.log({"loss": run.config.x + run.config.momentum})

    config = {**GRID, "parameters": {"x": {"values": [1.0, 2.0]}}}
    del config["program"]
    sweep_id = smsweep.sweep(config)
    smsweep.agent(sweep_id, function=train)
    assert pids == {os.getpid()}
    assert [run.summary["loss"] for run in smsweep.Api().sweep(sweep_id).runs] == [1.9, 2.9]


def test_function_can_finish_its_trial(folder: Path) -> None:
    def train() -> None:
        smsweep.log({"loss": 1})
        ends: dict[float, int | str] = {0.5: 7, 2.0: "no data", 1.0: 0}
        sys.exit(ends[smsweep.config.x])

    sweep_id = smsweep.sweep(GRID)
    smsweep.agent(sweep_id, function=train)
    assert [(run.state, run.trial.exit_code, run.trial.reason) for run in smsweep.Api().sweep(sweep_id).runs] == [
        ("failed", 7, "SystemExit: 7"),
        ("failed", 1, "SystemExit: no data"),
        ("finished", 0, ""),
    ]


def test_functions_of_several_slots_do_not_mix_their_trials(folder: Path) -> None:
    together = threading.Barrier(2, timeout=20)

    def train() -> None:
        run = smsweep.init()
        together.wait()
        smsweep.log({"loss": run.config["x"] * 10})

    config = {**GRID, "parameters": {"x": {"values": [1.0, 2.0, 3.0, 4.0]}}}
    del config["program"]
    sweep_id = smsweep.sweep(config)
    smsweep.agent(sweep_id, function=train, parallel=2, backend="inline")
    runs = smsweep.Api().sweep(sweep_id).runs
    assert [run.summary["loss"] for run in runs] == [run.config["x"] * 10 for run in runs]


def test_function_that_raises_fails_only_its_trial(folder: Path) -> None:
    def train() -> None:
        x = smsweep.init().config.x
        if x == 2.0:
            raise ValueError("two is too much")
        smsweep.log({"loss": x})

    config = {**GRID, "parameters": {"x": {"values": [1.0, 2.0, 3.0]}}}
    del config["program"]
    sweep_id = smsweep.sweep(config)
    smsweep.agent(sweep_id, function=train)
    runs = smsweep.Api().sweep(sweep_id).runs
    assert [run.state for run in runs] == ["finished", "failed", "finished"]
    assert runs[1].trial.reason == "ValueError: two is too much"


@pytest.mark.timeout(30)
def test_exception_without_message_gives_its_name_as_reason(folder: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            return str(self.missing)  # type: ignore[attr-defined]  # the point

    def train() -> None:
        raise AssertionError if smsweep.init().config.x == 1 else Mute

    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    smsweep.agent(sweep_id, function=train)
    reasons = [run.trial.reason for run in smsweep.Api().sweep(sweep_id).runs]
    assert reasons == ["AssertionError", "Mute: <exception str() failed>"]


@pytest.mark.timeout(30)
def test_function_stopped_while_exception_is_reported_ends(folder: Path) -> None:
    class Slow(Exception):
        def __str__(self) -> str:
            control.set_state(sweep_id, "cancel")
            for _ in range(1000):
                time.sleep(0.01)
            return "never"

    def train() -> None:
        raise Slow

    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"x": {"value": 1}}})
    smsweep.agent(sweep_id, function=train)
    assert [run.state for run in smsweep.Api().sweep(sweep_id).runs] == ["killed"]


def test_prior_runs_accepts_single_run(folder: Path) -> None:
    first = smsweep.sweep(GRID)
    smsweep.agent(first, count=1)
    (folder / "runs.csv").write_text("x,kind,loss\n0.5,a b,1\n")
    for prior in (f"{first}/0", folder / "runs.csv"):
        second = smsweep.sweep(GRID, prior_runs=prior)
        smsweep.agent(second)
        assert [run.config["x"] for run in smsweep.Api().sweep(second).runs] == [2.0, 1.0]


def test_invalid_arguments_are_reported(folder: Path) -> None:
    async def awaited() -> None:
        smsweep.log({"loss": 1})

    def yielding() -> Iterator[int]:
        yield 1

    with pytest.raises(UsageError, match="sweep: expected a dict, a path, or a function that returns a dict"):
        smsweep.sweep(3)  # type: ignore[arg-type]  # the point
    sweep_id = smsweep.sweep({"method": "random", "parameters": {"a": {"value": 1}}})
    for given, output in (
        ({"count": 0}, "count: expected a whole number above 0, got 0"),
        ({"parallel": 0}, "parallel: expected a whole number above 0, got 0"),
        ({"count": "3"}, "count: expected a whole number above 0, got '3'"),
        ({"function": 5}, "function: expected a function"),
        ({"function": awaited}, "awaited is async or a generator, and calling it runs nothing"),
        ({"function": yielding}, "yielding is async or a generator, and calling it runs nothing"),
        ({"sweep_id": None}, "None is not a sweep id"),
    ):
        with pytest.raises(UsageError, match=output):
            smsweep.agent(**{"sweep_id": sweep_id, "function": print, **given})  # type: ignore[arg-type]  # likewise


def test_suggest_returns_same_params_at_once_and_one_by_one() -> None:
    config: dict[str, Any] = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    at_once = smsweep.suggest(config, [], n=12, seed=3)
    one_by_one: list[Mapping[str, Any]] = []
    for number in range(12):
        trials = [{"number": n, "params": p, "state": "pending"} for n, p in enumerate(one_by_one)]
        one_by_one += smsweep.suggest(config, trials, n=1, seed=3)
        assert len(one_by_one) == number + 1
    assert at_once == one_by_one


def test_judge_stops_worse_of_two_trials(folder: Path) -> None:
    config = {**GRID, "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3}}
    trials = [
        {"number": 0, "params": {"x": 0.5}, "state": "finished", "history": [{"loss": 1.0}]},
        {"number": 1, "params": {"x": 2.0}, "state": "running", "history": [{"loss": 3.0}]},
    ]
    decisions = smsweep.judge(config, trials)
    assert [decision.number for decision in decisions] == [1]
    assert decisions[0].reason
