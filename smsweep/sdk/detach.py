"""An agent that stays when its terminal closes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from smsweep.fleet.daemon import Daemon as Daemon
from smsweep.fleet.daemon import leave_behind
from smsweep.hooks import VARIABLE
from smsweep.sdk.labels import parse_sweep_id
from smsweep.sdk.workspace import Workspace

PATIENCE_S = 5.0  # for the agent's first claim


def detach(sweep_id: str, arguments: Sequence[str] = (), notify: Sequence[str] = ()) -> Daemon:
    """Leave an agent on a sweep behind on this machine, with its log in SMSWEEP_DIR/agents/ID.

    arguments: of `smsweep agent`. notify: its --notify, kept out of the list of processes. All about
    the sweep is in its store as ever, for any command.
    Raises NotFound, and SmsweepError when the agent ends at once.
    """
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    with workspace.store() as store:
        before = store.holders(sweep_id)
        return leave_behind(
            [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id, *arguments],
            workspace.dir / "agents" / sweep_id,
            {**workspace.environ, "SMSWEEP_DIR": str(workspace.dir), **_hooks(notify, workspace.environ)},
            lambda: bool(store.holders(sweep_id) - before),
            PATIENCE_S,
        )


def _hooks(notify: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    every = [*filter(None, [environ.get(VARIABLE)]), *notify]
    return {VARIABLE: "\n".join(every)} if every else {}
