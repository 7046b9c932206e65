"""Names of sweeps and trials as people type them."""

from __future__ import annotations

import re
import secrets

from smsweep.errors import UsageError
from smsweep.services.workspace import Workspace

_RUN_ID = re.compile(r"([a-z0-9]{8})-([0-9]+)")  # a sweep's id is as long as W&B's


def parse_label(text: str) -> tuple[str, int | None]:
    """Return (sweep id, trial number or None) of `ID`, `ID/N`, or W&B's `entity/project/ID`, `.../sweeps/ID`.

    A run's id, `ID-N`, is a trial, too. Raises UsageError.
    """
    parts = [part for part in str(text).strip().split("/") if part]
    if parts and parts[-1].isdecimal() and len(parts) > 1:
        return _sweep_id(text, parts[-2]), int(parts[-1])
    run = _RUN_ID.fullmatch(parts[-1]) if parts else None
    if run:
        return run[1], int(run[2])
    return _sweep_id(text, parts[-1] if parts else ""), None


def parse_sweep_id(text: str) -> str:
    """Return the sweep's id of `ID`, `project/ID`, `entity/project/ID` or `entity/project/sweeps/ID`."""
    parts = [part for part in str(text).strip().split("/") if part]
    if len(parts) > 1 and parts[-1].isdecimal() and len(parts[-1]) < 8:  # shorter than any sweep's id
        raise UsageError(f"{text!r} is one trial; this takes its whole sweep: {parts[-2]}")
    return _sweep_id(text, parts[-1] if parts else "")


def parse_trial(text: str) -> tuple[str, int]:
    """Return (sweep id, trial number) of `ID/N`, or of a run's id, `ID-N`, as in `entity/project/ID-N`."""
    sweep_id, number = parse_label(text)
    if number is None:
        beginning, _, end = sweep_id.rpartition("-")
        if beginning and end.isdecimal():
            return beginning, int(end)
        raise UsageError(f"{text!r} names no trial; write SWEEP/N, such as {sweep_id}/0")
    return sweep_id, number


def _sweep_id(text: str, part: str) -> str:
    part = part.partition("?")[0]  # of the address of a page
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", part):
        raise UsageError(f"{text!r} is no sweep id; `smsweep ls` lists them")
    return part


ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


ID_LENGTH = 8  # as W&B's


def new_sweep_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


MOST_NAMED = 5


def whole(label: str) -> str:
    """Return a label with the beginning of a sweep's id replaced by the whole id; any other as it is.

    Raises UsageError for what begins several ids.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if len(sweep_id) >= ID_LENGTH or not workspace.has_store:
        return label
    with workspace.store() as store:
        found = [sweep.id for sweep in store.list_sweeps() if sweep.id.startswith(sweep_id)]
    if len(found) > 1 and sweep_id not in found:
        named = ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise UsageError(f"{sweep_id} begins the ids of {len(found)} sweeps: {named}; write more of it")
    if len(found) != 1:
        return label
    return found[0] if number is None else f"{found[0]}/{number}"
