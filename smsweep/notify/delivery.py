"""Delivers events beside the agent's own work, which waits for none of it."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from smsweep.core.notify_hook import Hook
from smsweep.notify import command
from smsweep.util.terminal_text import clean

log = logging.getLogger(__name__)

PATIENCE_S = 90.0  # for what is under way when the agent leaves

Resolve = Callable[[str], str]  # from a reference to the value; raises ValueError with what a person should know
Job = tuple[Hook, str, bytes]  # whom to tell, the event's id, the event


class Courier:
    """One thread that tells hooks, one after the other; what goes wrong is a warning and nothing more."""

    def __init__(self, resolve: Resolve, environ: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._resolve = resolve
        self._environ = environ
        self._redact = redact
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def send(self, hook: Hook, event_id: str, event: Mapping[str, Any]) -> None:
        """Have an event delivered soon. Returns at once."""
        self._jobs.put((hook, event_id, json.dumps(event, default=str).encode()))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="smsweep-notify", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for what is under way, at most PATIENCE_S, or until Ctrl-C."""
        if self._thread is None:
            return
        self._jobs.put(None)
        try:
            self._thread.join(PATIENCE_S)
        except KeyboardInterrupt:
            log.warning("not waiting for notifications")
            return
        if self._thread.is_alive():
            log.warning("notifications take too long; not waiting for them")

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                why = self._deliver(*job)
            except Exception as err:  # noqa: BLE001 - whatever it is, the sweep goes on
                why = f"cannot be delivered: {type(err).__name__}"
            if why:
                log.warning("a notification got lost: %s", clean(self._redact(why)))

    def _deliver(self, hook: Hook, event_id: str, body: bytes) -> str:
        if hook.command:
            return command.run(hook.command, body, {**self._environ, "SMSWEEP_EVENT_ID": event_id})
        try:
            url = self._resolve(hook.url)
            headers = {name: self._resolve(value) for name, value in hook.headers.items()}
        except ValueError as err:
            return str(err)
        if not url.startswith(("http://", "https://")):
            return "its URL begins with neither http:// nor https://"
        from smsweep.notify.webhook import post  # urllib3 is slow to import

        return post(url, body, headers, event_id, time.sleep)
