"""Store in S3: one writer, and commands that are carried out once."""

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
from smsweep.remote.s3_store.replica import Replica
from smsweep.remote.s3_store.s3_object import S3Store, SentCommand, Version
from smsweep.remote.s3_store.writer import Writer
from smsweep.services.agents import detach
from smsweep.services.sweeps import create
from smsweep.services.views import json_views
from smsweep.services.workspace import read_stored
from smsweep.store import notes
from smsweep.store.open import open_store
from tests.sagemaker.conftest import Account

SWEEP = "abcd1234"
PAUSE = {"do": "set_sweep_state", "expect": ["running", "paused"], "to": "paused"}
CONFIG = parse_sweep({"program": "t.py", "method": "grid", "parameters": {"x": {"values": [1, 2]}}})


def parse(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
    return CONFIG.config, JobTemplate()


@pytest.fixture
def s3_store(account: Account, tmp_path: Path) -> Iterator[S3Store]:
    """A store in S3 with one sweep."""
    file = tmp_path / "first.db"
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse)) as store:
        store.create_sweep(Sweep(id=SWEEP, config=CONFIG.config, seed=0, sweep_yaml=CONFIG.text))
    with closing(Aws(account.emulator.environ)) as aws:
        created = S3Store(aws, f"s3://{account.bucket}/agent")
        created.replace(file, version="", stamp="first")
        yield created


def writer(s3_store: S3Store, tmp_path: Path, who: str) -> Writer:
    return Writer(s3_store, SWEEP, tmp_path / who, parse, who)


def note(s3_store: S3Store, tmp_path: Path, key: str) -> object:
    """Return what a reader sees of a note."""
    with closing(Replica(tmp_path / "copies", s3_store, parse)) as copies:
        return copies.newest().store.get_note(SWEEP, key)


def test_replaced_writer_cannot_write(s3_store: S3Store, tmp_path: Path) -> None:
    with closing(writer(s3_store, tmp_path, "old")) as old, closing(writer(s3_store, tmp_path, "new")) as new:
        old.store.put_note(SWEEP, "who", "old")
        with pytest.raises(Superseded, match="another agent"):
            old.save()
        new.store.put_note(SWEEP, "who", "new")
        new.save()
        with pytest.raises(Superseded):
            old.save()
    assert note(s3_store, tmp_path, "who") == "new"


def test_new_writer_releases_leases_of_the_last_writer(s3_store: S3Store, tmp_path: Path) -> None:
    with closing(writer(s3_store, tmp_path, "old")) as old:
        old.store.add_trials(SWEEP, 0, [{"x": 1}])
        old.store.claim(SWEEP, "old", "sagemaker@here", 60)
        old.save()
    with closing(writer(s3_store, tmp_path, "new")) as new:
        found = new.store.claim(SWEEP, "new", "sagemaker@here", 60)
        assert found is not None
        assert (found.number, found.attempt, found.agent_id) == (0, 0, "new")


