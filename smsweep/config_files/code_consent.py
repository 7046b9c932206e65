"""Consent to code that a config names: it runs only if the user who starts smsweep allows it by its hash."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from smsweep.config_files.job_models import SECRET_REFERENCES
from smsweep.core.job import Hook
from smsweep.errors import ConfigError, docs_url

ALLOW = "SMSWEEP_ALLOW_CODE"  # environment: 1 for any code, or hashes of code, separated by commas or spaces
ANY = "1"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """Something that a config makes smsweep itself execute, or an environment variable that it sends away."""

    where: str  # file and key, such as "scheduler.source: space.py"
    what: str  # what it does, for a user who decides about it
    digest: str  # sha256:HEX of all that it consists of


def search_code(file: str, text: str) -> Code:
    """Return the program of `scheduler.source`. Its digest is what `sha256sum FILE` prints."""
    return Code(
        where=f"scheduler.source: {file}",
        what="runs inside smsweep, with all your rights",
        digest=digest_of(text),
    )


def hook_codes(hooks: Sequence[Hook]) -> list[Code]:
    """Return the hooks of a job.yaml that run a command, or send a secret of the agent's to a webhook."""
    codes = []
    for index, hook in enumerate(hooks):
        secrets = [value for value in hook.headers.values() if is_reference(value)]
        if hook.command:
            what = f"runs on the agent's machine, with all your rights: {shlex.join(hook.command)}"
        elif secrets:
            host = hook.url if is_reference(hook.url) else urlsplit(hook.url).hostname
            what = f"sends {', '.join(secrets)} to {host}"
        else:
            continue
        codes.append(Code(where=f"job.yaml: notify[{index}]", what=what, digest=f"sha256:{hook.digest}"))
    return codes


def refuse_code(codes: Iterable[Code], environ: Mapping[str, str]) -> None:
    """Raise ConfigError for each piece of code that `SMSWEEP_ALLOW_CODE` does not allow.

    The message names the file, the hash and the value to set.
    """
    value, known = environ.get(ALLOW, ""), list(codes)
    refused = [code for code in known if not is_allowed(code, environ)]
    if not refused:
        return
    allowed = _digests(value)
    needed = ",".join(dict.fromkeys([*allowed, *(code.digest for code in known)]))
    now = "" if value in ("", "0") or allowed else f", {value[:20]!r} allows nothing"
    how = f"read it, and if you trust it, set {ALLOW}={needed} ({ALLOW}={ANY} allows any code{now})"
    how += f"; see {docs_url('security#consent')}"
    raise ConfigError([f"{code.where}: it {code.what} ({code.digest}); {how}" for code in refused])


def is_allowed(code: Code, environ: Mapping[str, str]) -> bool:
    value = environ.get(ALLOW, "")
    return value == ANY or code.digest in _digests(value)


def _digests(value: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", value) if DIGEST.fullmatch(word)]


def allowing(codes: Iterable[Code]) -> str:
    """Return the value of `SMSWEEP_ALLOW_CODE` that allows this code and no other."""
    return ",".join(dict.fromkeys(code.digest for code in codes))


def is_reference(text: str) -> bool:
    """Return True for env:NAME and for the ARN of a secret."""
    return any(form.match(text) for form in SECRET_REFERENCES)


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
