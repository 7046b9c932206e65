"""POST an event to a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import MaxRetryError

CONNECT_S = 5.0
ANSWER_S = 10.0
PAUSES_S = (1.0, 4.0)  # before each further try
AGAIN = (429, 500, 502, 503, 504)  # answers that say it was not taken


def post(url: str, body: bytes, headers: Mapping[str, str], event_id: str, sleep: Callable[[float], None]) -> str:
    """Return why the event did not arrive; "" when it did. Never raises, and never names the URL but its host.

    Tried again only where the other side cannot have taken it: it could not be reached, or said so.
    event_id: sent as `Idempotency-Key`, the same at each try. Redirects are not followed: they would lead the
    event, and the headers, to somebody else.
    """
    host = urlsplit(url).hostname or "?"
    why = ""
    for pause_s in (0.0, *PAUSES_S):
        if pause_s:
            sleep(pause_s)
        why, is_worth_it = _try(url, body, headers, event_id)
        if not is_worth_it:
            break
    return f"webhook at {host}: {why}" if why else ""


def _try(url: str, body: bytes, headers: Mapping[str, str], event_id: str) -> tuple[str, bool]:
    """Return why it failed, or "", and whether to try again."""
    every = {"Content-Type": "application/json", "User-Agent": "smsweep", "Idempotency-Key": event_id, **headers}
    try:
        answer = requests.post(
            url, data=body, headers=every, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False, stream=True
        )
        answer.close()
    except requests.ConnectTimeout:
        return f"cannot be reached within {CONNECT_S:.0f} s", True
    except requests.ReadTimeout:
        return f"no answer within {ANSWER_S:.0f} s", False  # it may have taken it
    except requests.exceptions.SSLError:
        return "its certificate is not to be trusted", False
    except requests.ConnectionError as err:
        if isinstance(err.args[0], MaxRetryError):  # no connection came about
            return "cannot be reached", True
        return "no answer, its connection broke", False  # it may have taken it, too
    except (requests.RequestException, ValueError, OSError) as err:
        return f"cannot be sent: {type(err).__name__}", False
    if 200 <= answer.status_code < 300:
        return "", False
    return f"answered {answer.status_code}", answer.status_code in AGAIN