def test_writer_continues_when_a_response_is_lost(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(writer(s3_store, tmp_path, "one")) as one:
        true_call = s3_store._aws.call

        def call_twice(service: str, operation: str, **arguments: object) -> object:
            if operation == "put_object":  # like botocore after a lost response
                true_call(service, operation, **{**arguments, "Body": arguments["Body"].read()})  # type: ignore[attr-defined]  # a file
                arguments["Body"].seek(0)  # type: ignore[attr-defined]  # likewise
            return true_call(service, operation, **arguments)

        monkeypatch.setattr(s3_store._aws, "call", call_twice)
        one.store.put_note(SWEEP, "n", 1)
        one.save()
        one.store.put_note(SWEEP, "n", 2)
        one.save()
    monkeypatch.undo()
    assert note(s3_store, tmp_path, "n") == 2


def test_unchanged_store_is_not_uploaded(account: Account, s3_store: S3Store, tmp_path: Path) -> None:
    with closing(writer(s3_store, tmp_path, "one")) as one:
        before = account.calls()["PUT /" + s3_store.uri.removeprefix("s3://") + "/store.db.gz"]
        one.save()
        one.save()
        assert account.calls()["PUT /" + s3_store.uri.removeprefix("s3://") + "/store.db.gz"] == before


def test_command_is_carried_out_once_and_an_invalid_one_is_rejected(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.send_command(SentCommand(id="1", document=PAUSE))
    s3_store.send_command(SentCommand(id="2", document={"do": "rm -rf /", "to": "running"}))
    s3_store.send_command(
        SentCommand(id="3", document={"do": "move", "number": 7, "expect": ["failed"], "to": "pending"})
    )
    s3_store.send_command(SentCommand(id="4", document={"do": "set_sweep_state", "expect": ["x"], "to": "gone"}))
    s3_store._aws.call("s3", "put_object", Bucket=s3_store._bucket, Key="agent/orders/5.json", Body=b"\0not json")
    with closing(writer(s3_store, tmp_path, "one")) as one:
        monkeypatch.setattr(S3Store, "delete_command", lambda self, command: None)  # as if killed before it
        assert one.run_commands() == 5
        assert one.store.get_sweep(SWEEP).state == "paused"
        one.store.set_sweep_state(SWEEP, ["paused"], "running")  # type: ignore[list-item, arg-type]  # words will do
        one.save()
    monkeypatch.undo()
    with closing(writer(s3_store, tmp_path, "two")) as two:
        assert two.run_commands() == 5
        assert two.store.get_sweep(SWEEP).state == "running", "not a second time"
        obeyed = notes.HANDLED_COMMANDS.get(two.store, SWEEP)
        assert obeyed["1"] == ""
        assert all(obeyed[name] for name in "2345")
    assert s3_store.received_commands() == []


def test_reader_keeps_its_copy_when_s3_is_unreachable(
    account: Account, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Replica(tmp_path / "copies", s3_store, parse)) as copies:
        first = copies.newest()
        assert copies.newest() is first, "no newer one"
        environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1"}
        with closing(Aws({**environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})) as nowhere:
            shut = S3Store(nowhere, s3_store.uri)
            with closing(Replica(tmp_path / "copies", shut, parse)) as others:
                found = others.newest()
                assert found.store.get_sweep(SWEEP).id == SWEEP
                assert "127.0.0.1:9" in found.trouble
            with closing(Replica(tmp_path / "none", shut, parse)) as none, pytest.raises(StoreUnavailable):
                none.newest()


class Interrupted(S3Store):
    """Downloads a store; another process reads the same store between download and return."""

    def __init__(self, aws: Aws, uri: str, other: Replica) -> None:
        super().__init__(aws, uri)
        self._other = other

    def fetch(self, target: Path, *, known: str = "") -> Version | None:
        version = super().fetch(target, known=known)
        assert self._other.newest().store.get_sweep(SWEEP).id == SWEEP
        return version


def test_readers_in_several_processes_do_not_remove_copies_of_each_other(
    account: Account, s3_store: S3Store, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    with (
        closing(Aws(account.emulator.environ)) as aws,
        closing(Replica(folder, s3_store, parse)) as other,
        closing(Replica(folder, Interrupted(aws, s3_store.uri, other), parse)) as copies,
        closing(writer(s3_store, tmp_path, "one")) as one,
    ):
        for value in range(3):
            notes.AGENT_JOBS.put(one.store, SWEEP, {str(value): "job"})
            one.save()
            found = copies.newest()
            assert (found.trouble, found.store.get_sweep(SWEEP).id) == ("", SWEEP)
            assert notes.AGENT_JOBS.get(found.store, SWEEP) == {str(value): "job"}


def test_reader_downloads_again_when_its_copy_was_removed(s3_store: S3Store, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    with closing(Replica(folder, s3_store, parse)) as copies:
        copies.newest()
    for file in folder.glob("*.db*"):
        file.unlink()
    with closing(Replica(folder, s3_store, parse)) as copies:
        assert copies.newest().store.get_sweep(SWEEP).id == SWEEP


def test_unreachable_sweep_does_not_hide_others(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, away = create.sweep(account.sweep(1), job=account.job), create.sweep(account.sweep(1), job=account.job)
    detach.start_agent_job(away, {}, with_agent=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert {sweep["id"]: sweep["state"] for sweep in json_views.list_sweeps()} == {
        here: "running",
        away: "stopped",
    }
    assert f"sweep {away} is shown as it was before it was detached" in caplog.text


def test_incomplete_download_is_not_a_store(s3_store: S3Store, tmp_path: Path) -> None:
    answer = s3_store._aws.call("s3", "get_object", Bucket=s3_store._bucket, Key="agent/store.db.gz")
    whole = answer["Body"].read()
    s3_store._aws.call(
        "s3", "put_object", Bucket=s3_store._bucket, Key="agent/store.db.gz", Body=whole[: len(whole) // 2]
    )
    with pytest.raises(StoreUnavailable, match="the download failed"):
        s3_store.fetch(tmp_path / "torn.db")


def test_missing_store_raises_not_found(s3_store: S3Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the store does not exist"):
        S3Store(s3_store._aws, f"{s3_store.uri}/elsewhere").fetch(tmp_path / "none.db")
    shutil.rmtree(tmp_path / "none", ignore_errors=True)


def test_command_changes_the_config_once_and_a_late_one_is_refused(
    s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = {"do": "change_config", "number": 2, "changes": {"run_cap": 7}, "changed_by": "ann@host"}
    s3_store.send_command(SentCommand(id="1", document=change))
    s3_store.send_command(SentCommand(id="2", document={**change, "changes": {"run_cap": 9}}))
    s3_store.send_command(SentCommand(id="3", document={**change, "number": 3, "changes": {"run_cap": 0}}))
    with closing(Writer(s3_store, SWEEP, tmp_path / "one", read_stored, "one")) as one:
        monkeypatch.setattr(S3Store, "delete_command", lambda self, command: None)  # as if killed before it
        one.run_commands()
    monkeypatch.undo()
    with closing(Writer(s3_store, SWEEP, tmp_path / "two", read_stored, "two")) as two:
        two.run_commands()
        sweep, revisions = two.store.get_sweep(SWEEP), two.store.list_revisions(SWEEP)
        obeyed = notes.HANDLED_COMMANDS.get(two.store, SWEEP)
    assert (sweep.config.run_cap, sweep.config_revision) == (7, 2)
    assert (len(revisions), revisions[1].changed_by) == (2, "ann@host")
    assert obeyed["1"] == ""
    assert "its config was changed at the same time" in obeyed["2"]
    assert "run_cap: expected a whole number above 0" in obeyed["3"]
