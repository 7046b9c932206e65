"""The secrets that this machine knows, which must never be shown or stored."""

from __future__ import annotations

import configparser
import contextlib
import functools
import netrc
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError
from smsweep.runtime.job.secrets import ENV
from smsweep.secrets.redact import environment_secrets, redact
from smsweep.secrets.rules import looks_random

MIN_SURE = 16  # characters of a value that is a secret wherever it occurs
WANDB_KEY = "WANDB_API_KEY"
DEFAULT_HOST = "api.wandb.ai"
# The forms of a key that wandb accepts before it asks the server: at least 40 characters, with a prefix for a
# self-hosted server, or a JSON Web Token.
WANDB_KEY_FORM = re.compile(r"\w{40,}|[^-]*-[\w-]{40,}|[\w-]+\.[\w-]+\.[\w-]+")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedSecret:
    """A secret and its location. Only the location may be shown."""

    value: str
    where: str


def find_wandb_key(environ: Mapping[str, str]) -> LocatedSecret | None:
    """Return the key that `wandb.init()` uses on this machine: WANDB_API_KEY, wandb's settings, or netrc."""
    settings = _settings(environ)
    found = _variable(environ, WANDB_KEY)
    if found is None and settings.get("api_key"):
        found = LocatedSecret(value=settings["api_key"], where="wandb's settings")
    base_url = environ.get("WANDB_BASE_URL") or settings.get("base_url") or f"https://{DEFAULT_HOST}"
    return found or _netrc(environ, urlsplit(base_url).hostname or DEFAULT_HOST)


def _variable(environ: Mapping[str, str], name: str) -> LocatedSecret | None:
    return LocatedSecret(value=environ[name].strip(), where=name) if environ.get(name, "").strip() else None


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - pathlib raises without a home folder


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read wandb's settings files. Those of the working directory take precedence."""
    user = Path(environ.get("WANDB_CONFIG_DIR") or _home(environ) / ".config" / "wandb") / "settings"
    settings: dict[str, str] = {}
    for file in (user, Path("wandb") / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError) as err:
            raise ConfigError(
                f"{file}: not a valid settings file of wandb: {type(err).__name__}; correct it"
            ) from None
        if parser.has_section("default"):
            settings |= dict(parser["default"])
    return settings


def _netrc(environ: Mapping[str, str], host: str) -> LocatedSecret | None:
    home = _home(environ)
    candidates = [Path(environ["NETRC"])] if environ.get("NETRC") else [home / ".netrc", home / "_netrc"]
    for file in candidates:
        try:
            entry = netrc.netrc(file).authenticators(host)
        except OSError:  # missing or not readable
            continue
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: not a valid netrc file: it is not UTF-8 text; save it as UTF-8") from None
        except netrc.NetrcParseError as err:
            raise ConfigError(
                f"{file}:{err.lineno}: not a valid netrc file: {err.msg}; correct the line"
            ) from None  # the cause may quote a secret
        if entry and entry[2]:
            return LocatedSecret(value=entry[2], where=str(file))
    return None
