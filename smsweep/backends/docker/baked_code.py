"""What an image brings at /opt/ml/code, AWS's own place for code, where the job's folder would hide it."""

from __future__ import annotations

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.containers import LABEL_FOLDER, remove
from smsweep.backends.docker.engine import is_missing
from smsweep.backends.docker.folder import JobFolder

ML = "/opt/ml"
CODE = f"{ML}/code"


def bring_code(client: APIClient, image: str, container: str, folder: JobFolder) -> None:
    """Copy an image's code into a container of the job that has not been started. No-op where it brings none."""
    # One more container, because the job's shows what is mounted there.
    bare = client.create_container(image, command=["none"], labels={LABEL_FOLDER: str(folder.path)})["Id"]
    try:
        content, _ = client.get_archive(bare, CODE)
        client.put_archive(container, ML, content)
    except APIError as err:
        if not is_missing(err):
            raise
    finally:
        remove(client, bare)
