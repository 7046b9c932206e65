"""Notification hooks: parse them from --notify, SMSWEEP_NOTIFY and Python; the events that they receive."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from smsweep.config_files.job_models import SECRET_REFERENCES
from smsweep.config_files.job_yaml import parse_job
from smsweep.core.job import END, FAILURE, VARIABLE, Hook
from smsweep.core.json_documents import NotificationDocument, SweepDocument, TrialDocument
from smsweep.core.repeats import mean_text
from smsweep.errors import UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.secrets import ENV, PREFIX, with_secrets
from smsweep.util.terminal_text import clean, with_texts

NAMES: Mapping[str, Literal["sweep_end", "trial_failure"]] = {END: "sweep_end", FAILURE: "trial_failure"}
MAX_REASON = 500  # characters of a failure reason in the text
HookLike = str | Mapping[str, Any]


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
        value = mean_text(best) or format(best["objective"], ".6g")
        outcome = f"; best {sweep['id']}/{best['number']} with {clean(metric['name'])} {value}"
    return f"sweep {clean(name)} is {sweep['state']}: {counts}{outcome}"


def collect_hooks(also: Iterable[HookLike], environ: Mapping[str, str]) -> list[Hook]:
    """Return the hooks in `also` and those of SMSWEEP_NOTIFY (one per line). Raises UsageError, ConfigError."""
    return [
        parse_hook(each)
        for each in (*also, *(line for line in environ.get(VARIABLE, "").splitlines() if line.strip()))
    ]


def parse_hook(hook: HookLike) -> Hook:
    """Return a hook from a URL, a reference to a URL, a command line, or a mapping as in job.yaml.

    A command line is split into arguments like in a shell, but no shell runs it. Raises UsageError, ConfigError.
    """
    if isinstance(hook, Mapping):
        return parse_job({"notify": dict(hook)}).template.notify[0]
    text = hook.strip()
    if text.startswith(("http://", "https://")) or any(form.match(text) for form in SECRET_REFERENCES):
        return Hook(url=text)
    try:
        words = tuple(shlex.split(text))
    except ValueError as err:
        raise UsageError(f"--notify: not a valid command: {err}; correct the quotes") from err
    if not words or "://" in words[0]:
        raise UsageError("--notify: give http://..., https://..., env:NAME, an ARN of a secret, or a command")
    return Hook(command=words)


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """Return the text, or the secret that it refers to. Raises ValueError if the secret is not available."""
    if not any(form.match(text) for form in SECRET_REFERENCES):
        return text
    if text.startswith(ENV):
        value = environ.get(text.removeprefix(ENV))
        if not value:
            raise ValueError(f"{text.removeprefix(ENV)} is not set on the agent's machine; set it there")
        return value
    try:
        return with_secrets({**environ, f"{PREFIX}NOTIFY": text, "NOTIFY": ""}, os.devnull)["NOTIFY"]
    except JobFailure as err:
        raise ValueError(str(err)) from err


def values(hooks: Iterable[Hook], environ: Mapping[str, str]) -> Iterable[str]:
    """Return the values of the hooks' URLs and headers that this environment knows. They must not be shown."""
    for hook in hooks:
        for text in filter(None, (hook.url, *hook.headers.values())):
            yield environ.get(text.removeprefix(ENV), "") if text.startswith(ENV) else text
