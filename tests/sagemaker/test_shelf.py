"""A store in S3: one writer, whatever happens to the others, and orders that are carried out once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smsweep.aws.client import Aws
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.errors import NotFound, StoreUnavailable, Superseded
from smsweep.remote.s3_store.replica import Copies
from smsweep.remote.s3_store.s3_object import Order, Shelf
from smsweep.remote.s3_store.writer import Writer
from smsweep.services.agents import detach
from smsweep.services.sweeps import create
from smsweep.services.views import json_views
from smsweep.store import notes
from smsweep.store.open import open_store
from tests.sagemaker.conftest import Account

SWEEP = "abcd1234"
PAUSE = {"do": "set_sweep_state", "expect": ["running", "paused"], "to": "paused"}
CONFIG = parse_sweep({"program": "t.py", "method": "grid", "parameters": {"x": {"values": [1, 2]}}})


def parse(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
    return CONFIG.config, JobTemplate()


@pytest.fixture
def shelf(account: Account, tmp_path: Path) -> Iterator[Shelf]:
    """One with a store of one sweep."""
    file = tmp_path / "first.db"
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse)) as store:
        store.create_sweep(Sweep(id=SWEEP, config=CONFIG.config, seed=0, sweep_yaml=CONFIG.text))
    with closing(Aws(account.endpoint.environ)) as aws:
        made = Shelf(aws, f"s3://{account.bucket}/agent")
        made.replace(file, version="", stamp="first")
        yield made


def writer(shelf: Shelf, tmp_path: Path, who: str) -> Writer:
    return Writer(shelf, SWEEP, tmp_path / who, parse, who)


def note(shelf: Shelf, tmp_path: Path, key: str) -> object:
    """Return what a reader sees of a note."""
    with closing(Copies(tmp_path / "copies", shelf, parse)) as copies:
        return copies.newest().store.get_note(SWEEP, key)


def test_a_writer_that_was_taken_for_dead_cannot_write(shelf: Shelf, tmp_path: Path) -> None:
    with closing(writer(shelf, tmp_path, "old")) as old, closing(writer(shelf, tmp_path, "new")) as new:
        old.store.put_note(SWEEP, "who", "old")
        with pytest.raises(Superseded, match="another agent"):
            old.save()
        new.store.put_note(SWEEP, "who", "new")
        new.save()
        with pytest.raises(Superseded):
            old.save()
    assert note(shelf, tmp_path, "who") == "new"


def test_a_writer_frees_what_the_one_before_held(shelf: Shelf, tmp_path: Path) -> None:
    with closing(writer(shelf, tmp_path, "old")) as old:
        old.store.add_trials(SWEEP, 0, [{"x": 1}])
        old.store.claim(SWEEP, "old", "sagemaker@here", 60)
        old.save()
    with closing(writer(shelf, tmp_path, "new")) as new:
        found = new.store.claim(SWEEP, "new", "sagemaker@here", 60)
        assert found is not None
        assert (found.number, found.attempt, found.agent_id) == (0, 0, "new")


def test_an_answer_that_got_lost_is_no_other_writer(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(writer(shelf, tmp_path, "one")) as one:
        true_call = shelf._aws.call

        def call_twice(service: str, operation: str, **arguments: object) -> object:
            if operation == "put_object":  # as botocore does after an answer that never came
                true_call(service, operation, **{**arguments, "Body": arguments["Body"].read()})  # type: ignore[attr-defined]  # a file
                arguments["Body"].seek(0)  # type: ignore[attr-defined]  # likewise
            return true_call(service, operation, **arguments)

        monkeypatch.setattr(shelf._aws, "call", call_twice)
        one.store.put_note(SWEEP, "n", 1)
        one.save()
        one.store.put_note(SWEEP, "n", 2)
        one.save()
    monkeypatch.undo()
    assert note(shelf, tmp_path, "n") == 2


def test_what_has_not_changed_is_not_sent_again(account: Account, shelf: Shelf, tmp_path: Path) -> None:
    with closing(writer(shelf, tmp_path, "one")) as one:
        before = account.calls()["PUT /" + shelf.uri.removeprefix("s3://") + "/store.db.gz"]
        one.save()
        one.save()
        assert account.calls()["PUT /" + shelf.uri.removeprefix("s3://") + "/store.db.gz"] == before


def test_an_order_is_carried_out_once_and_a_broken_one_set_aside(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.send(Order(id="1", document=PAUSE))
    shelf.send(Order(id="2", document={"do": "rm -rf /", "to": "running"}))
    shelf.send(Order(id="3", document={"do": "move", "number": 7, "expect": ["failed"], "to": "pending"}))
    shelf.send(Order(id="4", document={"do": "set_sweep_state", "expect": ["x"], "to": "gone"}))
    shelf._aws.call("s3", "put_object", Bucket=shelf._bucket, Key="agent/orders/5.json", Body=b"\0not json")
    with closing(writer(shelf, tmp_path, "one")) as one:
        monkeypatch.setattr(Shelf, "drop", lambda self, order_id: None)  # a kill -9 just before
        assert one.obey() == 5
        assert one.store.get_sweep(SWEEP).state == "paused"
        one.store.set_sweep_state(SWEEP, ["paused"], "running")  # type: ignore[list-item, arg-type]  # words will do
        one.save()
    monkeypatch.undo()
    with closing(writer(shelf, tmp_path, "two")) as two:
        assert two.obey() == 5
        assert two.store.get_sweep(SWEEP).state == "running", "not a second time"
        obeyed = notes.HANDLED_COMMANDS.get(two.store, SWEEP)
        assert obeyed["1"] == ""
        assert all(obeyed[name] for name in "2345")
    assert shelf.orders() == []


def test_a_reader_keeps_its_copy_while_s3_is_away(
    account: Account, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Copies(tmp_path / "copies", shelf, parse)) as copies:
        first = copies.newest()
        assert copies.newest() is first, "no newer one"
        environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}
        with closing(Aws({**environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})) as nowhere:
            shut = Shelf(nowhere, shelf.uri)
            with closing(Copies(tmp_path / "copies", shut, parse)) as others:
                found = others.newest()
                assert found.store.get_sweep(SWEEP).id == SWEEP
                assert "127.0.0.1:9" in found.trouble
            with closing(Copies(tmp_path / "none", shut, parse)) as none, pytest.raises(StoreUnavailable):
                none.newest()


def test_a_sweep_that_cannot_be_reached_does_not_hide_the_others(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, away = create.sweep(account.sweep(1), job=account.job), create.sweep(account.sweep(1), job=account.job)
    detach.send_away(away, {}, with_agent=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert {sweep["id"]: sweep["state"] for sweep in json_views.list_sweeps()} == {
        here: "running",
        away: "stopped",
    }
    assert f"sweep {away} is shown as it was before it was detached" in caplog.text


def test_a_torn_download_is_no_store(shelf: Shelf, tmp_path: Path) -> None:
    answer = shelf._aws.call("s3", "get_object", Bucket=shelf._bucket, Key="agent/store.db.gz")
    whole = answer["Body"].read()
    shelf._aws.call(
        "s3", "put_object", Bucket=shelf._bucket, Key="agent/store.db.gz", Body=whole[: len(whole) // 2]
    )
    with pytest.raises(StoreUnavailable, match="broke off"):
        shelf.fetch(tmp_path / "torn.db")


def test_where_nothing_is_kept_there_is_no_store(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no store"):
        Shelf(shelf._aws, f"{shelf.uri}/elsewhere").fetch(tmp_path / "none.db")
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
