"""Files that a container wrote, handed back to the person who ran it.

A container runs as root, or as whoever its image says, just as on SageMaker; running it as the caller instead
would break images that count on that. So its files become the caller's only afterwards. Our runtime sees to that
as its last act; where it could not (killed, another entrypoint, no root), one more container does, for a moment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.containers import LABEL_FOLDER, Bind, mount, remove
from smsweep.backends.docker.engine import EngineFacts, is_missing, said
from smsweep.backends.docker.images import NOT_FOUND

log = logging.getLogger(__name__)

CHOWN = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
for root in sys.argv[3:]:
    os.lchown(root, uid, gid)
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            os.lchown(os.path.join(folder, name), uid, gid)
"""


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
    # A job's image has a python3, or a `train` of its own and then most often a shell's tools.
    for command in (["chown", "-hR", f"{uid}:{gid}"], ["python3", "-c", CHOWN, str(uid), str(gid)]):
        try:
            _run(client, job, image, [*command, *targets], binds, facts)
            return
        except APIError as err:
            if not (is_missing(err) or NOT_FOUND.search(said(err))):
                raise
    log.warning("%s: files that its container wrote stay another user's: image %s has no chown", job.name, image)


def _run(
    client: APIClient, job: Path, image: str, command: list[str], binds: list[Bind], facts: EngineFacts
) -> None:
    made = client.create_container(
        image,
        entrypoint=command,
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
