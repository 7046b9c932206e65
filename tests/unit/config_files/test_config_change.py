"""Changes of a stored sweep's config: each key, the same checks as for a new sweep, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.config_change import change_config, parse_change
from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.agent_record import AgentRecord
from smsweep.core.sweep import Sweep
from smsweep.errors import ConfigError, UsageError
from smsweep.services.workspace import read_stored
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.store.open import open_store

ID = "abcd1234"
SWEEP = {
    "program": "train.py",
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "run_cap": 100,
    "parameters": {
        "lr": {"min": 0.001, "max": 0.01},
        "batch": {"values": [32, 64]},
        "optimizer": {"parameters": {"name": {"values": ["sgd", "adam"]}}},
        "a.b": {"min": 0, "max": 5},
    },
}
JOB = {"budget": {"hours": 10}, "price_per_hour": 2.0, "max_run": 3600}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}", environ={}, parse=read_stored)) as store:
        create(store)
        yield store


def create(store: Store, sweep_id: str = ID, job: dict[str, Any] = JOB, **keys: Any) -> None:
    parsed, parsed_job = parse_sweep({**SWEEP, **keys}), parse_job(job)
    store.create_sweep(
        Sweep(
            id=sweep_id,
            config=parsed.config,
            job=parsed_job.template,
            sweep_yaml=parsed.text,
            job_yaml=parsed_job.text,
        )
    )


def change(store: Store, *texts: str) -> Sweep:
    return change_config(store, ID, map(parse_change, texts), "ann@host")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("run_cap=200", 200),
        ("run_cap=null", None),
        ("parameters.lr.max=0.1", 0.1),
        ("parameters.batch.values=[16, 32]", [16, 32]),
        ("parameters.batch.values+=128", [32, 64, 128]),
        ("parameters.batch.values+=[64, 256]", [32, 64, 256]),
        ("parameters.batch.values-=64", [32]),
        ("parameters.optimizer.parameters.name.values+=lion", ["sgd", "adam", "lion"]),
        ("parameters.a.b.max=9", 9),
        ("parameters.momentum={min: 0.0, max: 0.9}", {"min": 0.0, "max": 0.9}),
        ("parameters.batch=null", None),
        ("early_terminate={type: hyperband, min_iter: 3}", {"type": "hyperband", "min_iter": 3}),
        ("budget.usd=50", 50),
        ("budget.trials=7", 7),
        ("budget.hours=null", None),
        ("stop_if=loss > 10 after 3", "loss > 10 after 3"),
        ("stop_if+=loss > 10", ["loss > 10"]),
        ("stop_if=[loss > 10, loss > 5 after 3]", ["loss > 10", "loss > 5 after 3"]),
    ],
)
def test_key_is_changed(store: Store, text: str, value: object) -> None:
    changed = change(store, text)
    assert changed.config_revision == 2
    assert list(store.list_revisions(ID)[-1].changes.values()) == [value]
    assert store.get_sweep(ID) == changed
    document: Any = {**changed.job.document, **changed.config.document}
    for name in text.partition("=")[0].rstrip("+-").replace("a.b", "a b").split("."):
        document = document.get(name.replace("a b", "a.b")) if document else None
    assert document == value


def test_several_keys_are_one_revision(store: Store) -> None:
    changed = change(store, "run_cap=200", "budget.usd=50", "early_terminate={type: median, min_iter: 3}")
    assert changed.config.run_cap == 200
    assert changed.job.budget == {"hours": 10.0, "usd": 50.0}
    assert changed.config.early_terminate is not None
    revision = store.list_revisions(ID)[-1]
    assert (revision.number, revision.changed_by) == (2, "ann@host")
    assert revision.changes == {
        "run_cap": 200,
        "budget.usd": 50,
        "early_terminate": {"type": "median", "min_iter": 3},
    }


def test_change_of_one_file_keeps_the_text_of_the_other(store: Store) -> None:
    before = store.get_sweep(ID)
    assert change(store, "run_cap=200").job_yaml == before.job_yaml
    assert change(store, "budget.hours=20").sweep_yaml == store.list_revisions(ID)[1].sweep_yaml


@pytest.mark.parametrize("text", ["run_cap=100", "parameters.batch.values+=32", "early_terminate=null"])
def test_value_that_is_known_makes_no_revision(store: Store, text: str) -> None:
    assert change(store, text).config_revision == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run_cap=0", r"^run_cap: expected a whole number above 0, got 0"),
        ("run_cap='200'", r"^run_cap: expected a whole number above 0, got '200'; remove the quotes"),
        (
            "parameters.lr.max=0.0001",
            r"^parameters\.lr: uniform needs min < max, got min 0\.001 and max 0\.0001; swap them",
        ),
        ("parameters.lr.maximum=1", r"^parameters\.lr\.maximum: not a key of uniform; did you mean max\?"),
        ("parameters=null", r"^parameters: missing"),
        ("parameters.bach=null", r"^parameters\.bach: unknown parameter; did you mean batch\?"),
        ("parameters.batch.values-=7", r"^parameters\.batch\.values: has no 7 to drop; it has 32, 64"),
        ("parameters.lr.values+=7", r"^parameters\.lr\.values: has no value; set it with"),
        ("parameters.lr.max.x=7", r"^parameters\.lr\.max\.x: parameters\.lr\.max is 0\.01 and has no keys"),
        ("early_terminate.type=hyperbnd", r"^early_terminate\.type: .*did you mean hyperband"),
        ("budget.usd=-1", r"^budget\.usd: expected a number above 0, got -1"),
        ("budget.hours=0.5", r"^budget: 0\.5 hours do not cover one trial"),
        ("stop_if=loss is bad", r"^stop_if: "),
        (
            "metric.goal=maximize",
            r"^metric\.goal: cannot change after the sweep was created; .*--prior-run abcd1234",
        ),
        ("program=other.py", r"^program: cannot change"),
        ("instance_type=ml.m5.large", r"^instance_type: cannot change"),
        ("parallel+=1", r"^parallel: has no items to add or drop; set it with parallel=NUMBER"),
        ("parallel=0", r"^parallel: expected a whole number above 0, got 0"),
        ("parallel.local=2", r"^parallel\.local: "),
        ("runcap=3", r"^runcap: unknown key; did you mean run_cap\?"),
    ],
)
def test_invalid_change_names_the_key_and_changes_nothing(store: Store, text: str, problem: str) -> None:
    before = store.get_sweep(ID)
    with pytest.raises(ConfigError, match=problem):
        change(store, "budget.trials=50", text)
    assert store.get_sweep(ID) == before
    assert len(store.list_revisions(ID)) == 1


@pytest.mark.parametrize("text", ["run_cap", "=3", "", "run cap=3"])
def test_text_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write KEY=VALUE"):
        parse_change(text)


@pytest.mark.parametrize("text", ["run_cap=[1", "parameters.x={a: 1, a: 2}"])
def test_invalid_yaml_names_the_key(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{text.partition('=')[0]}"):
        parse_change(text)


def test_range_cannot_enter_a_grid(store: Store) -> None:
    create(store, "grid0000", method="grid", parameters={"x": {"values": [1, 2]}})
    with pytest.raises(ConfigError, match="x"):
        change_config(store, "grid0000", [parse_change("parameters.x={min: 0.0, max: 1.0}")], "ann@host")


def test_budget_in_dollars_needs_a_price(store: Store) -> None:
    create(store, "free0000", job={})
    with pytest.raises(ConfigError, match=r"budget\.usd: .*no price.* use budget\.hours or budget\.trials"):
        change_config(store, "free0000", [parse_change("budget.usd=5")], "ann@host")


def test_places_can_have_the_prices(store: Store) -> None:
    places = [
        {"name": "here", "backend": "process"},
        {"name": "aws", "backend": "sagemaker", "price_per_hour": 2.0},
    ]
    create(store, "places00", job={"budget": {"usd": 20}, "max_run": 3600, "places": places})

    def change_to(text: str) -> Sweep:
        return change_config(store, "places00", [parse_change(text)], "ann@host")

    assert change_to("run_cap=200").config.run_cap == 200
    assert change_to("budget.usd=5").job.budget == {"usd": 5.0}
    with pytest.raises(ConfigError, match="do not cover one trial"):
        change_to("budget.usd=1")


PROMOTE = "early_terminate={type: asha, min_iter: 2, promote: true}"


def test_promotion_cannot_begin_after_jobs_without_checkpoints(store: Store) -> None:
    store.add_trials(ID, 0, [{"lr": 0.01}])
    assert store.claim(ID, "agent", "sagemaker@eu-west-1", 60)
    with pytest.raises(
        ConfigError, match=r"^early_terminate\.promote: .*without checkpoints at sagemaker@eu-west-1"
    ):
        change(store, PROMOTE)
    assert change(store, PROMOTE.replace("true", "false")).config_revision == 2


@pytest.mark.parametrize("slots", [{"sagemaker@eu-west-1": 2}, {"aws": 2, "here": 1}])
def test_promotion_cannot_begin_after_the_start_of_an_agent(store: Store, slots: dict[str, int]) -> None:
    places = [{"name": "here", "backend": "process"}, {"name": "aws", "backend": "sagemaker"}]
    create(store, "promote0", job={"places": places})
    store.put_agent(AgentRecord(id="agent", sweep_id="promote0", slots=slots))
    with pytest.raises(ConfigError, match=r"^early_terminate\.promote"):
        change_config(store, "promote0", [parse_change(PROMOTE)], "ann@host")


def test_promotion_can_begin_if_all_jobs_have_checkpoints(store: Store) -> None:
    store.add_trials(ID, 0, [{"lr": 0.01}])
    assert store.claim(ID, "agent", "process@host", 60)
    assert change(store, PROMOTE).config_revision == 2
    create(store, "spot0000", job={"use_spot_instances": True, "max_wait": 90000})
    store.put_agent(AgentRecord(id="agent", sweep_id="spot0000", slots={"sagemaker@eu-west-1": 2}))
    assert change_config(store, "spot0000", [parse_change(PROMOTE)], "ann@host").config_revision == 2


def test_start_point_without_a_trial_must_stay_in_the_space(store: Store) -> None:
    create(store, "starts00", job={"search": {"start_points": [{"lr": 0.001}, {"lr": 0.01}]}})
    narrow = [parse_change("parameters.lr.min=0.005")]
    with pytest.raises(ConfigError, match=r"search\.start_points\[0\]\.lr"):
        change_config(store, "starts00", narrow, "ann@host")
    store.add_trials("starts00", 0, [{"lr": 0.001}])
    assert change_config(store, "starts00", narrow, "ann@host").config_revision == 2


def test_sweep_of_wandb_changes_only_the_keys_of_its_jobs(store: Store) -> None:
    notes.WANDB_SWEEP.put(store, ID, {"entity": "e", "project": "p", "id": "x"})
    with pytest.raises(ConfigError, match=r"run_cap: W&B decides this"):
        change(store, "run_cap=7")
    assert change(store, "budget.hours=7").job.budget == {"hours": 7.0}


def test_change_at_the_same_time_is_applied_on_top_of_the_other(store: Store) -> None:
    change_stored = store.change_config

    def change_late(*args: Any, **options: Any) -> Sweep:
        store.change_config = change_stored  # type: ignore[method-assign]
        change(store, "parameters.batch.values+=128")
        return change_stored(*args, **options)

    store.change_config = change_late  # type: ignore[method-assign]
    changed = change(store, "parameters.batch.values+=256")
    assert changed.config_revision == 3
    assert changed.config.document["parameters"]["batch"]["values"] == [32, 64, 128, 256]
