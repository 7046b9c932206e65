"""Deliver events to commands and URLs in a separate thread, so that the agent never waits for them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep.core.job import Hook
from smsweep.util.terminal_text import clean

log = logging.getLogger(__name__)

PATIENCE_S = 90.0  # for pending deliveries when the agent exits

Resolve = Callable[[str], str]  # from a reference to its value; raises ValueError with a message for the user
Job = tuple[Hook, str, bytes]  # the hook, the event's id, the event
LONGEST_S = 60.0
MAX_LINE = 200  # characters of the last line of its output
CONNECT_S = 5.0
ANSWER_S = 10.0
PAUSES_S = (1.0, 4.0)  # before each retry
RETRY_STATUS = (429, 500, 502, 503, 504)  # answers of a server that has not accepted the event


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
            return run_command(hook.command, body, {**self._environ, "SMSWEEP_EVENT_ID": event_id})
        try:
            url = self._resolve(hook.url)
            headers = {name: self._resolve(value) for name, value in hook.headers.items()}
        except ValueError as err:
            return str(err)
        if not url.startswith(("http://", "https://")):
            return "its URL must begin with http:// or https://"

        return post(url, body, headers, event_id, time.sleep)


def run_command(argv: Sequence[str], body: bytes, environ: Mapping[str, str]) -> str:
    """Run a command with an event on its standard input. Never raises. It is killed after LONGEST_S seconds.

    No shell is involved. The command has its own process group, so that Ctrl-C in the terminal does not reach it.

    Returns:
        Why the command failed; "" if it exited with code 0.
    """
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as err:
        return f"{name}: cannot start: {getattr(err, 'strerror', None) or err}"
    try:
        output, _ = process.communicate(body, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"{name}: ran longer than {LONGEST_S:.0f} s and was killed"
    if not process.returncode:
        return ""
    last = (output.decode(errors="replace").strip().splitlines() or [""])[-1][:MAX_LINE]
    return f"{name}: exit code {process.returncode}{f': {last}' if last else ''}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=1)


def post(url: str, body: bytes, headers: Mapping[str, str], event_id: str, sleep: Callable[[float], None]) -> str:
    """Send an event as a POST request. Never raises.

    The request is retried only if the server cannot have accepted the event. Redirects are not followed, because
    they could send the event and the headers to another server.

    Args:
        url: The webhook.
        body: The event as JSON.
        headers: Additional headers.
        event_id: Sent as `Idempotency-Key`, the same in each try.
        sleep: Waits between tries.

    Returns:
        Why the event was not delivered; "" if it was. Names only the host of the URL.
    """
    host = urlsplit(url).hostname or "?"
    why = ""
    for pause_s in (0.0, *PAUSES_S):
        if pause_s:
            sleep(pause_s)
        why, can_retry = _try(url, body, headers, event_id)
        if not can_retry:
            break
    return f"webhook at {host}: {why}" if why else ""


def _try(url: str, body: bytes, headers: Mapping[str, str], event_id: str) -> tuple[str, bool]:
    """Return why it failed ("" if it did not), and whether to retry."""
    import requests  # slow to import, and only webhooks need it
    from urllib3.exceptions import MaxRetryError

    every = {"Content-Type": "application/json", "User-Agent": "smsweep", "Idempotency-Key": event_id, **headers}
    try:
        answer = requests.post(
            url, data=body, headers=every, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False, stream=True
        )
        answer.close()
    except requests.ConnectTimeout:
        return f"cannot be reached within {CONNECT_S:.0f} s", True
    except requests.ReadTimeout:
        return f"no answer within {ANSWER_S:.0f} s", False  # the server may have accepted the event
    except requests.exceptions.SSLError:
        return "its certificate is not trusted", False
    except requests.ConnectionError as err:
        if isinstance(err.args[0], MaxRetryError):  # there was no connection
            return "cannot be reached", True
        return "no answer, the connection was lost", False  # the server may have accepted the event
    except (requests.RequestException, ValueError, OSError) as err:
        return f"cannot be sent: {type(err).__name__}", False
    if 200 <= answer.status_code < 300:
        return "", False
    return f"answered {answer.status_code}", answer.status_code in RETRY_STATUS
