"""Hooks as --notify, SMSWEEP_NOTIFY and Python give them, and what their references lead to here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from smsweep.config_files.job_models import SECRET_REFERENCES
from smsweep.config_files.job_yaml import parse_job
from smsweep.core.notify_hook import VARIABLE, Hook
from smsweep.errors import UsageError
from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.job.secrets import ENV, PREFIX, with_secrets

HookLike = str | Mapping[str, Any]


def given_hooks(also: Iterable[HookLike], environ: Mapping[str, str]) -> list[Hook]:
    """Return the hooks in `also` and those of SMSWEEP_NOTIFY, one a line. Raises UsageError, ConfigError."""
    return [
        parse_hook(each)
        for each in (*also, *(line for line in environ.get(VARIABLE, "").splitlines() if line.strip()))
    ]


def parse_hook(given: HookLike) -> Hook:
    """Return a hook as --notify takes it (a URL, a reference to one, or a command line), or as job.yaml does.

    A command line is cut into words as a shell would; no shell runs it. Raises UsageError, ConfigError.
    """
    if isinstance(given, Mapping):
        return parse_job({"notify": dict(given)}).template.notify[0]
    text = given.strip()
    if text.startswith(("http://", "https://")) or any(form.match(text) for form in SECRET_REFERENCES):
        return Hook(url=text)
    try:
        words = tuple(shlex.split(text))
    except ValueError as err:
        raise UsageError(f"--notify: cannot be read as a command: {err}") from err
    if not words or "://" in words[0]:
        raise UsageError("--notify: give http://..., https://..., env:NAME, an ARN of a secret, or a command")
    return Hook(command=words)


def resolve(text: str, environ: Mapping[str, str]) -> str:
    """Return a text itself, or the secret that it refers to. Raises ValueError for one that cannot be had."""
    if not any(form.match(text) for form in SECRET_REFERENCES):
        return text
    if text.startswith(ENV):
        value = environ.get(text.removeprefix(ENV))
        if not value:
            raise ValueError(f"{text.removeprefix(ENV)} is not set where the agent runs")
        return value
    try:
        return with_secrets({**environ, f"{PREFIX}NOTIFY": text, "NOTIFY": ""}, os.devnull)["NOTIFY"]
    except JobFailure as err:
        raise ValueError(str(err)) from err


def values(hooks: Iterable[Hook], environ: Mapping[str, str]) -> Iterable[str]:
    """Return what the hooks' URLs and headers are, as far as this environment knows: nothing to show."""
    for hook in hooks:
        for text in filter(None, (hook.url, *hook.headers.values())):
            yield environ.get(text.removeprefix(ENV), "") if text.startswith(ENV) else text
