"""requirements.txt installed once per image, as a layer on top of it that later jobs start from.

A layer, not a folder on PYTHONPATH: pip sees what the image has already, and puts things where this image's
Python looks for them, exactly as it would at the start of a job on SageMaker.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from docker import APIClient

from smsweep.backends.docker.containers import Bind, mount, remove
from smsweep.backends.docker.engine import EngineFacts
from smsweep.backends.docker.images import LABEL_BELOW, has_image, inspect_image
from smsweep.backends.docker.logs import LOG_CONFIG, LogCopy, open_log
from smsweep.errors import JobRejected
from smsweep.runtime.job.requirements import FILE, describe_failure
from smsweep.util.atomic_file import POLL_S, exclusive, is_held

REPOSITORY = "smsweep-requirements"
LABEL = "smsweep.requirements"  # of the layer and of the container that makes it: the key
LABEL_SCRATCH = "smsweep.scratch"  # of that container: who makes it
CODE = "/opt/ml/code"  # as at the start of a job
SETTINGS = "/opt/ml/settings.json"
# As an argument, because settings in a container's environment would stay in the layer's.
INSTALL = f"""
import json, os, shutil, sys
os.environ.update(json.load(open({SETTINGS!r})))
python = shutil.which("python") or sys.executable  # the one that the job's script will run on
os.execv(python, [python, "-m", "pip", "install", "-r", {FILE!r}])
"""
OWN_SETTINGS = {
    "PIP_BREAK_SYSTEM_PACKAGES": "1",  # nobody else's system: a layer of our own
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_CACHE_DIR": "1",
}
COMMIT_S = 3600  # for the engine to write what was installed
ARCHIVES = (".whl", ".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
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
class Requirements:
    """What to install and where from."""

    source_tar: Path
    text: bytes  # of requirements.txt
    is_isolated: bool  # the job is to have no network, so its installation has none either

    def key(self, image_id: str) -> str:
        """Return what a layer depends on, as a short name."""
        lines = self.text.decode("utf-8", errors="replace").splitlines()
        is_local = any(_may_name_a_file(line) for line in lines)
        content = self.source_tar.read_bytes() if is_local else self.text
        parts = (image_id.encode(), b"isolated" if self.is_isolated else b"", content)
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _may_name_a_file(line: str) -> bool:
    """Tell whether a line may lead to another file of the source: by an option, a path, or an archive's name."""
    text = re.split(r"(?:^|\s)#|;", line)[0].strip()
    if "://" in text and "file:" not in text:
        return False
    name = text.partition("[")[0].strip()  # without the extras that are wanted
    return text.startswith((".", "-")) or "/" in text or "file:" in text or name.endswith(ARCHIVES)


def read_requirements(source_tar: Path, *, is_isolated: bool) -> Requirements | None:
    """Return what the source asks for; None when it asks for nothing."""
    if not source_tar.exists():
        return None
    try:
        with tarfile.open(source_tar) as tar:
            member = tar.extractfile(FILE)
            text = member.read() if member else b""
    except KeyError:
        return None
    except (OSError, tarfile.TarError) as err:
        raise JobRejected(f"{source_tar}: cannot be read: {err}") from err
    return Requirements(source_tar=source_tar, text=text, is_isolated=is_isolated) if text.strip() else None


