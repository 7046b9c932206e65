"""Mask secrets in output: the secrets that this machine knows, the W&B key, and those that a job refers to."""

from __future__ import annotations

import configparser
import contextlib
import functools
import json
import netrc
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.errors import ConfigError, JobRejected
from smsweep.runtime.job.secrets import ENV, PREFIX
from smsweep.secrets.rules import LOGINS, SHAPES, URL_PASSWORD, is_likely_random, is_placeholder
from smsweep.secrets.scan import find_spans, secret_spans

MASK = "***"
MIN_LENGTH = 8  # characters of a value that only its name marks as a secret; shorter values occur in any text
MIN_LENGTH_KNOWN = 4  # of a value that the user has declared to be a secret

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:key|apikey|token|secret|password|passwd|passphrase|credentials?|access_key_id)$"
)
# Names of params and options whose values can be secrets.
_NAMES_SECRET = re.compile(
    r"(?i)(?P<sure>passw(?:or)?d|passphrase|secret|credential|(?:api|access|auth|private)[_-]?key)|token(?!iz)"
)
_ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]{3,100})[\"']?[ \t]{0,9}[=:][ \t]{0,9}[\"']?(?=[\w+/=.~!@#%^&*:-]{8})"
)
_VALUE = re.compile(r"[\w+/=.~!@#%^&*:-]{8,}")
_CODE = ("(", "[", "{", "$")  # what follows is an expression, such as `token = os.environ["X"]`
_VALUES = ("a", "b", "value", "values")  # keys with the value of a name, in a config and in a table of differences
_WORDS = re.compile(r"[A-Za-z_.-]+")  # SORT_KEY=val_loss is not a secret key
_NUMBER = re.compile(r"[0-9.]+")
MIN_SURE = 16  # characters of a value that is a secret wherever it occurs
WANDB_KEY = "WANDB_API_KEY"
DEFAULT_HOST = "api.wandb.ai"
# The forms of a key that wandb accepts before it asks the server: at least 40 characters, with a prefix for a
# self-hosted server, or a JSON Web Token.
WANDB_KEY_FORM = re.compile(r"\w{40,}|[^-]*-[\w-]{40,}|[\w-]+\.[\w-]+\.[\w-]+")


