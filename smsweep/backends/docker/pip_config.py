"""How pip on this machine reaches its index, so that pip in a container reaches it too.

Proxies, CA bundles, PIP_* and pip's configuration files all become environment variables, and the local files
and folders that they name become mounts. They are there while requirements are installed and at no other time.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from smsweep.backends.docker.containers import Bind

MOUNT = "/opt/ml/host"  # below it, the host's files by their own paths
PLAIN = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
# Where things go on this machine means nothing in the container.
NOT_PASSED = (
    "PIP_CACHE_DIR",
    "PIP_CONFIG_FILE",
    "PIP_LOG",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_REPORT",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_SRC",
    "PIP_TARGET",
    "PIP_USER",
)
INDEX_KEYS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
# One path each, blanks and all; the other values are lists of words.
PATH_KEYS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "PIP_CLIENT_CERT")
PROXY_KEYS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipSettings:
    environ: Mapping[str, str]
    binds: tuple[Bind, ...] = ()
    needs_host_network: bool = False  # a proxy or an index is on this machine's own loopback


def host_settings(environ: Mapping[str, str]) -> PipSettings:
    """Return the caller's settings. A later source wins: pip's files in pip's order, then the environment."""
    settings = {f"PIP_{key}": value for file in _config_files(environ) for key, value in _read(file)}
    settings |= {key: value for key, value in environ.items() if key.startswith("PIP_")}
    settings = {key: value for key, value in settings.items() if key not in NOT_PASSED}
    settings |= {key: value for key, value in environ.items() if key.upper() in PLAIN}
    binds: dict[Path, Bind] = {}
    home = _home(environ)
    shown = {key: _show(key, value, binds, home) for key, value in settings.items() if value}
    hosts = {urlsplit(url).hostname for key, value in shown.items() for url in _urls(key, value)}
    return PipSettings(
        environ=shown, binds=tuple(binds.values()), needs_host_network=not hosts.isdisjoint(LOOPBACK)
    )


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - pathlib's raises where there is no home


def _urls(key: str, value: str) -> list[str]:
    """Return the URLs that a setting names; a proxy's may come without its scheme."""
    if key.upper() in PROXY_KEYS and "://" not in value:
        return [f"http://{value}"]
    return [word for word in value.split() if "://" in word]


def _config_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files pip would read, least important first."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = _home(environ)
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf",
    ]
    if environ.get("VIRTUAL_ENV"):
        files.append(Path(environ["VIRTUAL_ENV"]) / "pip.conf")
    return files + ([Path(named)] if named else [])


def _read(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the options of `pip install` as pip's environment variables name and separate them."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, configparser.Error):
        return  # pip on this machine complains about it where it matters
    for section in ("global", "install"):
        if parser.has_section(section):
            for key, value in parser.items(section):
                yield key.replace("-", "_").upper(), " ".join(value.split())


def _show(key: str, value: str, binds: dict[Path, Bind], home: Path) -> str:
    words = [value] if key in PATH_KEYS else value.split()
    return " ".join(_show_word(key, word, binds, home) for word in words)


def _show_word(key: str, word: str, binds: dict[Path, Bind], home: Path) -> str:
    """Return the word as the container is to see it: what names a local file or folder names its mount."""
    is_url = word.startswith("file://")
    text = str(home / word[2:]) if word.startswith("~/") else word  # pip's own way to write it
    path = Path(unquote(urlsplit(text).path) if is_url else text)
    if not path.is_absolute() or not path.exists():
        return word
    # An index's pages name files beside it: `simple/` links to `../../packages/`.
    source = path.parent if key in INDEX_KEYS and path.parent != Path("/") else path
    binds[source] = Bind(source=source, target=_mounted(source), is_read_only=True)
    return f"file://{_mounted(path)}" if is_url else _mounted(path)


def _mounted(path: Path) -> str:
    return str(PurePosixPath(MOUNT) / path.relative_to("/"))
