"""Files that a container wrote, handed back to the person who ran it.

A container runs as root, or as whoever its image says, just as on SageMaker; running it as the caller instead
would break images that count on that. So its files become the caller's only afterwards. Our runtime sees to that
as its last act; where it could not (killed, another entrypoint, no root), one more container does, for a moment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from docker import APIClient

from smsweep.backends.docker.containers import LABEL_FOLDER, Bind, mount, remove
from smsweep.backends.docker.engine import EngineFacts


def give_back(
    client: APIClient, job: Path, image: str, folders: Sequence[Path], facts: EngineFacts, *, uid: int, gid: int
) -> None:
    """Make everything below the folders uid's own, where it is not. Costs a container only when something is not.

    job: its folder.
    Nothing to do for root, who may read and delete anything, nor where the engine maps its root to the caller.
    """
    if uid == 0 or facts.maps_root_to_caller or not any(_has_foreign(folder, uid) for folder in folders):
        return
    targets = [f"/mnt/{number}" for number in range(len(folders))]
    binds = [Bind(source=s, target=t, is_read_only=False) for s, t in zip(folders, targets, strict=True)]
    made = client.create_container(
        image,
        entrypoint=["chown", "-hR", f"{uid}:{gid}", *targets],
        user="0",
        labels={LABEL_FOLDER: str(job)},  # by which it goes with the job's others, should we be killed
        host_config=client.create_host_config(
            network_mode="none",
            mounts=[mount(bind) for bind in binds],
            userns_mode="host" if facts.remaps_users else None,
        ),
    )
    try:
        client.start(made["Id"])
        client.wait(made["Id"])
    finally:
        remove(client, made["Id"])


def _has_foreign(folder: Path, uid: int) -> bool:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.lstat(os.path.join(parent, name)).st_uid != uid:  # noqa: PTH118 - once per file
                return True
    return False
