"""Asking W&B's server: what is understood, and what an error says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smsweep.errors import BackendUnavailable, NotFound, UsageError
from smsweep.wandb_compat.client import WandbServer
from smsweep.wandb_compat.hosted_sweep import SweepPath, parse_path, read_runs, read_sweep
from tests.fakes.wandb_server import FakeRun, FakeWandb, fake_wandb

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
def test_a_path_may_leave_out_what_is_known(text: str, place: str) -> None:
    assert str(parse_path(text, "mine", "me")) == place


@pytest.mark.parametrize("text", ["", "a/b/c/d/e"])
def test_what_is_no_path_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="write entity/project/ID"):
        parse_path(text, "mine", "me")


def test_a_project_is_needed() -> None:
    with pytest.raises(UsageError, match="of which project"):
        parse_path("abcd1234", "", "me")


def test_a_sweep_tells_how_many_runs_it_has_and_will_have(served: FakeWandb) -> None:
    served.runs["r0"] = FakeRun(sweep="abcd1234")
    found = read_sweep(WandbServer(served.url, "key"), SweepPath(entity="team", project="digits", id="abcd1234"))
    assert (found.state, found.n_runs, found.n_expected, found.is_open) == ("RUNNING", 1, 3, True)


def test_runs_come_page_by_page_without_what_wandb_keeps_for_itself(served: FakeWandb) -> None:
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


def test_a_server_that_is_away_can_be_asked_again() -> None:
    with pytest.raises(BackendUnavailable, match="does not answer") as caught:
        WandbServer("http://127.0.0.1:9", "key").ask("query X { viewer { id } }", {})
    assert caught.value.retryable


def test_an_address_must_be_one() -> None:
    with pytest.raises(NotFound, match="begins with https"):
        WandbServer("file:///etc/passwd", "key")
