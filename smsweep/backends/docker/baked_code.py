"""What an image brings at /opt/ml/code, AWS's own place for code, where the job's folder would hide it."""

from __future__ import annotations

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.containers import LABEL_FOLDER, remove
from smsweep.backends.docker.engine import is_missing
from smsweep.backends.docker.folder import JobFolder
from smsweep.backends.docker.images import inspect_image

ML = "/opt/ml"
CODE = f"{ML}/code"
ROOT = ("", "0", "root")
_bring_none: set[str] = set()  # ids of images that were looked into, and have no code


def bring_code(client: APIClient, image: str, container: str, folder: JobFolder, *, has_source: bool) -> None:
    """Copy an image's code into a container of the job that has not been started. No-op where it brings none.

    has_source: the job's own source comes on top, which only root may put among files of root's.
    """
    details = inspect_image(client, image)
    is_root = details["Config"].get("User", "").partition(":")[0] in ROOT
    if details["Id"] in _bring_none or (has_source and not is_root):
        return
    # One more container, because the job's shows what is mounted there.
    bare = client.create_container(image, command=["none"], labels={LABEL_FOLDER: str(folder.path)})["Id"]
    try:
        content, _ = client.get_archive(bare, CODE)
        client.put_archive(container, ML, content)
    except APIError as err:
        if not is_missing(err):
            raise
        _bring_none.add(details["Id"])
    finally:
        remove(client, bare)
