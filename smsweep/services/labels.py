"""Parse the ids of sweeps and the labels of trials that users type, and generate sweep ids."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from smsweep.core.sweep import Sweep
from smsweep.errors import NotInStore, StoreError, UsageError
from smsweep.remote.record import record_path
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

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
        raise UsageError(f"{text!r} is a sweep; give a trial, such as {sweep_id}/0")
    return sweep_id, number


def _sweep_id(text: str, part: str) -> str:
    part = part.partition("?")[0]  # the query of a copied URL
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", part):
        raise UsageError(f"{text!r} is not a sweep id; `smsweep ls` lists them")
    return part


def new_sweep_id() -> str:
    """Return a random sweep id."""
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


def full_label(label: str, *, min_prefix: int = 1) -> str:
    """Return a label with the name of a sweep, or a unique id prefix, replaced by the id of the sweep.

    An id wins over a name, and a name over an id prefix.

    Args:
        label: A label; instead of the id, it may have the exact name of a sweep or the prefix of an id.
        min_prefix: Minimum length of an id prefix.

    Returns:
        `ID` or `ID/N`; the label unchanged if no sweep of the store has that id, name or prefix.

    Raises:
        UsageError: If several sweeps have the name or the prefix, or the folder of the store cannot be used.
    """
    workspace = Workspace()
    if not workspace.has_store:
        return label
    try:
        sweep_id, number = parse_label(label)
    except UsageError:  # a name can have characters that ids do not have
        sweep_id, number = "", None
    try:
        with workspace.store() as store:
            if sweep_id and _is_id(workspace, store, sweep_id):
                return label
            sweeps = store.list_sweeps()
    except StoreError:  # the command reports the error, or waits for the store
        return label
    text = str(label).strip()  # str: Python callers can pass anything, and `parse_label` reports it
    named = [sweep.id for sweep in sweeps if sweep.name and sweep.name == text]
    if named:
        number = None
    else:
        name, _, tail = text.rpartition("/")
        if tail.isdecimal():
            named, number = [sweep.id for sweep in sweeps if sweep.name and sweep.name == name], int(tail)
    if len(named) > 1:
        raise UsageError(f"{label}: {len(named)} sweeps have this name: {_listed(named)}; give an id")
    if not named and len(sweep_id) >= min_prefix:
        named = [sweep.id for sweep in sweeps if sweep_id and sweep.id.startswith(sweep_id)]
    if len(named) > 1:
        raise UsageError(
            f"{sweep_id}: {len(named)} sweep ids have this prefix: {_listed(named)}; give a longer prefix"
        )
    if not named:
        return label
    return named[0] if number is None else f"{named[0]}/{number}"


def newest_sweep() -> Sweep | None:
    """Return the sweep that was created last; None if there is no sweep."""
    workspace = Workspace()
    if not workspace.has_store:
        return None
    with workspace.store() as store:
        return next(iter(store.list_sweeps()), None)


def _is_id(workspace: Workspace, store: Store, sweep_id: str) -> bool:
    if record_path(workspace.dir, sweep_id).exists():  # without a call to S3
        return True
    try:
        store.get_sweep(sweep_id)
    except NotInStore:
        return False
    return True


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MOST_NAMED]) + (", ..." if len(ids) > MOST_NAMED else "")
