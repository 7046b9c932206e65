"""Beginnings of ids, as people type them."""

from __future__ import annotations

from smsweep.errors import UsageError
from smsweep.sdk.create import ID_LENGTH
from smsweep.sdk.labels import parse_label
from smsweep.sdk.workspace import Workspace

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
