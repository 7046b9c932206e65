"""Give the files that a job wrote to the user who started it."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smsweep.runtime.opt_ml_layout import Layout

VARIABLE = "SMSWEEP_OWNER"  # uid:gid, set by `--backend docker` for a caller who is not root


def give_to_owner(layout: Layout, owner: str) -> None:
    """Change the owner of everything below the ml root except the inputs. Does nothing without an owner or root.

    Errors are ignored: the Docker backend, which sets the variable, checks the owner again.

    Args:
        layout: Paths of the job.
        owner: "uid:gid", or "".
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
