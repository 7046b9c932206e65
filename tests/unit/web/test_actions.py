"""POST requests of the web page, and their errors."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from smsweep.cli.commands.show import show_sweep
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.errors import SmsweepError
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import control, create, plan
from smsweep.services.views import json_views
from smsweep.services.workspace import Workspace
from tests.support.json_documents import check
from tests.support.recorded_requests import CONFIG, record
from tests.unit.web.conftest import Client

pytestmark = pytest.mark.slow

TRAIN = "import smsweep\nsmsweep.init()\nsmsweep.log({'loss': 1.0})\n"
SWEEP = """\
# kept as it is
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
"""


@pytest.fixture
def with_source(client: Client, folder: Path) -> str:
    """The id of a sweep with a source snapshot."""
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    with Workspace().store() as store:
        store.add_trials(sweep_id, 0, [{"lr": 0.1}, {"lr": 0.3}])
    return sweep_id


def test_actions_change_the_state_of_the_sweep(client: Client) -> None:
    sweep_id = record(1)
    for verb, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("cancel", "cancelled")):
        assert client.post(f"/api/sweeps/{sweep_id}/{verb}").data == {"id": sweep_id, "state": state}
        assert json_views.show(sweep_id)["state"] == state


def test_change_of_the_config_is_the_next_revision(client: Client) -> None:
    sweep_id = record(1)
    done = client.post(f"/api/sweeps/{sweep_id}/set", {"changes": ["run_cap=7", "budget.hours=100"]})
    check("POST /api/sweeps/ID/set", json.dumps(done.data))
    assert (done.data["revision"]["number"], done.data["hint"]) == (2, "")
    shown = json_views.show(sweep_id)
    assert shown["run_cap"] == 7
    assert client.get(f"/api/sweeps/{sweep_id}").data["sweep"]["revisions"] == shown["revisions"]
    refused = client.post(f"/api/sweeps/{sweep_id}/set", {"changes": ["run_cap=8", "program=x.py"]})
    assert refused.status == 400
    assert "program: cannot change" in refused.data["error"]
    assert json_views.show(sweep_id)["run_cap"] == 7


def test_illegal_action_gets_an_error(client: Client) -> None:
    sweep_id = record(1)
    control.set_state(sweep_id, "cancel")
    answer = client.post(f"/api/sweeps/{sweep_id}/pause")
    assert (answer.status, answer.data["error"]) == (
        400,
        f"cannot pause sweep {sweep_id}: it is already cancelled",
    )


def test_retry_returns_failed_trials_to_the_queue(client: Client) -> None:
    sweep_id = record(20)
    assert client.post("/api/retry", {"labels": [sweep_id], "failed": True}).data["labels"] == [
        f"{sweep_id}/9",
        f"{sweep_id}/19",
    ]
    answer = client.post("/api/retry", {"labels": [f"{sweep_id}/0"]})
    assert answer.status == 400 and "is finished" in answer.data["error"]


def test_remove_deletes_trials_and_sweeps(client: Client) -> None:
    sweep_id = record(3)
    assert client.post("/api/remove", {"labels": [f"{sweep_id}/1"]}).status == 200
    assert [trial["number"] for trial in json_views.list_trials(sweep_id)] == [0, 2]
    assert client.post("/api/remove", {"labels": [sweep_id]}).status == 200
    assert json_views.list_sweeps() == []
    assert client.get("/api/sweeps").data["sweeps"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/retry", {}),
        ("/api/retry", {"labels": []}),
        ("/api/retry", {"labels": "abcd1234/1"}),
        ("/api/retry", {"labels": [1]}),
        ("/api/remove", {"labels": ["../ETC"]}),
        ("/api/create", {"sweep_yaml": 3}),
        ("/api/create", {"sweep_yaml": "a: [", "prior_runs": []}),
        ("/api/check", "no json"),
        ("/api/check", "[]"),
        ("/api/check", "[" * 50_000),
    ],
)
def test_invalid_body_is_refused(client: Client, path: str, body: Any) -> None:
    record(1)
    answer = client.post(path, body)
    assert answer.status == 400
    assert answer.data["problems"]


def test_unknown_action_is_not_found(client: Client) -> None:
    sweep_id = record(1)
    assert client.post(f"/api/sweeps/{sweep_id}/explode").status == 404
    assert client.post("/api/explode").status == 404
    assert client.post("/api/sweeps/zzzzzzzz/pause").status == 404


def test_draft_has_files_and_prior_runs(client: Client, with_source: str) -> None:
    draft = client.get(f"/api/draft?t={with_source}/0&t={with_source}/1").data
    assert draft["sweep_yaml"] == SWEEP
    assert draft["prior_runs"] == [f"{with_source}/0", f"{with_source}/1"]
    assert draft["like"] == with_source


def test_narrow_draft_has_the_ranges_of_its_trials(client: Client) -> None:
    sweep_id = record(8)
    chosen = [trial for trial in json_views.list_trials(sweep_id) if trial["number"] in (1, 2, 5)]
    query = "&".join(f"t={sweep_id}/{trial['number']}" for trial in chosen)
    document = parse_sweep(client.get(f"/api/draft?{query}&narrow=1").data["sweep_yaml"]).config.document
    rates = [trial["params"]["lr"] for trial in chosen]
    assert document["parameters"]["lr"] == {**CONFIG["parameters"]["lr"], "min": min(rates), "max": max(rates)}
    optimizer = document["parameters"]["optimizer"]["parameters"]
    assert set(optimizer["name"]["values"]) == {trial["params"]["optimizer"]["name"] for trial in chosen}


def test_narrow_draft_keeps_the_values_that_conditions_name(client: Client, folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)
    space = {
        "optimizer": {"values": ["adam", "sgd"]},
        "momentum": {"min": 0.1, "max": 0.9},
        "lr": {"values": [1, 2]},
    }
    rules = {"conditions": {"momentum": {"when": {"optimizer": "sgd"}}}}
    sweep_id = create.sweep(
        {"program": "train.py", "method": "random", "run_cap": 9, "parameters": space}, job={"search": rules}
    )
    with Workspace().store() as store:
        store.add_trials(sweep_id, 0, [{"optimizer": "adam", "lr": 1}])
    draft = client.get(f"/api/draft?t={sweep_id}/0&narrow=1").data
    document = parse_sweep(draft["sweep_yaml"]).config.document
    assert document["parameters"] == {**space, "lr": {"values": [1]}}
    body = {"sweep_yaml": draft["sweep_yaml"], "job_yaml": draft["job_yaml"]}
    assert client.post("/api/check", body).data["problems"] == []


def test_check_names_every_problem_and_creates_nothing(client: Client, folder: Path) -> None:
    found = client.post("/api/check", {"sweep_yaml": "method: nonsense\nfoo: 1\n", "job_yaml": "bar: 2\n"}).data
    assert [" ".join(problem.split()[:2]) for problem in found["problems"]] == [
        "sweep.yaml:1: method:",
        "sweep.yaml:1: parameters:",
        "sweep.yaml:2: foo:",
        "job.yaml:1: bar:",
    ]
    assert not (folder / "sweeps" / "store.db").exists()


def test_check_returns_the_first_trials(client: Client, folder: Path) -> None:
    (folder / "train.py").touch()
    found = client.post("/api/check", {"sweep_yaml": SWEEP}).data
    assert found["problems"] == []
    assert found["trials"] == [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]
    assert found["expected_trial_count"] == 3


@pytest.mark.parametrize(
    ("content", "job", "problem"),
    [
        (None, "", "program: train.py was not found"),
        ("", "secrets: {WANDB_API_KEY: 'env:NOT_SET_ANYWHERE'}", "NOT_SET_ANYWHERE"),
    ],
)
def test_check_reports_what_run_refuses(
    client: Client, folder: Path, content: str | None, job: str, problem: str
) -> None:
    if content is not None:
        (folder / "train.py").write_text(content)
    found = client.post("/api/check", {"sweep_yaml": SWEEP, "job_yaml": job}).data
    assert [problem in each for each in found["problems"]] == [True], found["problems"]
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "job.yaml").write_text(job)
    for refused in (run_agent.run, plan.check_run):
        with pytest.raises(SmsweepError) as err:
            refused("sweep.yaml", job="job.yaml" if job else None)
        assert problem in str(err.value)


def test_new_sweep_uses_the_source_of_the_old_sweep(client: Client, folder: Path, with_source: str) -> None:
    (folder / "train.py").unlink()
    draft = client.get(f"/api/draft?t={with_source}/1").data
    created = client.post(
        "/api/create", {key: draft[key] for key in ("sweep_yaml", "job_yaml", "like", "prior_runs")}
    )
    assert created.status == 200, created.text
    with Workspace().store() as store:
        old, new = store.get_sweep(with_source), store.get_sweep(created.data["id"])
    assert new.source_hash == old.source_hash != ""
    assert new.prior_runs == (f"{with_source}/1",)
    assert new.sweep_yaml == SWEEP


def test_new_sweep_skips_cells_of_prior_runs(client: Client, folder: Path, with_source: str) -> None:
    run_agent.agent(with_source, count=2)
    draft = client.get(f"/api/draft?t={with_source}").data
    body = {key: draft[key] for key in ("sweep_yaml", "job_yaml", "like", "prior_runs")}
    created = client.post("/api/create", body).data
    run_agent.agent(created["id"])
    assert [trial["params"]["lr"] for trial in json_views.list_trials(created["id"])] == [0.2]


def test_program_missing_in_the_old_source_is_refused(client: Client, with_source: str) -> None:
    text = SWEEP.replace("train.py", "other.py")
    answer = client.post("/api/create", {"sweep_yaml": text, "like": with_source})
    assert answer.status == 404
    assert "other.py is not in the source" in answer.data["error"]
    assert len(json_views.list_sweeps()) == 1


def test_unknown_prior_runs_create_nothing(client: Client, with_source: str) -> None:
    body = {"sweep_yaml": SWEEP, "like": with_source, "prior_runs": ["zzzzzzzz/1"]}
    assert client.post("/api/create", body).status == 404
    assert any("zzzzzzzz" in problem for problem in client.post("/api/check", body).data["problems"])
    assert len(json_views.list_sweeps()) == 1


def wait_for_agent(client: Client, sweep_id: str) -> dict[str, Any]:
    """Wait until the newest agent of a sweep has ended, and return it."""
    deadline = time.monotonic() + 60
    while True:
        agent: dict[str, Any] = client.get(f"/api/sweeps/{sweep_id}/agents").data["agents"][0]
        if not agent["is_running"]:
            return agent
        assert time.monotonic() < deadline, agent
        time.sleep(0.1)


def test_started_agent_runs_trials_without_the_token_of_the_page(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text(
        TRAIN + "import os\nprint('token' if 'SMSWEEP_UI_TOKEN' in os.environ else 'none')\n"
    )
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    monkeypatch.setenv("SMSWEEP_UI_TOKEN", "a token that trials must not see")
    path = f"/api/sweeps/{sweep_id}/agents"
    answer = client.post(path, {"parallel": 2, "backend": "process"})
    assert check("POST /api/sweeps/ID/agents", answer.text)["agents"][0]["arguments"] == [
        "--parallel=2",
        "--backend=process",
    ]
    agent = wait_for_agent(client, sweep_id)
    assert check("GET /api/sweeps/ID/agents", client.get(path).text)["backend"] == "process"
    assert any("finished" in line for line in agent["log"])
    assert json_views.show(sweep_id)["trials"] == {"finished": 3}
    log = client.get(f"/api/sweeps/{sweep_id}/trials/0/log").data
    assert log["lines"] == ["none"]
    stopped = client.post(f"{path}/{agent['number']}/stop", {})
    assert (stopped.status, "has ended" in stopped.data["error"]) == (400, True)
    assert "finished" in client.post(path, {"parallel": 1, "backend": "process"}).data["error"]


def test_stopped_agent_returns_its_trial_to_the_queue(client: Client, folder: Path) -> None:
    (folder / "train.py").write_text("import time\nprint('waits', flush=True)\ntime.sleep(600)\n")
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep_id = create.sweep("sweep.yaml", seed=1)
    path = f"/api/sweeps/{sweep_id}/agents"
    agent = client.post(path, {"parallel": 1, "backend": "process"}).data["agents"][0]
    assert agent["is_running"]
    deadline = time.monotonic() + 60
    while json_views.show(sweep_id)["trials"] != {"running": 1}:  # on a busy machine, the agent starts late
        assert time.monotonic() < deadline
        time.sleep(0.1)
    answer = client.post(f"{path}/{agent['number']}/stop", {"at_once": True})
    assert check("POST /api/sweeps/ID/agents/N/stop", answer.text)["agents"][0]["number"] == agent["number"]
    wait_for_agent(client, sweep_id)
    assert json_views.show(sweep_id)["trials"] == {"pending": 1}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"parallel": 1, "backend": "sagemaker"}, "cost money"),
        ({"parallel": 1, "backend": "sagemaker", "accepts_cost": "yes"}, "cost money"),
        ({"parallel": 1, "backend": "--help"}, "no backend"),
        ({"parallel": 1}, "backend: expected text"),
        ({"parallel": 0, "backend": "process"}, "from 1 to"),
        ({"parallel": "2 --job x", "backend": "process"}, "whole number"),
        ({"parallel": True, "backend": "process"}, "whole number"),
    ],
)
def test_agent_with_invalid_options_does_not_start(client: Client, body: Any, problem: str) -> None:
    sweep_id = record(1)
    answer = client.post(f"/api/sweeps/{sweep_id}/agents", body)
    assert answer.status == 400 and problem in answer.data["error"]
    assert client.get(f"/api/sweeps/{sweep_id}/agents").data["agents"] == []
    assert client.post(f"/api/sweeps/{sweep_id}/agents/0/stop", {}).status == 404


def test_notes_are_stored_and_shown(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_id = record(1)
    assert client.get(f"/api/sweeps/{sweep_id}").data["sweep"]["notes"] == ""
    answer = client.post(f"/api/sweeps/{sweep_id}/notes", {"text": " lr was too high\nretry with less \n"})
    assert check("POST /api/sweeps/ID/notes", answer.text)["notes"] == "lr was too high\nretry with less"
    assert client.get(f"/api/sweeps/{sweep_id}").data["sweep"]["notes"] == "lr was too high\nretry with less"
    show_sweep(json_views.show(sweep_id))
    assert "lr was too high; retry with less" in capsys.readouterr().out
    for body in ({}, {"text": 1}, {"text": "x" * 20_001}, {"text": "ghp_" + "Zx81" * 9}):
        assert client.post(f"/api/sweeps/{sweep_id}/notes", body).status == 400
    assert client.post("/api/sweeps/zzzzzzzz/notes", {"text": "x"}).status == 404
    assert json_views.show(sweep_id)["notes"] == "lr was too high\nretry with less"
