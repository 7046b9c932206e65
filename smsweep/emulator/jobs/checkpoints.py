"""A job's checkpoints, kept equal to what is below their S3 prefix while it runs."""

from __future__ import annotations

import logging
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.emulator.jobs.s3 import S3
from smsweep.errors import JobError

log = logging.getLogger(__name__)

Version = tuple[int, int]  # when a file was changed, in ns, and its size


class Checkpoints:
    """folder: what the job sees. Files come from S3 once, at the start; later changes go there, deletions too."""

    def __init__(self, folder: Path, uri: str, s3: S3) -> None:
        self.folder = folder
        self._uri = uri.rstrip("/")
        self._s3 = s3
        self._known: dict[str, Version] = {}  # path below folder -> what S3 has of it

    def restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # a container's user need not be ours
        self._s3.place.download(self._uri, self.folder)
        self._known = self._present()

    def sync(self) -> None:
        """Bring S3 up to date. What cannot be read or sent now is tried again the next time."""
        present = self._present()
        for path, version in present.items():
            if self._known.get(path) != version and self._send(path):
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
                continue  # gone meanwhile
        return found

    def _send(self, path: str) -> bool:
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
