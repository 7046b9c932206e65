"""Parse the ids of sweeps and the labels of trials that users type, and generate sweep ids."""

from __future__ import annotations

import re
import secrets

from smsweep.errors import UsageError
from smsweep.services.workspace import Workspace

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 8  # as in W&B
MOST_NAMED = 5  # ids in an error message
_RUN_ID = re.compile(r"([a-z0-9]{8})-([0-9]+)")


def parse_label(text: str) -> tuple[str, int | None]:
    """Return the sweep id and the trial number of a label.

    Args:
        text: `ID`, `ID/N`, a run id `ID-N`, or W&B's `entity/project/ID` or `entity/project/sweeps/ID`.

    Returns:
        The sweep id, and the trial number or None.

    Raises:
        UsageError: If the text is not a label.
    """
    parts = [part for part in str(text).strip().split("/") if part]
    if parts and parts[-1].isdecimal() and len(parts) > 1:
        return _sweep_id(text, parts[-2]), int(parts[-1])
    run = _RUN_ID.fullmatch(parts[-1]) if parts else None
    if run:
        return run[1], int(run[2])
    return _sweep_id(text, parts[-1] if parts else ""), None


def parse_sweep_id(text: str) -> str:
    """Return the sweep id of `ID`, `project/ID`, `entity/project/ID` or `entity/project/sweeps/ID`.

    Raises:
        UsageError: If the text is not a sweep id.
    """
    parts = [part for part in str(text).strip().split("/") if part]
    if len(parts) > 1 and parts[-1].isdecimal() and len(parts[-1]) < 8:  # too short for a sweep id
        raise UsageError(f"{text!r} is a trial, not a sweep; give the sweep id: {parts[-2]}")
    return _sweep_id(text, parts[-1] if parts else "")


def parse_trial(text: str) -> tuple[str, int]:
    """Return the sweep id and the trial number of `ID/N`, `ID-N` or `entity/project/ID-N`.

    Raises:
        UsageError: If the text does not name a trial.
    """
    sweep_id, number = parse_label(text)
    if number is None:
        prefix, _, suffix = sweep_id.rpartition("-")
        if prefix and suffix.isdecimal():
            return prefix, int(suffix)
        raise UsageError(f"{text!r} is not a trial; give SWEEP/N, such as {sweep_id}/0")
    return sweep_id, number


def _sweep_id(text: str, part: str) -> str:
    part = part.partition("?")[0]  # the query of a copied URL
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", part):
        raise UsageError(f"{text!r} is not a sweep id; `smsweep ls` lists them")
    return part


def new_sweep_id() -> str:
    """Return a random sweep id."""
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


def full_label(label: str) -> str:
    """Return a label with a unique sweep id prefix replaced by the full id; return any other label unchanged.

    Raises:
        UsageError: If several ids have the prefix.
    """
    sweep_id, number = parse_label(label)
    workspace = Workspace()
    if len(sweep_id) >= ID_LENGTH or not workspace.has_store:
        return label
    with workspace.store() as store:
        found = [sweep.id for sweep in store.list_sweeps() if sweep.id.startswith(sweep_id)]
    if len(found) > 1 and sweep_id not in found:
        named = ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise UsageError(f"{sweep_id}: {len(found)} sweep ids have this prefix: {named}; give a longer prefix")
    if len(found) != 1:
        return label
    return found[0] if number is None else f"{found[0]}/{number}"
