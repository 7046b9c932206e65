"""A trial's checkpoints: there before its job starts, kept after it ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from smsweep.backends.docker.containers import Bind
from smsweep.backends.docker.places import Place
from smsweep.backends.docker.places.files import local_path
from smsweep.jobs import TrainingJobRequest

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
        self.folder = local_path(self._uri) if self._is_local else ml / "checkpoints"

    def restore(self) -> None:
        if self._is_local:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif self._uri:
            self._place(self._uri).download(self._uri, self.folder)
        if self._uri:
            _open_to_all(self.folder)

    def binds(self) -> list[Bind]:
        return [Bind(source=self.folder, target=self._target, is_read_only=False)] if self._uri else []

    def keep(self) -> None:
        if self._uri and not self._is_local:
            self._place(self._uri).upload(self.folder, self._uri)


def _open_to_all(folder: Path) -> None:
    """Let the image's user, who need not be root, go on with files that are the caller's by now."""
    for parent, _, files in os.walk(folder):
        _allow(Path(parent), 0o777)
        for file in files:
            _allow(Path(parent, file), 0o666)


def _allow(path: Path, bits: int) -> None:
    with suppress(PermissionError):  # not ours: an earlier container's, whose user has it still
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | bits)
