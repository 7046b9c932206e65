"""What must never be shown or stored of what a script says: the secrets that this machine knows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping

from smsweep.errors import ConfigError
from smsweep.jobs import JobTemplate
from smsweep.sdk.auth import find_wandb_key
from smsweep.source.redaction import environment_secrets, redact

ENV = "env:"  # of a reference in job.yaml's `secrets` to a variable here


def make_redact(
    environ: Mapping[str, str], template: JobTemplate | None = None, also: Iterable[str] = ()
) -> Callable[[str], str]:
    """Return a function that masks secrets in a text, one line or a million. also: values known to be some.

    They are what an environment's names call secret, what the template's `secrets` refer to in it, the W&B key of
    this machine, and whatever has the form of a key. Secrets kept in AWS are not known here, only their form.
    """
    references = template.secrets.values() if template else ()
    named = {environ.get(reference.removeprefix(ENV), "") for reference in references if reference.startswith(ENV)}
    named |= set(also)
    with contextlib.suppress(ConfigError):  # of a broken netrc; whoever needs the key will hear of it
        found = find_wandb_key(environ)
        named |= {found.value} if found else set()
    return functools.partial(redact, secrets=environment_secrets(environ, also=named))
