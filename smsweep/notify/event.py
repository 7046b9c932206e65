"""The events that hooks receive: one JSON object per event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from smsweep.core.json_documents import NotificationDocument, SweepDocument, TrialDocument
from smsweep.core.notify_hook import END, FAILURE
from smsweep.util.terminal_text import clean, with_texts

NAMES: Mapping[str, Literal["sweep_end", "trial_failure"]] = {END: "sweep_end", FAILURE: "trial_failure"}
MAX_REASON = 500  # characters of a failure reason in the text


def event(
    kind: str,
    sweep: SweepDocument,
    trial: TrialDocument | None,
    now: datetime,
    redact: Callable[[str], str],
) -> NotificationDocument:
    """Return an event as it is sent.

    Args:
        kind: END or FAILURE.
        sweep: The sweep, as in `smsweep show --json`.
        trial: The failed trial, as in `smsweep trials --json`. None at the end of a sweep.
        now: Time of the event.
        redact: Masks secrets in a text.

    Returns:
        The event. Its `text` is a summary in the format of Slack and compatible services.
    """
    document: NotificationDocument = {
        "text": "",
        "event": NAMES[kind],
        "time": now.isoformat(timespec="seconds"),
        "sweep": sweep,
    }
    if trial is not None:
        document["trial"] = trial
    document = with_texts(document, redact)
    document["text"] = slack(_text(document))
    return document


def slack(text: str) -> str:
    """Return text without mentions and links for Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(document: NotificationDocument) -> str:
    sweep = document["sweep"]
    name = f"{sweep['name']} ({sweep['id']})" if sweep["name"] else sweep["id"]
    if "trial" in document:
        trial = document["trial"]
        lines = (trial["reason"] or f"exit code {trial['exit_code']}").splitlines()
        reason = "\n".join(clean(line) for line in lines)[:MAX_REASON]
        return f"sweep {clean(name)}: trial {sweep['id']}/{trial['number']} {trial['state']}: {reason}"
    states = sorted(sweep["trials"], key=lambda state: state != "finished")  # finished trials first
    counts = ", ".join(f"{sweep['trials'][state]} {state}" for state in states) or "no trials"
    best, metric = sweep["best"], sweep["metric"]
    outcome = ""
    if best and metric:
        outcome = f"; best {sweep['id']}/{best['number']} with {clean(metric['name'])} {best['objective']:.6g}"
    return f"sweep {clean(name)} is {sweep['state']}: {counts}{outcome}"
