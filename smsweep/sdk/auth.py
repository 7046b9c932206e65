"""Find the W&B key as wandb finds it, and put it where training jobs can fetch it."""

from __future__ import annotations

import configparser
import logging
import netrc
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep.errors import ConfigError, NotFound
from smsweep.sdk.workspace import Workspace
from smsweep.tables import LazyTable

log = logging.getLogger(__name__)

WANDB_KEY = "WANDB_API_KEY"
DEFAULT_HOST = "api.wandb.ai"
DEFAULT_NAME = "smsweep/wandb"
# What wandb takes for a key before it asks the server: forty characters or more, behind a prefix where the server
# is one's own; or a JSON Web Token.
WANDB_KEY_FORM = re.compile(r"\w{40,}|[^-]*-[\w-]{40,}|[\w-]+\.[\w-]+\.[\w-]+")

# boto3 is slow to load, and finding a key does not need it.
AWS: LazyTable[Any] = LazyTable(
    {
        "Aws": "smsweep.backends.sagemaker.client:Aws",
        "secretsmanager": "smsweep.backends.sagemaker.vault:store_secret",
        "ssm": "smsweep.backends.sagemaker.vault:store_parameter",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A secret, and where it was: only the latter is ever shown."""

    value: str
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    variable: str  # that jobs get
    found_in: str
    arn: str


def auth(*, variable: str = WANDB_KEY, name: str = "", ssm: bool = False) -> Stored:
    """Put a secret of this machine into Secrets Manager, or SSM, and return what job.yaml refers to it by.

    variable: the environment variable that holds it; the W&B key is also looked for where `wandb login` puts it.
    name: in AWS; drawn from the variable when empty. What wandb would not take as its key is told, but
    stored: a server of one's own may have others. Raises NotFound, or JobError.
    """
    environ = Workspace().environ
    found = find_wandb_key(environ) if variable == WANDB_KEY else _variable(environ, variable)
    if found is None:
        places = " nor in netrc or wandb's settings; run `wandb login`" if variable == WANDB_KEY else ""
        raise NotFound(f"{variable} is not set{places}")
    if variable == WANDB_KEY and not WANDB_KEY_FORM.fullmatch(found.value):
        log.warning(
            "%s: wandb would not take this as a key, which has 40 or more letters, digits, - and _", found.where
        )
    name = name or (DEFAULT_NAME if variable == WANDB_KEY else f"smsweep/{variable.lower()}")
    aws = AWS["Aws"](environ)
    try:
        if ssm:
            arn = AWS["ssm"](aws, f"/{name.lstrip('/')}", found.value)
        else:
            arn = AWS["secretsmanager"](aws, name, found.value)
    finally:
        aws.close()
    return Stored(variable=variable, found_in=found.where, arn=arn)


def find_wandb_key(environ: Mapping[str, str]) -> Found | None:
    """Return the key that `wandb.init()` would use here: WANDB_API_KEY, wandb's settings, netrc; None for none."""
    settings = _settings(environ)
    found = _variable(environ, WANDB_KEY)
    if found is None and settings.get("api_key"):
        found = Found(value=settings["api_key"], where="wandb's settings")
    base_url = environ.get("WANDB_BASE_URL") or settings.get("base_url") or f"https://{DEFAULT_HOST}"
    return found or _netrc(environ, urlsplit(base_url).hostname or DEFAULT_HOST)


def _variable(environ: Mapping[str, str], name: str) -> Found | None:
    return Found(value=environ[name].strip(), where=name) if environ.get(name, "").strip() else None


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - pathlib's raises where there is no home


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read wandb's settings files; those of the working directory count more."""
    user = Path(environ.get("WANDB_CONFIG_DIR") or _home(environ) / ".config" / "wandb") / "settings"
    settings: dict[str, str] = {}
    for file in (user, Path("wandb") / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError) as err:
            raise ConfigError(f"{file}: not settings of wandb: {type(err).__name__}") from None
        if parser.has_section("default"):
            settings |= dict(parser["default"])
    return settings


def _netrc(environ: Mapping[str, str], host: str) -> Found | None:
    home = _home(environ)
    candidates = [Path(environ["NETRC"])] if environ.get("NETRC") else [home / ".netrc", home / "_netrc"]
    for file in candidates:
        try:
            entry = netrc.netrc(file).authenticators(host)
        except OSError:  # it is not there, or not for us to read
            continue
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: not a netrc file: it is no text in UTF-8") from None
        except netrc.NetrcParseError as err:
            raise ConfigError(
                f"{file}:{err.lineno}: not a netrc file: {err.msg}"
            ) from None  # it may quote a secret
        if entry and entry[2]:
            return Found(value=entry[2], where=str(file))
    return None