def environment_secrets(environ: Mapping[str, str], also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the secret values of an environment, longest first, each once.

    These are variables with the name of a secret (`*_KEY`, `*_TOKEN`, `*_PASSWORD`, ...) and passwords in URLs.

    Args:
        environ: The environment.
        also: Further secrets.
    """
    named = (value for name, value in environ.items() if _SECRET_NAME.search(name) and not _is_other(name, value))
    in_urls = (value[a:b] for value in environ.values() for a, b in secret_spans(URL_PASSWORD, value))
    values = {value for value in (*named, *in_urls) if len(value) >= MIN_LENGTH and not is_placeholder(value)}
    values |= {value for value in also if len(value) >= MIN_LENGTH_KNOWN}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def _is_other(name: str, value: str) -> bool:
    """Return True for a `key` that is the key of a table or a dict, not a secret."""
    return name.lower().endswith("key") and _WORDS.fullmatch(value) is not None


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Replace the given secrets, and everything with the form of a secret, by `***`.

    Secrets are also found in the notation of JSON and URLs. Line ends do not move.
    """
    if secrets:
        text = _matcher(secrets).sub(MASK, text)
    for rule in (*SHAPES, *LOGINS):
        text = _masked(text, secret_spans(rule, text))
    return text


def names_secret(name: str, value: str) -> bool:
    """Return True if the name of a param, an option or a variable marks its value as a secret.

    `max_tokens: 512`, `tokenizer: bert-base` and `token_pooling: last_hidden` are not secrets.
    """
    match = _NAMES_SECRET.search(name)
    if match is None or is_placeholder(value) or _NUMBER.fullmatch(value):
        return False
    return bool(match["sure"]) or (len(value) >= MIN_LENGTH and _WORDS.fullmatch(value) is None)


def redact_assigned(text: str) -> str:
    """Replace each value that follows the name of a secret, as in `--password=VALUE`, by `***`."""
    spans, end = [], 0
    for match in _ASSIGNED.finditer(text):
        if match.end() < end or not _NAMES_SECRET.search(match["name"]):
            continue
        value = _VALUE.match(text, match.end())
        if value is None:
            continue
        end = value.end()
        if names_secret(match["name"], value[0]) and not text.startswith(_CODE, end):
            spans.append(value.span())
    return _masked(text, spans)


def mask_named(value: Any, found: set[str], name: str = "") -> Any:
    """Return JSON data in which the values that their names mark as secrets are `***`.

    Args:
        value: JSON data. A dict with a `name` has the values of that name, as in a table of differences.
        found: Gets the values that occur in no text by chance, so that the caller can mask them in other texts.
        name: The name of the value.
    """
    if isinstance(value, str):
        if not names_secret(name, value):
            return value
        if len(value) >= MIN_LENGTH:
            found.add(value)
        return MASK
    if isinstance(value, list):
        return [mask_named(item, found, name) for item in value]
    if isinstance(value, dict):
        own = value["name"] if isinstance(value.get("name"), str) else name
        return {
            key: mask_named(item, found, own if key in _VALUES else "" if key == "name" else str(key))
            for key, item in value.items()
        }
    return value


def redact_file(name: str, text: str) -> str:
    """Replace every secret that a scan of the file finds by `***`. name: see `scan_text`."""
    return _masked(text, find_spans(name, text))


def _masked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Replace spans, which are sorted and do not overlap, in one pass: a log may contain tens of thousands."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], MASK, "\n" * text.count("\n", start, end)]
        at = end
    return "".join([*parts, text[at:]])


@functools.lru_cache(maxsize=16)
def _matcher(secrets: tuple[str, ...]) -> re.Pattern[str]:
    spellings = {
        spelling
        for secret in secrets
        for spelling in (
            *(secret, quote(secret), quote(secret, safe="")),
            *(json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]),
        )
    }
    # The longest first, because one secret may be a prefix of another.
    return re.compile("|".join(_pattern(s) for s in sorted(spellings, key=len, reverse=True)))


def _pattern(spelling: str) -> str:
    """Return a pattern for a secret. A numeric secret does not match inside a longer number, such as a loss."""
    escaped = re.escape(spelling)
    return rf"(?<![0-9.]){escaped}(?![0-9.])" if _NUMBER.fullmatch(spelling) else escaped


class JsonMasker:
    """Masks secrets in all texts of JSON data. Each different text is checked once."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._known: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            if value not in self._known:
                self._known[value] = redact(value, self._secrets)
            return self._known[value]
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        return value


def known_secrets(environ: Mapping[str, str], template: JobTemplate | None = None) -> tuple[str, ...]:
    """Return the secrets that must not leave this machine in any file: values that no file contains by chance.

    A variable that only its name marks as a secret counts only if its value looks random.
    """
    sure = {
        *_named(environ, template),
        environ.get("AWS_SECRET_ACCESS_KEY", ""),
        environ.get("AWS_SESSION_TOKEN", ""),
    }
    values = {value for value in sure if len(value) >= MIN_SURE}
    values |= {value for value in environment_secrets(environ) if is_likely_random(value)}
    return tuple(sorted(values))


def make_redact(
    environ: Mapping[str, str], template: JobTemplate | None = None, also: Iterable[str] = ()
) -> Callable[[str], str]:
    """Return a function that masks secrets in a text of any length.

    It masks the values of variables whose names mark them as secrets, the variables that the template's `secrets`
    refer to, the W&B key and the passwords in netrc of this machine, and everything that has the form of a key.
    Values of secrets in AWS are not known, so only their form is masked.

    Args:
        environ: Environment of this machine.
        template: The sweep's job template.
        also: Further secrets.
    """
    named = {*_named(environ, template), *also, *_netrc_passwords(environ)}
    return functools.partial(redact, secrets=environment_secrets(environ, also=named))


def _named(environ: Mapping[str, str], template: JobTemplate | None) -> set[str]:
    """Return the values of the template's references on this machine, and the W&B key."""
    references = template.secrets.values() if template else ()
    named = {environ.get(reference.removeprefix(ENV), "") for reference in references if reference.startswith(ENV)}
    with contextlib.suppress(ConfigError):  # a broken netrc; code that needs the key reports it
        wandb_key = find_wandb_key(environ)
        named |= {wandb_key.value} if wandb_key else set()
    return named


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedSecret:
    """A secret and its location. Only the location may be shown."""

    value: str
    where: str


