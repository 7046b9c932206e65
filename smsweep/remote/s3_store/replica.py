"""Copies of stores that are kept in S3, to read in: fetched when there is a newer one."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from smsweep.errors import StoreError
from smsweep.remote.s3_store.s3_object import Shelf
from smsweep.remote.s3_store.sqlite_backup import check_copy
from smsweep.store.base import ParseStored, Store
from smsweep.store.open import open_store
from smsweep.util.atomic_file import write_text

KNOWN = "known.json"  # which version the newest copy is


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """One that can be read."""

    store: Store
    file: Path
    written_at: datetime
    trouble: str = ""  # why it may not be the newest


class Copies:
    """Of one sweep. folder: for the files; several processes may use it."""

    def __init__(self, folder: Path, shelf: Shelf, parse: ParseStored) -> None:
        self._folder = folder
        self._shelf = shelf
        self._parse = parse
        self._open: Copy | None = None

    def newest(self) -> Copy:
        """Return the newest copy there is; an older one, with the trouble, where S3 cannot be asked.

        Raises StoreUnavailable, StoreError, NotFound without any copy.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        etag, name, written_at = self._known()
        draft = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.db"
        trouble = ""
        try:
            version = self._shelf.fetch(draft, known=etag)
            if version is not None:
                check_copy(draft, self._shelf.uri)
                opened = self._open_file(draft)  # first: one that cannot be read does not replace one that can
                self._keep(version.etag, draft.name, version.written_at)
                self.close()
                self._open = Copy(store=opened, file=draft, written_at=version.written_at)
                return self._open
        except StoreError as err:
            draft.unlink(missing_ok=True)
            if not name:
                raise
            trouble = str(err)
        if self._open is None or self._open.file.name != name:
            self.close()
            file = self._folder / name
            self._open = Copy(store=self._open_file(file), file=file, written_at=written_at)
        return replace(self._open, trouble=trouble) if trouble else self._open

    def forget(self) -> None:
        """Have the next reader fetch a fresh copy: this one was written to."""
        self.close()
        (self._folder / KNOWN).unlink(missing_ok=True)

    def close(self) -> None:
        if self._open is not None:
            self._open.store.close()
            self._open = None

    def _open_file(self, file: Path) -> Store:
        return open_store(f"sqlite:///{file}", environ={}, parse=self._parse)

    def _known(self) -> tuple[str, str, datetime]:
        try:
            known = json.loads((self._folder / KNOWN).read_text(encoding="utf-8"))
            if (self._folder / known["file"]).exists():
                return known["etag"], known["file"], datetime.fromisoformat(known["written_at"])
        except (OSError, ValueError, KeyError):
            pass
        return "", "", datetime.now(timezone.utc)

    def _keep(self, etag: str, name: str, written_at: datetime) -> None:
        known = {"etag": etag, "file": name, "written_at": written_at.isoformat()}
        write_text(self._folder / KNOWN, json.dumps(known))
        for old in self._folder.glob("*.db*"):
            if not old.name.startswith(name):
                with suppress(OSError):  # whoever still reads it keeps it open
                    old.unlink()
