"""What is told: one JSON object for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from smsweep.core.json_documents import NotificationDocument, SweepDocument, TrialDocument
from smsweep.core.notify_hook import END, FAILURE
from smsweep.util.terminal_text import clean, with_texts

NAMES: Mapping[str, Literal["sweep_end", "trial_failure"]] = {END: "sweep_end", FAILURE: "trial_failure"}
MAX_REASON = 500  # characters of a failure's reason in the text


def event(
    kind: str,
    sweep: SweepDocument,
    trial: TrialDocument | None,
    now: datetime,
    redact: Callable[[str], str],
) -> NotificationDocument:
    """Return an event as it is sent.

    sweep: as `smsweep show --json`. trial: that failed, as `smsweep trials --json`; None at the end of a sweep.
    `text` is for people, in the way that Slack and those that speak like it read it.
    """
    told: NotificationDocument = {
        "text": "",
        "event": NAMES[kind],
        "time": now.isoformat(timespec="seconds"),
        "sweep": sweep,
    }
    if trial is not None:
        told["trial"] = trial
    told = with_texts(told, redact)
    told["text"] = slack(_text(told))
    return told


def slack(text: str) -> str:
    """Return text in which nothing is a mention or a link to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(told: NotificationDocument) -> str:
    sweep = told["sweep"]
    name = f"{sweep['name']} ({sweep['id']})" if sweep["name"] else sweep["id"]
    if "trial" in told:
        trial = told["trial"]
        lines = (trial["reason"] or f"exit code {trial['exit_code']}").splitlines()
        reason = "\n".join(clean(line) for line in lines)[:MAX_REASON]
        return f"sweep {clean(name)}: trial {sweep['id']}/{trial['number']} {trial['state']}: {reason}"
    states = sorted(sweep["trials"], key=lambda state: state != "finished")  # good news first
    counts = ", ".join(f"{sweep['trials'][state]} {state}" for state in states) or "no trials"
    best, metric = sweep["best"], sweep["metric"]
    found = ""
    if best and metric:
        found = f"; best {sweep['id']}/{best['number']} with {clean(metric['name'])} {best['objective']:.6g}"
    return f"sweep {clean(name)} is {sweep['state']}: {counts}{found}"
