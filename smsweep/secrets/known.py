"""What must never be shown or stored of what a script says: the secrets that this machine knows."""

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

MIN_SURE = 16  # characters of what is taken for a secret wherever it stands


def known_secrets(environ: Mapping[str, str], template: JobTemplate | None = None) -> tuple[str, ...]:
    """Return what must not leave this machine, wherever it stands: nobody writes such a value by chance.

    Of what an environment's names call secret only what looks drawn by chance: a person's word may be in any file.
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
    """Return a function that masks secrets in a text, one line or a million. also: values known to be some.

    They are what an environment's names call secret, what the template's `secrets` refer to in it, the W&B key of
    this machine, and whatever has the form of a key. Secrets kept in AWS are not known here, only their form.
    """
    named = {*_named(environ, template), *also}
    return functools.partial(redact, secrets=environment_secrets(environ, also=named))


def _named(environ: Mapping[str, str], template: JobTemplate | None) -> set[str]:
    """Return what a template refers to here, and the W&B key."""
    references = template.secrets.values() if template else ()
    named = {environ.get(reference.removeprefix(ENV), "") for reference in references if reference.startswith(ENV)}
    with contextlib.suppress(ConfigError):  # of a broken netrc; whoever needs the key will hear of it
        found = find_wandb_key(environ)
        named |= {found.value} if found else set()
    return named
