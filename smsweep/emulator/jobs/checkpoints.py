"""Synchronization of a job's checkpoints with S3."""

from __future__ import annotations

import logging
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.emulator.jobs.s3 import S3
from smsweep.errors import JobError

log = logging.getLogger(__name__)

Version = tuple[int, int]  # (time of the last change in ns, size in bytes)


class Checkpoints:
    """Checkpoints of one job.

    They are downloaded once, before the job starts. Later changes and deletions are uploaded.

    Args:
        folder: The job's checkpoint folder.
        uri: S3 URI of the checkpoints.
        s3: Access to the emulator's S3.
    """

    def __init__(self, folder: Path, uri: str, s3: S3) -> None:
        self.folder = folder
        self._uri = uri.rstrip("/")
        self._s3 = s3
        self._known: dict[str, Version] = {}  # path below folder -> version in S3

    def restore(self) -> None:
        """Download the checkpoints."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # the container can run as another user
        self._s3.place.download(self._uri, self.folder)
        self._known = self._present()

    def sync(self) -> None:
        """Upload changed files and delete removed ones. The next call retries what fails."""
        present = self._present()
        for path, version in present.items():
            if self._known.get(path) != version and self._upload(path):
                self._known[path] = version
        for path in self._known.keys() - present.keys():
            if self._delete(path):
                del self._known[path]

    def _present(self) -> dict[str, Version]:
        found = {}
        for path in self.folder.rglob("*"):
            try:
                if path.is_file():
                    stat = path.stat()
                    found[path.relative_to(self.folder).as_posix()] = (stat.st_mtime_ns, stat.st_size)
            except OSError:
                continue  # the job has deleted the file
        return found

    def _upload(self, path: str) -> bool:
        try:
            self._s3.place.upload(self.folder / path, f"{self._uri}/{path}")
        except (OSError, JobError) as err:
            log.debug("checkpoint %s: %s", path, err)
            return False
        return True

    def _delete(self, path: str) -> bool:
        try:
            self._s3.delete(f"{self._uri}/{path}")
        except (BotoCoreError, ClientError) as err:
            log.debug("checkpoint %s: %s", path, err)
            return False
        return True
