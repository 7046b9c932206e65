"""Boundary from network to store: no content or response of S3 ends an agent or loses data."""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from smsweep.aws.client import Aws
from smsweep.aws.s3_transfer import fetch, upload_once
from smsweep.backends.local.s3_storage import S3Place
from smsweep.core.sweep import SweepState
from smsweep.emulator.jobs.staging import S3, Checkpoints
from smsweep.errors import (
    BackendUnavailable,
    JobRejected,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    Superseded,
)
from smsweep.remote.s3_store import s3_object
from smsweep.remote.s3_store.replica import Replica
from smsweep.remote.s3_store.s3_object import MAX_COMMAND_BYTES
from smsweep.remote.s3_store.writer import SHORTEST, interval_of
from smsweep.store import notes
from tests.security.conftest import PAUSE, SWEEP, RemoteStore, parse

CONFLICTS = ("ConditionalRequestConflict", "OperationAborted")


def test_writer_continues_when_the_response_to_a_save_is_lost(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    store = f"{remote.path}/store.db.gz"
    writer.store.put_note(SWEEP, "n", 1)
    remote.s3.lose_answer("PUT", store)
    remote.s3.lose_request("PUT", store, times=2)  # botocore's second and third attempt
    with pytest.raises(StoreUnavailable):
        writer.save()
    writer.store.put_note(SWEEP, "n", 2)
    writer.save()
    assert remote.note("n") == 2


def test_writer_continues_when_a_save_arrives_late(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    store = f"{remote.path}/store.db.gz"
    for n in (1, 2):  # two concurrent saves, of which only the first can succeed
        writer.store.put_note(SWEEP, "n", n)
        remote.s3.lose_request("PUT", store, times=3, late_s=0.1 * n)
        with pytest.raises(StoreUnavailable):
            writer.save()
    remote.s3.settle()
    writer.store.put_note(SWEEP, "n", 3)
    writer.save()
    assert remote.note("n") == 3


def test_replaced_writer_does_not_confuse_the_other_with_itself(remote: RemoteStore) -> None:
    old = remote.writer("agent")
    store = f"{remote.path}/store.db.gz"
    old.store.put_note(SWEEP, "n", "old")
    remote.s3.lose_answer("PUT", store)
    remote.s3.lose_request("PUT", store, times=2)
    with pytest.raises(StoreUnavailable):
        old.save()
    new = remote.writer("agent")  # the same name: the next process of the same job
    new.store.put_note(SWEEP, "n", "new")
    new.save()
    old.store.put_note(SWEEP, "n", "old again")
    with pytest.raises(Superseded):
        old.save()
    assert remote.note("n") == "new"


@pytest.mark.parametrize("code", CONFLICTS)
def test_conflicting_save_is_repeated(remote: RemoteStore, code: str) -> None:
    writer = remote.writer("one")
    writer.store.put_note(SWEEP, "n", 1)
    fault = remote.s3.refuse("PUT", f"{remote.path}/store.db.gz", 409, code, times=2)
    writer.save()
    assert fault.hits == 2
    assert remote.note("n") == 1


@pytest.mark.parametrize("code", CONFLICTS)
def test_save_is_retryable_after_many_conflicts(remote: RemoteStore, code: str) -> None:
    writer = remote.writer("one")
    writer.store.put_note(SWEEP, "n", 1)
    fault = remote.s3.refuse("PUT", f"{remote.path}/store.db.gz", 409, code, times=1_000)
    with pytest.raises(StoreUnavailable):
        writer.save()
    fault.times = 0
    writer.save()
    assert remote.note("n") == 1


HOSTILE_COMMANDS = {
    "not JSON": b"\0not json",
    "empty": b"",
    "text of another encoding": '{"do": "remove_trial", "number": 0}'.encode("utf-16"),
    "200 KB of brackets": b"[" * 200_000,
    "deep within its size": b'{"do":' * 10_000,
    "longer than any command": b'{"do": "remove_trial", "number": 0' + b" " * 100_000 + b"}",
    "a number of 5,000 digits": b'{"do": "remove_trial", "number": ' + b"9" * 5_000 + b"}",
    "a number that SQLite cannot hold": b'{"do": "remove_trial", "number": 100000000000000000000000}',
    "infinity": b'{"do": "remove_trial", "number": 1e999}',
    "not a number": b'{"do": "remove_trial", "number": NaN}',
    "a fraction": b'{"do": "remove_trial", "number": 0.5}',
    "true for a number": b'{"do": "remove_trial", "number": true}',
    "below zero": b'{"do": "remove_trial", "number": -1}',
    "a list": b"[1, 2, 3]",
    "no verb": b'{"number": 0}',
    "verb is not text": b'{"do": {"do": "remove_trial"}, "number": 0}',
    "an unknown verb": b'{"do": "rm -rf /", "to": "running"}',
    "more than the verb needs": b'{"do": "remove_trial", "number": 0, "sweep_id": "other"}',
    "code in a note": b'{"do": "put_note", "key": "search_code", "value": "import os"}',
    "a note of the agent's own": b'{"do": "put_note", "key": "agents", "value": {}}',
    "invalid state": b'{"do": "set_sweep_state", "expect": ["x"], "to": "gone"}',
    "a state only an agent sets": b'{"do": "set_sweep_state", "expect": ["running"], "to": "finished"}',
    "a thousand states": b'{"do": "set_sweep_state", "to": "paused", "expect": [%s]}'
    % b",".join([b'"running"'] * 1_000),
    "a running trial started again": b'{"do": "move", "number": 0, "expect": ["running"], "to": "pending"}',
    "a trial that never ran finished": b'{"do": "move", "number": 0, "expect": ["pending"], "to": "finished"}',
    "another program": b'{"do": "change_config", "number": 2, "changes": {"run_cap": 2, "program": "x.py"}}',
    "code of the search": b'{"do": "change_config", "number": 2, "changes": {"scheduler": {"source": "x.py"}}}',
    "an image": b'{"do": "change_config", "number": 2, "changes": {"image_uri": "evil"}}',
    "no change": b'{"do": "change_config", "number": 2, "changes": {}}',
    "half a surrogate": rb'{"do": "move", "number": 0, "expect": ["failed"], "to": "pending", "reason": "\ud800"}',
    "a reason without end": b'{"do": "move", "number": 0, "expect": ["failed"], "to": "pending", "reason": "%s"}'
    % (b"x" * 50_000),
}


@pytest.mark.parametrize("body", HOSTILE_COMMANDS.values(), ids=HOSTILE_COMMANDS)
def test_hostile_command_is_rejected_after_one_attempt(remote: RemoteStore, body: bytes) -> None:
    writer = remote.writer("one")
    writer.store.add_trials(SWEEP, 0, [{"x": 1}])
    remote.put("orders/1.json", body)
    remote.put("orders/2.json", PAUSE)
    assert writer.run_commands() == 2
    assert writer.store.get_sweep(SWEEP).state == "paused", "the next command is carried out"
    assert writer.store.get_trial(SWEEP, 0).state == "pending"
    assert not writer.store.get_trial(SWEEP, 0).is_removed
    assert writer.store.get_note(SWEEP, "search_code") is None
    assert remote.objects("orders/") == {}
    assert remote.objects("rejected/") == {"1.json": body[:MAX_COMMAND_BYTES]}
    assert list(remote.note(notes.REJECTED_COMMANDS.key)) == ["1"]
    assert writer.run_commands() == 0


NAMES = ("no-suffix", "folder/in/it.json", "../../store.db.gz", "é.json", "a" * 900 + ".json", ".json")


@pytest.mark.parametrize("name", NAMES)
def test_command_with_a_hostile_name_is_rejected(remote: RemoteStore, name: str) -> None:
    writer = remote.writer("one")
    remote.put(f"orders/{name}", PAUSE)
    assert writer.run_commands() == 1
    assert writer.store.get_sweep(SWEEP).state == "running"
    assert remote.objects("orders/") == {}
    assert list(remote.objects("rejected/").values()) == [PAUSE]
    assert writer.run_commands() == 0


def test_hostile_command_is_not_carried_out_by_the_next_agent(remote: RemoteStore) -> None:
    remote.put("orders/1.json", b"\0")
    fault = remote.s3.refuse("PUT", f"{remote.path}/rejected/*", 503, "SlowDown", times=1_000)
    first = remote.writer("one")
    with pytest.raises(StoreUnavailable):
        first.run_commands()
    fault.times = 0
    second = remote.writer("two")
    assert second.run_commands() == 1
    assert remote.objects("rejected/") == {"1.json": b"\0"}
    assert remote.objects("orders/") == {}


def test_command_that_cannot_be_read_or_deleted_does_not_end_the_agent(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    remote.put("orders/1.json", PAUSE)
    for method in ("GET", "DELETE"):  # encrypted with a foreign key, and locked
        remote.s3.refuse(method, f"{remote.path}/orders/1.json", 403, "AccessDenied", times=2)
    assert writer.run_commands() == 1
    assert writer.run_commands() == 1
    assert writer.store.get_sweep(SWEEP).state == "running"
    assert "access denied" in notes.REJECTED_COMMANDS.get(writer.store, SWEEP)["1"]


def test_commands_are_carried_out_once_when_the_agent_is_killed(remote: RemoteStore) -> None:
    first = remote.writer("one")
    first.store.add_trials(SWEEP, 0, [{"x": 1}])
    for n in range(150):
        remote.put(f"orders/{n:03}.json", PAUSE)
    remote.s3.refuse("DELETE", f"{remote.path}/orders/*", 503, "SlowDown", times=3)
    with pytest.raises(StoreUnavailable):
        first.run_commands()
    first.store.set_sweep_state(SWEEP, [SweepState.PAUSED], SweepState.RUNNING)
    first.save()
    second = remote.writer("two")
    assert second.run_commands() == 150
    assert second.store.get_sweep(SWEEP).state == "running", "not a second time"


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def database(*statements: str) -> bytes:
    """Return an SQLite file."""
    with tempfile.NamedTemporaryFile() as file, closing(sqlite3.connect(file.name)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return Path(file.name).read_bytes()


HOSTILE_STORES = {
    "nothing": b"",
    "no archive": b"SQLite format 3\0" + b"x" * 1_000,
    "HTML": b"<html>an error of a proxy</html>",
    "half an archive": packed(b"x" * 100_000)[:60],
    "an archive with a flipped bit": packed(bytes(range(256)) * 40)[:200] + b"\xff" * 100,
    "an archive of nothing": packed(b""),
    "an archive of text": packed(b"not a database" * 1_000),
    "a torn database": packed(database("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")[:5_000]),
    "another program's database": packed(database("CREATE TABLE sweeps (x)")),
    "version is not a number": packed(
        database("CREATE TABLE smsweep_version (version_num)", "INSERT INTO smsweep_version VALUES ('x')")
    ),
    "a version of the future": packed(
        database("CREATE TABLE smsweep_version (version_num)", "INSERT INTO smsweep_version VALUES ('9999')")
    ),
    "two versions": packed(
        database("CREATE TABLE smsweep_version (version_num)", "INSERT INTO smsweep_version VALUES (1), (2)")
    ),
    "a version without tables": packed(
        database("CREATE TABLE smsweep_version (version_num)", "INSERT INTO smsweep_version VALUES ('0001')")
    ),
    "a view in a table's place": packed(database("CREATE VIEW sweeps AS SELECT 1 AS id")),
}


@pytest.mark.parametrize("body", HOSTILE_STORES.values(), ids=HOSTILE_STORES)
def test_hostile_store_object_does_not_replace_a_valid_copy(remote: RemoteStore, body: bytes) -> None:
    with closing(Replica(remote.folder / "copies", remote.s3_store, parse)) as copies:
        good = copies.newest().written_at
        remote.put("store.db.gz", body)
        for _ in range(2):
            found = copies.newest()
            assert found.store.get_sweep(SWEEP).id == SWEEP
            assert (found.written_at, bool(found.trouble)) == (good, True)
    with closing(Replica(remote.folder / "copies", remote.s3_store, parse)) as later:
        assert later.newest().store.get_sweep(SWEEP).id == SWEEP


@pytest.mark.parametrize("body", HOSTILE_STORES.values(), ids=HOSTILE_STORES)
def test_hostile_store_object_is_an_error_and_leaves_no_file(remote: RemoteStore, body: bytes) -> None:
    remote.put("store.db.gz", body)
    with pytest.raises(StoreError, match="smsweep/agents/"):
        remote.writer("one")
    with closing(Replica(remote.folder / "copies", remote.s3_store, parse)) as copies, pytest.raises(StoreError):
        copies.newest()
    assert not list((remote.folder / "copies").glob("*.db"))
    assert remote.objects()["store.db.gz"] == body, "nothing is written over it"


def test_too_large_store_is_rejected(remote: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_object, "MAX_STORE_BYTES", 10 << 20)
    remote.put("store.db.gz", packed(bytes(20 << 20)))
    with pytest.raises(StoreDamaged, match="bytes unpacked"):
        remote.s3_store.fetch(remote.folder / "bomb.db")
    assert not (remote.folder / "bomb.db").exists()


def test_interrupted_download_is_retryable(remote: RemoteStore) -> None:
    remote.s3.cut_answer("GET", f"{remote.path}/store.db.gz")
    with pytest.raises(StoreUnavailable, match="the download failed"):
        remote.s3_store.fetch(remote.folder / "cut.db")
    assert not (remote.folder / "cut.db").exists()
    assert remote.s3_store.fetch(remote.folder / "cut.db") is not None


SIGNS = (b"", b"\0", b"[]", b"null", b"[" * 100_000, b"{" * 60_000, b'{"job": 1e999}', b'{"saves_every_s": NaN}')
MORE_SIGNS = (b'{"saves_every_s": -1}', b'{"saves_every_s": "x"}', b'{"saves_every_s": 1e400}', b'"text"')


@pytest.mark.parametrize("body", [*SIGNS, *MORE_SIGNS], ids=lambda body: body[:30].decode())
def test_hostile_heartbeat_is_ignored(remote: RemoteStore, body: bytes) -> None:
    remote.put("alive.json", body)
    sign, age = remote.s3_store.read_heartbeat()
    assert isinstance(sign, dict)
    assert age is not None
    assert interval_of(sign) == SHORTEST


@pytest.mark.parametrize("code", CONFLICTS)
def test_conflicting_source_upload_is_repeated(remote: RemoteStore, aws: Aws, tmp_path: Path, code: str) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "source.tar.gz").write_bytes(b"source")
    fault = remote.s3.refuse("PUT", f"/{remote.bucket}/assets/*", 409, code, times=3)
    upload_once(aws, tmp_path / "assets", remote.bucket, "assets")
    assert fault.hits == 3
    assert (
        remote.s3.client().get_object(Bucket=remote.bucket, Key="assets/source.tar.gz")["Body"].read() == b"source"
    )


def test_source_upload_fails_after_many_conflicts(remote: RemoteStore, aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "source.tar.gz").write_bytes(b"source")
    remote.s3.refuse("PUT", f"/{remote.bucket}/assets/*", 409, CONFLICTS[0], times=1_000)
    with pytest.raises(BackendUnavailable):
        upload_once(aws, tmp_path / "assets", remote.bucket, "assets")


@pytest.mark.parametrize("code", CONFLICTS)
def test_conflicting_upload_of_results_and_checkpoints_is_repeated(
    remote: RemoteStore, tmp_path: Path, code: str
) -> None:
    place = S3Place(remote.s3.environ(), tmp_path / "cache")
    (tmp_path / "ck").mkdir()
    (tmp_path / "ck" / "a").write_bytes(b"a")
    for method in ("PUT", "DELETE"):
        remote.s3.refuse(method, f"/{remote.bucket}/ck/*", 409, code, times=2)
    place.upload(tmp_path / "ck", f"s3://{remote.bucket}/ck")
    assert remote.s3.client().get_object(Bucket=remote.bucket, Key="ck/a")["Body"].read() == b"a"
    place.remove(f"s3://{remote.bucket}/ck", ["a"])
    assert "Contents" not in remote.s3.client().list_objects_v2(Bucket=remote.bucket, Prefix="ck/")


PASSING = (
    *((409, code) for code in CONFLICTS),
    *((400, code) for code in ("RequestTimeout", "ExpiredToken", "IncompleteBody")),
    *((503, "SlowDown"), (500, "InternalError"), (403, "RequestTimeTooSkewed"), (429, "TooManyRequests")),
)


@pytest.mark.parametrize(("status", "code"), PASSING)
def test_temporary_error_fails_no_job(remote: RemoteStore, tmp_path: Path, status: int, code: str) -> None:
    place = S3Place(remote.s3.environ(), tmp_path / "cache")
    (tmp_path / "model.tar.gz").write_bytes(b"model")
    fault = remote.s3.refuse("PUT", f"/{remote.bucket}/out/*", status, code, times=1_000)
    with pytest.raises(BackendUnavailable):
        place.upload(tmp_path / "model.tar.gz", f"s3://{remote.bucket}/out/model.tar.gz")
    fault.times = 0
    place.upload(tmp_path / "model.tar.gz", f"s3://{remote.bucket}/out/model.tar.gz")


@pytest.mark.parametrize(("status", "code"), PASSING)
def test_temporary_error_ends_no_agent(remote: RemoteStore, status: int, code: str) -> None:
    writer = remote.writer("one")
    writer.store.put_note(SWEEP, "n", 1)
    fault = remote.s3.refuse("PUT", f"{remote.path}/*", status, code, times=1_000)
    with pytest.raises(StoreUnavailable):
        writer.save()
    fault.times = 0
    writer.save()
    assert remote.note("n") == 1


def test_permanent_error_fails_the_job(remote: RemoteStore, tmp_path: Path) -> None:
    place = S3Place(remote.s3.environ(), tmp_path / "cache")
    (tmp_path / "model.tar.gz").write_bytes(b"model")
    remote.s3.refuse("PUT", f"/{remote.bucket}/out/*", 403, "AccessDenied", times=10)
    with pytest.raises(JobRejected):
        place.upload(tmp_path / "model.tar.gz", f"s3://{remote.bucket}/out/model.tar.gz")


def test_interrupted_download_of_a_result_is_a_temporary_error(
    remote: RemoteStore, aws: Aws, tmp_path: Path
) -> None:
    remote.s3.client().put_object(Bucket=remote.bucket, Key="out/model.tar.gz", Body=b"x" * 100_000)
    remote.s3.cut_answer("GET", f"/{remote.bucket}/out/*")
    with pytest.raises(BackendUnavailable):
        fetch(aws, f"s3://{remote.bucket}/out/model.tar.gz", tmp_path / "model.tar.gz")


def test_emulator_keeps_checkpoints_when_their_upload_fails(remote: RemoteStore, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "ck", f"s3://{remote.bucket}/ck", S3(remote.s3.environ(), tmp_path / "c"))
    checkpoints.restore()
    (tmp_path / "ck" / "a").write_bytes(b"a")
    fault = remote.s3.refuse("PUT", f"/{remote.bucket}/ck/a", 409, CONFLICTS[0], times=1_000)
    checkpoints.sync()
    fault.times = 0
    checkpoints.sync()
    assert remote.s3.client().get_object(Bucket=remote.bucket, Key="ck/a")["Body"].read() == b"a"