class RequirementsLayers:
    """Makes layers, one at a time; a layer that failed is not tried again by this backend."""

    def __init__(self, scratch: Path, settings: PipSettings, facts: EngineFacts) -> None:
        self._scratch = scratch
        self._settings = settings
        self._facts = facts
        self._failed: dict[str, str] = {}  # layer -> why

    def image_with(
        self, client: APIClient, image: str, requirements: Requirements, check: Callable[[], None]
    ) -> str:
        """Return the name of the image with the requirements in it. Raises JobRejected with pip's last words.

        check: called now and then; what it raises ends the installation, for others to begin it again.
        """
        details = inspect_image(client, image)
        key = requirements.key(details["Id"])
        layer = f"{REPOSITORY}:{key}"
        if not has_image(client, layer):
            with exclusive(self._lock(key), check):
                if layer in self._failed:
                    raise JobRejected(self._failed[layer])
                if not has_image(client, layer):
                    self._install(client, details, requirements, key, check)
        return layer

    def remove_leftovers(self, client: APIClient) -> None:
        """Remove the containers of installations whose agent was killed."""
        for found in self._installing(client):
            if not is_held(self._lock(found["Labels"][LABEL])):
                remove(client, found["Id"])
                shutil.rmtree(self._scratch / found["Labels"][LABEL], ignore_errors=True)

    def _installing(self, client: APIClient, *labels: str) -> list[dict[str, Any]]:
        """Return the containers of our installations, by their labels: their names are the engine's choice."""
        filters = {"label": [f"{LABEL_SCRATCH}={self._scratch}", *labels]}
        return list(client.containers(all=True, filters=filters))

    def _lock(self, key: str) -> Path:
        return self._scratch / f"{key}.lock"

    def _install(
        self,
        client: APIClient,
        image: Mapping[str, Any],
        requirements: Requirements,
        key: str,
        check: Callable[[], None],
    ) -> None:
        scratch = self._scratch / key
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)  # an index's URL may hold a password
        try:
            container = self._create(client, image["Id"], requirements, key)
            with requirements.source_tar.open("rb") as source:
                client.put_archive(container, CODE, source)
            client.start(container)
            while (state := client.inspect_container(container)["State"])["Running"]:
                check()
                time.sleep(POLL_S)
            if state["ExitCode"]:
                said = describe_failure(state["ExitCode"], _output(client, container, scratch / "log"))
                self._failed[f"{REPOSITORY}:{key}"] = said
                raise JobRejected(said)
            _commit(client, container, key, _layer_config(image, key))
        finally:
            # With what an agent has left that was killed meanwhile.
            for found in self._installing(client, f"{LABEL}={key}"):
                remove(client, found["Id"])
            shutil.rmtree(scratch, ignore_errors=True)

    def _create(self, client: APIClient, image: str, requirements: Requirements, key: str) -> str:
        settings = self._scratch / key / "settings.json"
        settings.write_text(json.dumps({**self._settings.environ, **OWN_SETTINGS}), encoding="utf-8")
        binds = [Bind(source=settings, target=SETTINGS, is_read_only=True), *self._settings.binds]
        network = "none" if requirements.is_isolated else "host" if self._settings.needs_host_network else "bridge"
        made = client.create_container(
            image,
            entrypoint=["python3", "-c", INSTALL],
            user="0",
            working_dir=CODE,
            labels={LABEL: key, LABEL_SCRATCH: str(self._scratch)},
            host_config=client.create_host_config(
                network_mode=network,
                mounts=[mount(bind) for bind in binds],
                log_config=LOG_CONFIG,
                userns_mode="host" if self._facts.remaps_users else None,
            ),
        )
        return str(made["Id"])


def _commit(client: APIClient, container: str, key: str, config: dict[str, Any]) -> None:
    """Make a layer of a container. The engine says nothing until all is written: gigabytes, of a framework."""
    before, client.timeout = client.timeout, COMMIT_S
    try:
        client.commit(container, repository=REPOSITORY, tag=key, conf=config)
    finally:
        client.timeout = before


def _layer_config(image: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the image's own config, said in full: what is left out would be taken from the installation's."""
    config = image["Config"]
    return {
        **config,
        "Entrypoint": config.get("Entrypoint") or [],
        "WorkingDir": config.get("WorkingDir") or "/",
        # The scratch is the installation's: a job's container that had its label would be taken for one.
        "Labels": {**(config.get("Labels") or {}), LABEL: key, LABEL_SCRATCH: "", LABEL_BELOW: image["Id"]},
    }


def _output(client: APIClient, container: str, log: Path) -> str:
    copy = LogCopy(log)
    try:
        for chunk in open_log(client, container, follow=False):
            copy.feed(chunk)
        copy.finish()
    finally:
        copy.close()
    return log.read_bytes().decode("utf-8", errors="replace")


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
