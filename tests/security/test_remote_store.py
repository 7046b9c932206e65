"""Network to store: whatever S3 answers, and whatever is stored there, no agent ends and nothing is lost."""

from __future__ import annotations

import pytest

from smsweep.backends.sagemaker.shelf import MOST_ORDER_BYTES
from smsweep.errors import StoreUnavailable, Superseded
from smsweep.sdk.away.record import REJECTED_NOTE
from smsweep.sweeps import SweepState
from tests.security.conftest import PAUSE, SWEEP, RemoteStore

CONFLICTS = ("ConditionalRequestConflict", "OperationAborted")


def test_writer_continues_after_the_answer_to_a_save_was_lost(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    store = f"{remote.path}/store.db.gz"
    writer.store.put_note(SWEEP, "n", 1)
    remote.s3.lose_answer("PUT", store)
    remote.s3.lose_request("PUT", store, times=2)  # botocore's own second and third attempt
    with pytest.raises(StoreUnavailable):
        writer.save()
    writer.store.put_note(SWEEP, "n", 2)
    writer.save()
    assert remote.note("n") == 2


def test_writer_continues_after_a_save_that_arrives_late(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    store = f"{remote.path}/store.db.gz"
    for n in (1, 2):  # two saves in flight, of which only the first can count
        writer.store.put_note(SWEEP, "n", n)
        remote.s3.lose_request("PUT", store, times=3, late_s=0.1 * n)
        with pytest.raises(StoreUnavailable):
            writer.save()
    remote.s3.settle()
    writer.store.put_note(SWEEP, "n", 3)
    writer.save()
    assert remote.note("n") == 3


def test_writer_that_was_superseded_does_not_take_the_other_for_itself(remote: RemoteStore) -> None:
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
def test_conflicting_save_is_sent_again(remote: RemoteStore, code: str) -> None:
    writer = remote.writer("one")
    writer.store.put_note(SWEEP, "n", 1)
    fault = remote.s3.refuse("PUT", f"{remote.path}/store.db.gz", 409, code, times=2)
    writer.save()
    assert fault.hits == 2
    assert remote.note("n") == 1


@pytest.mark.parametrize("code", CONFLICTS)
def test_save_that_conflicts_for_long_is_retryable(remote: RemoteStore, code: str) -> None:
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
    "a verb that is no text": b'{"do": {"do": "remove_trial"}, "number": 0}',
    "an unknown verb": b'{"do": "rm -rf /", "to": "running"}',
    "more than the verb needs": b'{"do": "remove_trial", "number": 0, "sweep_id": "other"}',
    "code in a note": b'{"do": "put_note", "key": "search_code", "value": "import os"}',
    "a note of the agent's own": b'{"do": "put_note", "key": "agents", "value": {}}',
    "a state that is none": b'{"do": "set_sweep_state", "expect": ["x"], "to": "gone"}',
    "a state only an agent sets": b'{"do": "set_sweep_state", "expect": ["running"], "to": "finished"}',
    "a thousand states": b'{"do": "set_sweep_state", "to": "paused", "expect": [%s]}'
    % b",".join([b'"running"'] * 1_000),
    "a running trial started again": b'{"do": "move", "number": 0, "expect": ["running"], "to": "pending"}',
    "a trial that never ran finished": b'{"do": "move", "number": 0, "expect": ["pending"], "to": "finished"}',
    "half a surrogate": rb'{"do": "move", "number": 0, "expect": ["failed"], "to": "pending", "reason": "\ud800"}',
    "a reason without end": b'{"do": "move", "number": 0, "expect": ["failed"], "to": "pending", "reason": "%s"}'
    % (b"x" * 50_000),
}


@pytest.mark.parametrize("body", HOSTILE_COMMANDS.values(), ids=HOSTILE_COMMANDS)
def test_hostile_command_is_set_aside_after_one_attempt(remote: RemoteStore, body: bytes) -> None:
    writer = remote.writer("one")
    writer.store.add_trials(SWEEP, 0, [{"x": 1}])
    remote.put("orders/1.json", body)
    remote.put("orders/2.json", PAUSE)
    assert writer.obey() == 2
    assert writer.store.get_sweep(SWEEP).state == "paused", "the next command is carried out"
    assert writer.store.get_trial(SWEEP, 0).state == "pending"
    assert not writer.store.get_trial(SWEEP, 0).is_removed
    assert writer.store.get_note(SWEEP, "search_code") is None
    assert remote.objects("orders/") == {}
    assert remote.objects("rejected/") == {"1.json": body[:MOST_ORDER_BYTES]}
    assert list(remote.note(REJECTED_NOTE)) == ["1"]
    assert writer.obey() == 0


NAMES = ("no-suffix", "folder/in/it.json", "../../store.db.gz", "é.json", "a" * 900 + ".json", ".json")


@pytest.mark.parametrize("name", NAMES)
def test_command_with_a_hostile_name_is_set_aside(remote: RemoteStore, name: str) -> None:
    writer = remote.writer("one")
    remote.put(f"orders/{name}", PAUSE)
    assert writer.obey() == 1
    assert writer.store.get_sweep(SWEEP).state == "running"
    assert remote.objects("orders/") == {}
    assert list(remote.objects("rejected/").values()) == [PAUSE]
    assert writer.obey() == 0


def test_hostile_command_is_not_tried_by_the_next_agent_either(remote: RemoteStore) -> None:
    remote.put("orders/1.json", b"\0")
    fault = remote.s3.refuse("PUT", f"{remote.path}/rejected/*", 503, "SlowDown", times=1_000)
    first = remote.writer("one")
    with pytest.raises(StoreUnavailable):
        first.obey()
    fault.times = 0
    second = remote.writer("two")
    assert second.obey() == 1
    assert remote.objects("rejected/") == {"1.json": b"\0"}
    assert remote.objects("orders/") == {}


def test_command_that_cannot_be_read_or_deleted_does_not_end_the_agent(remote: RemoteStore) -> None:
    writer = remote.writer("one")
    remote.put("orders/1.json", PAUSE)
    for method in ("GET", "DELETE"):  # encrypted with a key of somebody else's, and locked
        remote.s3.refuse(method, f"{remote.path}/orders/1.json", 403, "AccessDenied", times=2)
    assert writer.obey() == 1
    assert writer.obey() == 1
    assert writer.store.get_sweep(SWEEP).state == "running"
    assert "access denied" in writer.store.get_note(SWEEP, REJECTED_NOTE)["1"]


def test_many_commands_are_each_carried_out_once_although_the_agent_is_killed(remote: RemoteStore) -> None:
    first = remote.writer("one")
    first.store.add_trials(SWEEP, 0, [{"x": 1}])
    for n in range(150):
        remote.put(f"orders/{n:03}.json", PAUSE)
    remote.s3.refuse("DELETE", f"{remote.path}/orders/*", 503, "SlowDown", times=3)
    with pytest.raises(StoreUnavailable):
        first.obey()
    first.store.set_sweep_state(SWEEP, [SweepState.PAUSED], SweepState.RUNNING)
    first.save()
    second = remote.writer("two")
    assert second.obey() == 150
    assert second.store.get_sweep(SWEEP).state == "running", "not a second time"
