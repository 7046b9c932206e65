"""Parse hooks from --notify, SMSWEEP_NOTIFY and Python, and resolve their references on this machine."""

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
