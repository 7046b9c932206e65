"""Logs of trials in pages, for readers who come again: backends stay open between two pages."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, closing

from smsweep.backends.base import Backend
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.core.json_documents import LogPage
from smsweep.core.sweep import Sweep
from smsweep.errors import UsageError
from smsweep.secrets.known import make_redact
from smsweep.services.backends import backend_name, open_backend
from smsweep.services.views.logs import NO_LOG, without_records
from smsweep.services.workspace import Workspace


class LogPages:
    """Reads pages from several threads; opens a backend when the first log of it is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._opened = ExitStack()
        self._backends: dict[str, tuple[Backend, threading.Lock]] = {}
        self._lock = threading.Lock()

    def page(self, sweep: Sweep, job_name: str, place: str, cursor: str) -> LogPage:
        """Return the next `lines` of a job's log, secrets masked, and the `cursor` to go on from.

        cursor: "" for the beginning, else that of the page before; of another attempt's job, it begins anew and
        `is_new` tells so. is_last: the job has ended and this is the end of its log. note: where it lies
        instead, or why there is none. Raises JobError, UsageError.
        """
        known, _, inner = cursor.partition("|")
        is_new = known != job_name
        if not job_name:
            return {"lines": [], "cursor": "", "is_new": is_new, "is_last": False, "note": ""}
        kind, _, host = place.partition("@")
        if kind not in BACKENDS:
            return {"lines": [], "cursor": "", "is_new": is_new, "is_last": True, "note": NO_LOG}
        is_local = backend_spec(kind).is_local
        backend, lock = self._backend(backend_name(kind, self._workspace))
        with lock:  # not every backend's client may be used by two at once
            try:
                if not is_local:
                    backend.describe([job_name])
                page = backend.read_logs(job_name, "" if is_new else inner)
            except ValueError as err:
                raise UsageError(f"{cursor!r}: no place in a log; begin without one") from err
        redact = make_redact(self._workspace.environ, sweep.job)
        lines = redact("\n".join(page.lines)).split("\n") if page.lines else []  # at once: a key may span several
        return {
            "lines": list(without_records(lines)),
            "cursor": f"{job_name}|{page.cursor}",
            "is_new": is_new,
            "is_last": page.is_last,
            "note": "" if page.cursor or not is_local or host == socket.gethostname() else f"it lies on {host}",
        }

    def close(self) -> None:
        self._opened.close()

    def _backend(self, name: str) -> tuple[Backend, threading.Lock]:
        with self._lock:
            if name not in self._backends:
                opened = self._opened.enter_context(closing(open_backend(name, self._workspace, only_reads=True)))
                self._backends[name] = opened, threading.Lock()
            return self._backends[name]
