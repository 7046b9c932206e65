"""A trial's checkpoints: there before its job starts, kept after it ends, however it ends."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from smsweep.backends.docker.containers import Bind
from smsweep.backends.local.opt_ml import FORBIDDEN
from smsweep.backends.local.permissions import open_to_all
from smsweep.backends.local.storage import Place
from smsweep.backends.local.storage.files import local_path
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import JobRejected

DEFAULT_PATH = "/opt/ml/checkpoints"


class Checkpoints:
    """A local folder is shown to the container as it is, and so is always up to date; S3 is copied from and to."""

    def __init__(self, request: TrainingJobRequest, ml: Path, place: Callable[[str], Place]) -> None:
        """ml: the first host's tree, which holds the copy of what is in S3."""
        config = request.get("CheckpointConfig", {})
        self._uri = str(config.get("S3Uri", ""))
        self._target = str(config.get("LocalPath", DEFAULT_PATH))
        self._place = place
        self._is_local = urlsplit(self._uri).scheme == "file"
        self.is_copy = bool(self._uri) and not self._is_local  # of what is in S3
        self.folder = local_path(self._uri) if self._is_local else ml / "checkpoints"
        self._restored = ml.parent / "restored.json"  # the paths of what came from S3

    def restore(self, check: Callable[[], None]) -> None:
        """check: called now and then; what it raises ends the wait."""
        if self._is_local:
            _make(self.folder)
        elif self.is_copy:
            self._place(self._uri).download(self._uri, self.folder, check)
            names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
            self._restored.write_text(json.dumps(names), encoding="utf-8")
        if self._uri:
            # So that the image's user can go on with files that are the caller's by now.
            open_to_all(self.folder, folders=0o777, files=0o666)

    def binds(self) -> list[Bind]:
        return [Bind(source=self.folder, target=self._target, is_read_only=False)] if self._uri else []

    def keep(self) -> None:
        """Bring S3 up to date: what the job removed of what it was given goes there, too, as on SageMaker."""
        if self.is_copy:
            place = self._place(self._uri)
            place.upload(self.folder, self._uri)
            place.remove(self._uri, self._removed())

    def _removed(self) -> list[str]:
        if not self._restored.exists() or not self.folder.is_dir():
            return []
        names = json.loads(self._restored.read_text(encoding="utf-8"))
        return [name for name in names if _is_gone(self.folder / name)]


def _make(folder: Path) -> None:
    """Raises JobRejected where waiting does not help."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        if err.errno not in (*FORBIDDEN, errno.EEXIST):
            raise
        raise JobRejected(f"checkpoints: {folder}: {err.strerror}; name a folder that you may write to") from err


def _is_gone(path: Path) -> bool:
    """Tell whether a file is there no more: one that only cannot be seen is not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
