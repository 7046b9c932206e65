"""Hand what a job wrote back to the person whose machine it runs on."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smsweep.runtime.opt_ml_layout import Layout

VARIABLE = "SMSWEEP_OWNER"  # uid:gid, set by `--backend docker` for a caller who is not root


def hand_over(layout: Layout, owner: str) -> None:
    """Give everything below the ml root, but not the inputs, to owner; no-op without one, or when not root.

    What cannot be given is left: whoever set the variable looks again.
    """
    if not owner or os.getuid() != 0:
        return
    uid, _, gid = owner.partition(":")
    for top in (layout.checkpoints, layout.code, layout.model, layout.output, layout.params):
        _give(top, int(uid), int(gid))
        for folder, folders, files in os.walk(top):
            for name in folders + files:
                _give(os.path.join(folder, name), int(uid), int(gid))


def _give(path: str, uid: int, gid: int) -> None:
    with contextlib.suppress(OSError):
        os.chown(path, uid, gid, follow_symlinks=False)