def find_wandb_key(environ: Mapping[str, str]) -> LocatedSecret | None:
    """Return the key that `wandb.init()` uses on this machine: WANDB_API_KEY, wandb's settings, or netrc."""
    settings = _settings(environ)
    key = _variable(environ, WANDB_KEY)
    if key is None and settings.get("api_key"):
        key = LocatedSecret(value=settings["api_key"], where="wandb's settings")
    base_url = environ.get("WANDB_BASE_URL") or settings.get("base_url") or f"https://{DEFAULT_HOST}"
    return key or _netrc(environ, urlsplit(base_url).hostname or DEFAULT_HOST)


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
    for file, entries in _netrc_files(environ):
        entry = entries.authenticators(host)
        if entry and entry[2]:
            return LocatedSecret(value=entry[2], where=str(file))
    return None


def _netrc_passwords(environ: Mapping[str, str]) -> set[str]:
    """Return the passwords of all machines in netrc that do not occur in texts by chance."""
    with contextlib.suppress(ConfigError):  # a broken netrc; code that needs a key reports it
        entries = [entry for _, file in _netrc_files(environ) for entry in file.hosts.values()]
        passwords = {password for _, _, password in entries if password and len(password) >= MIN_LENGTH}
        return {password for password in passwords if not is_placeholder(password)}
    return set()


def _netrc_files(environ: Mapping[str, str]) -> Iterator[tuple[Path, netrc.netrc]]:
    home = _home(environ)
    candidates = [Path(environ["NETRC"])] if environ.get("NETRC") else [home / ".netrc", home / "_netrc"]
    for file in candidates:
        try:
            yield file, netrc.netrc(file)
        except OSError:  # missing or not readable
            continue
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: not a valid netrc file: it is not UTF-8 text; save it as UTF-8") from None
        except netrc.NetrcParseError as err:
            raise ConfigError(
                f"{file}:{err.lineno}: not a valid netrc file: {err.msg}; correct the line"
            ) from None  # the cause may quote a secret


def check_local_secrets(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Raise JobRejected for a missing variable. Checks jobs on this machine (see backends.table.SETTINGS)."""
    _values(_variables(template.secrets), environ)


def check_remote_secrets(template: JobTemplate) -> None:
    """Raise JobRejected for secrets that jobs on other machines cannot read."""
    for problem in remote_secret_errors(_variables(template.secrets)):
        raise JobRejected(problem)


def remote_secret_errors(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield an error for each secret that is a variable of this machine, for jobs on other machines."""
    for name, variable in variables.items():
        yield (
            f"secret {name}: {variable} is a variable of this machine, which training jobs cannot read; store its "
            "value in Secrets Manager with `smsweep auth`"
        )


def env_references(request: TrainingJobRequest) -> dict[str, str]:
    """Return the variables that the request's secrets refer to, by the secret's name."""
    environment = request.get("Environment", {}).items()
    return _variables({name.removeprefix(PREFIX): value for name, value in environment if name.startswith(PREFIX)})


def secret_values(request: TrainingJobRequest, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of these secrets for a job on this machine.

    Secrets in AWS are not included, because the job fetches them. Raises JobRejected for a missing variable.
    """
    return _values(env_references(request), environ)


def _variables(secrets: Mapping[str, str]) -> dict[str, str]:
    return {name: value.removeprefix(ENV) for name, value in secrets.items() if value.startswith(ENV)}


def _values(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    for name, variable in variables.items():
        if not environ.get(variable):
            raise JobRejected(
                f"secret {name}: {variable} is not set on this machine; set it, or change secrets in job.yaml"
            )
    return {name: environ[variable] for name, variable in variables.items()}
