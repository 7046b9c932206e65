"""Tests of the client of W&B's server and its error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.errors import BackendUnavailable, ConfigError, NotFound, UsageError
from smsweep.services.wandb import hosted
from smsweep.services.workspace import Workspace
from smsweep.wandb_compat.hosted_sweep import SweepPath, WandbServer, parse_path, read_runs, read_sweep
from tests.support.wandb_server import FakeRun, FakeWandb, fake_wandb

SWEEP = {"program": "train.py", "method": "grid", "parameters": {"lr": {"values": [1, 2, 3]}}}


@pytest.fixture
def served() -> Iterator[FakeWandb]:
    with fake_wandb(sweep=SWEEP, sweep_id="abcd1234") as server:
        yield server


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("abcd1234", "me/mine/abcd1234"),
        ("digits/abcd1234", "me/digits/abcd1234"),
        ("team/digits/abcd1234", "team/digits/abcd1234"),
        ("team/digits/sweeps/abcd1234", "team/digits/abcd1234"),
        ("https://wandb.ai/team/digits/sweeps/abcd1234?nw=nwuserme", "team/digits/abcd1234"),
    ],
)
def test_path_can_omit_known_parts(text: str, place: str) -> None:
    assert str(parse_path(text, "mine", "me")) == place


@pytest.mark.parametrize("text", ["", "a/b/c/d/e"])
def test_invalid_path_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="use entity/project/ID"):
        parse_path(text, "mine", "me")


def test_missing_project_is_refused() -> None:
    with pytest.raises(UsageError, match="the project is missing"):
        parse_path("abcd1234", "", "me")


def test_sweep_has_number_of_existing_and_expected_runs(served: FakeWandb) -> None:
    served.runs["r0"] = FakeRun(sweep="abcd1234")
    found = read_sweep(WandbServer(served.url, "key"), SweepPath(entity="team", project="digits", id="abcd1234"))
    assert (found.state, found.n_runs, found.n_expected, found.is_open) == ("RUNNING", 1, 3, True)


def test_runs_are_read_in_pages_without_internal_keys(served: FakeWandb) -> None:
    for index in range(5):
        served.runs[f"r{index}"] = FakeRun(
            sweep="abcd1234",
            state="finished",
            config={"lr": {"value": index}, "_wandb": {"value": {}}},
            summary={"loss": 0.5, "_step": 3},
        )
    found = list(read_runs(WandbServer(served.url, "key"), SweepPath(entity="", project="digits", id="abcd1234")))
    assert [run.config for run in found] == [{"lr": index} for index in range(5)]
    assert [run.summary for run in found] == [{"loss": 0.5}] * 5


def test_unreachable_server_can_be_retried() -> None:
    with pytest.raises(BackendUnavailable, match="does not answer") as caught:
        WandbServer("http://127.0.0.1:9", "key").ask("query X { viewer { id } }", {})
    assert caught.value.retryable


def test_invalid_server_url_is_refused() -> None:
    with pytest.raises(NotFound, match="is not the URL of a server"):
        WandbServer("file:///etc/passwd", "key")


@pytest.mark.parametrize(
    ("key", "job"), [("confirm", {"confirm": {}}), ("search.cost", {"search": {"cost": "time"}})]
)
def test_settings_of_the_search_are_refused_for_a_hosted_sweep(
    served: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, job: dict[str, object]
) -> None:
    (tmp_path / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    for name, value in served.environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{key}: W&B chooses the params"):
        hosted.attach("team/digits/abcd1234", job=job)
    with Workspace().store(create=True) as store:
        assert store.list_sweeps() == []
