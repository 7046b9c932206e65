"""The secrets that this machine knows, which must never be shown or stored."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping

from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.runtime.job.secrets import ENV
from smsweep.secrets.redact import environment_secrets, redact
from smsweep.secrets.rules import looks_random
from smsweep.secrets.wandb_key import find_wandb_key

MIN_SURE = 16  # characters of a value that is a secret wherever it occurs


def known_secrets(environ: Mapping[str, str], template: JobTemplate | None = None) -> tuple[str, ...]:
    """Return the secrets that must not leave this machine in any file: values that nobody writes by chance.

    A variable that only its name marks as a secret counts only if its value looks random.
    """
    sure = {
        *_named(environ, template),
        environ.get("AWS_SECRET_ACCESS_KEY", ""),
        environ.get("AWS_SESSION_TOKEN", ""),
    }
    values = {value for value in sure if len(value) >= MIN_SURE}
    values |= {value for value in environment_secrets(environ) if looks_random(value)}
    return tuple(sorted(values))


def make_redact(
    environ: Mapping[str, str], template: JobTemplate | None = None, also: Iterable[str] = ()
) -> Callable[[str], str]:
    """Return a function that masks secrets in a text of any length.

    It masks the values of variables whose names mark them as secrets, the variables that the template's `secrets`
    refer to, the W&B key of this machine, and everything that has the form of a key. Values of secrets in AWS are
    not known, so only their form is masked.

    Args:
        environ: Environment of this machine.
        template: The sweep's job template.
        also: Further secrets.
    """
    named = {*_named(environ, template), *also}
    return functools.partial(redact, secrets=environment_secrets(environ, also=named))


def _named(environ: Mapping[str, str], template: JobTemplate | None) -> set[str]:
    """Return the values of the template's references on this machine, and the W&B key."""
    references = template.secrets.values() if template else ()
    named = {environ.get(reference.removeprefix(ENV), "") for reference in references if reference.startswith(ENV)}
    with contextlib.suppress(ConfigError):  # a broken netrc; code that needs the key reports it
        found = find_wandb_key(environ)
        named |= {found.value} if found else set()
    return named
