"""Change the config of an existing sweep, and describe its revisions."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from smsweep.config_files.config_change import PARALLEL, Change, change_config
from smsweep.config_files.from_python import from_mapping, to_yaml
from smsweep.core.json_documents import RevisionDocument
from smsweep.core.sweep import ConfigRevision, Sweep, SweepState
from smsweep.errors import NotFound, UsageError
from smsweep.secrets.scan import refuse_secrets, scan_text
from smsweep.services.agents.records import is_working
from smsweep.services.labels import parse_sweep_id
from smsweep.services.workspace import Workspace
from smsweep.store.base import Store

OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which agents apply a change


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedSweep:
    """A sweep after `change`."""

    sweep: Sweep
    revision: ConfigRevision  # the newest one
    is_changed: bool  # False if the config had all the values before
    has_agents: bool  # an agent works on the sweep

    @property
    def hint(self) -> str:
        """How to continue a sweep that no agent continues; "" if agents apply the change, now or later."""
        if self.sweep.state in OPEN:
            if PARALLEL not in self.revision.changes or self.has_agents:
                return ""
            start = f"smsweep agent {self.sweep.id} --parallel {self.revision.changes[PARALLEL]}"
            return f"parallel changes only agents that run now, and there is none; start one with: {start}"
        resume = f"smsweep sweep --resume {self.sweep.id}; smsweep agent {self.sweep.id}"
        return f"the sweep is {self.sweep.state.value}; to run more trials: {resume}"


def change(sweep_id: str, changes: Iterable[Change]) -> ChangedSweep:
    """Change keys of a sweep's config, all or none. Running agents apply the change at their next poll.

    Args:
        sweep_id: Id of the sweep.
        changes: The changes, applied in their order.

    Raises:
        NotFound: If there is no such sweep.
        ConfigError: If a key cannot change, or the changed config is invalid.
        UsageError: If there is no change.
        SourceError: If a value contains a secret.
        StoreConflict: If the agent of a detached sweep refused the change.
    """
    wanted = list(changes)
    if not wanted:
        raise UsageError("nothing to change; write KEY=VALUE, such as run_cap=200")
    plain = [replace(each, value=from_mapping({each.key: each.value}).data[each.key]) for each in wanted]
    refuse_secrets(scan_text("the change", to_yaml({each.key: each.value for each in plain})))
    with Workspace().store() as store:
        before = store.get_sweep(parse_sweep_id(sweep_id))
        sweep = change_config(store, before.id, plain, user_name())
        newest = store.list_revisions(sweep.id)[-1]
        return ChangedSweep(
            sweep=sweep,
            revision=newest,
            is_changed=sweep.config_revision != before.config_revision,
            has_agents=any(map(is_working, store.list_agents(sweep.id))),
        )


def user_name() -> str:
    """Return the user of this process as USER@HOST."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for the user id
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def revision_of(store: Store, sweep_id: str, number: int) -> ConfigRevision:
    """Return a revision of a sweep's config. Raises NotFound if there is no such revision."""
    revisions = store.list_revisions(sweep_id)
    if not 1 <= number <= len(revisions):
        known = "only revision 1" if len(revisions) == 1 else f"revisions 1 to {len(revisions)}"
        raise NotFound(f"sweep {sweep_id} has no revision {number} of its config; it has {known}")
    return revisions[number - 1]


def revision_data(revision: ConfigRevision) -> RevisionDocument:
    """Return a revision as a JSON document."""
    return {
        "number": revision.number,
        "changes": dict(revision.changes),
        "changed_by": revision.changed_by,
        "changed_at": revision.changed_at.isoformat() if revision.changed_at else None,
        "first_number": revision.first_number,
    }
