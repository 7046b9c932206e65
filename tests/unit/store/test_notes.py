"""The typed accessors of a sweep's notes, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.store.notes import Note
from smsweep.store.open import open_store

SWEEP = "abcd1234"
CONFIG = parse_sweep({"method": "random", "parameters": {"lr": {"min": 0.0, "max": 1.0}}})
KINDS: dict[str, Note[Any]] = {name: each for name, each in vars(notes).items() if isinstance(each, Note)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(
        f"sqlite:///{tmp_path}/store.db", environ={}, parse=lambda *_: (CONFIG.config, JobTemplate(request={}))
    )
    opened.create_sweep(Sweep(id=SWEEP, config=CONFIG.config, sweep_yaml=CONFIG.text))
    yield opened
    opened.close()


def test_keys_are_unique() -> None:
    keys = [each.key for each in KINDS.values()]
    assert len(keys) > 10
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", KINDS)
def test_missing_note_is_empty(store: Store, name: str) -> None:
    assert not KINDS[name].get(store, SWEEP)


def test_empty_value_is_not_shared(store: Store) -> None:
    notes.AGENT_JOBS.get(store, SWEEP)["job"] = "now"
    assert notes.AGENT_JOBS.get(store, SWEEP) == {}


def test_note_is_read_as_it_was_written(store: Store) -> None:
    notes.AGENT_JOBS.put(store, SWEEP, {"job": "2026-01-01"})
    assert notes.AGENT_JOBS.get(store, SWEEP) == {"job": "2026-01-01"}


def test_add_keeps_the_first_value(store: Store) -> None:
    note = notes.notified("end/3", "hook")
    assert note.add(store, SWEEP, "first")
    assert not note.add(store, SWEEP, "second")
    assert note.get(store, SWEEP) == "first"


def test_stop_evidence_belongs_to_one_attempt(store: Store) -> None:
    first, second = (Trial(number=3, params={}, attempt=attempt) for attempt in (0, 1))
    notes.stop_evidence(first).put(store, SWEEP, {"rule": "median"})
    assert notes.stop_evidence(first).get(store, SWEEP) == {"rule": "median"}
    assert notes.stop_evidence(second).get(store, SWEEP) is None


def test_no_other_module_has_a_key() -> None:
    package = Path(notes.__file__).parent.parent
    calls = ("get_note(", "put_note(", "add_note(")
    found = {
        file.name
        for file in package.rglob("*.py")
        if file.parent.name not in ("store", "s3_store") and any(call in file.read_text() for call in calls)
    }
    assert found == set()
