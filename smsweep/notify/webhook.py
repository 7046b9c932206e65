"""Send an event to a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import MaxRetryError

CONNECT_S = 5.0
ANSWER_S = 10.0
PAUSES_S = (1.0, 4.0)  # before each retry
RETRY_STATUS = (429, 500, 502, 503, 504)  # answers of a server that has not accepted the event


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
