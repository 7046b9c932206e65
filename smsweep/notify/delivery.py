"""Deliver events in a separate thread, so that the agent never waits for them."""

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

PATIENCE_S = 90.0  # for pending deliveries when the agent exits

Resolve = Callable[[str], str]  # from a reference to its value; raises ValueError with a message for the user
Job = tuple[Hook, str, bytes]  # the hook, the event's id, the event


class DeliveryThread:
    """Delivers events to hooks in one thread, one after the other. A failure is logged as a warning."""

    def __init__(self, resolve: Resolve, environ: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._resolve = resolve
        self._environ = environ
        self._redact = redact
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def send(self, hook: Hook, event_id: str, event: Mapping[str, Any]) -> None:
        """Queue an event for delivery. Returns at once."""
        self._jobs.put((hook, event_id, json.dumps(event, default=str).encode()))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="smsweep-notify", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for pending deliveries, at most PATIENCE_S seconds, or until Ctrl-C."""
        if self._thread is None:
            return
        self._jobs.put(None)
        try:
            self._thread.join(PATIENCE_S)
        except KeyboardInterrupt:
            log.warning("not waiting for pending notifications")
            return
        if self._thread.is_alive():
            log.warning("notifications take longer than %.0f s; not waiting for them", PATIENCE_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                why = self._deliver(*job)
            except Exception as err:  # noqa: BLE001 - no error may stop the sweep
                why = f"cannot be delivered: {type(err).__name__}"
            if why:
                log.warning("a notification was not delivered: %s", clean(self._redact(why)))

    def _deliver(self, hook: Hook, event_id: str, body: bytes) -> str:
        if hook.command:
            return command.run(hook.command, body, {**self._environ, "SMSWEEP_EVENT_ID": event_id})
        try:
            url = self._resolve(hook.url)
            headers = {name: self._resolve(value) for name, value in hook.headers.items()}
        except ValueError as err:
            return str(err)
        if not url.startswith(("http://", "https://")):
            return "its URL must begin with http:// or https://"
        from smsweep.notify.webhook import post  # urllib3 is slow to import

        return post(url, body, headers, event_id, time.sleep)
