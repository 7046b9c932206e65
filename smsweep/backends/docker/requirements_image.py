"""Images with requirements.txt installed, which are built once and used by all later jobs.

The installation is a layer on the job's image, not a folder on PYTHONPATH. So pip sees the packages of the image,
and installs new ones where the image's Python finds them, as at the start of a job on SageMaker.
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
from smsweep.backends.docker.images import LABEL_BASE, has_image, inspect_image
from smsweep.backends.docker.logs import LOG_CONFIG, LogCopy, open_log
from smsweep.errors import JobRejected
from smsweep.runtime.job.requirements import FILE, PIP, describe_failure
from smsweep.util.atomic_file import POLL_S, exclusive, is_held

REPOSITORY = "smsweep-requirements"
LABEL = "smsweep.requirements"  # of an image and of the container that builds it: the key
LABEL_SCRATCH = "smsweep.scratch"  # of that container: the folder of the process that builds the image
CODE = "/opt/ml/code"  # the working directory, as in a job
SETTINGS = "/opt/ml/settings.json"
# The settings are in a file, because the environment of the container would become part of the image.
INSTALL = f"""
import json, os, shutil, sys
os.environ.update(json.load(open({SETTINGS!r})))
python = shutil.which("python") or sys.executable  # the one that the job's script uses
os.execv(python, [python, "-c", {PIP!r}, "install", "-r", {FILE!r}])
"""
OWN_SETTINGS = {
    "PIP_BREAK_SYSTEM_PACKAGES": "1",  # the container is only for this installation
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_CACHE_DIR": "1",
}
COMMIT_S = 3600  # timeout for the engine to write the image
ARCHIVES = (".whl", ".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MOUNT = "/opt/ml/host"  # the folder of the host's files, which keep their paths below it
PLAIN = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
# Settings that are not valid in the container, or that change where pip installs.
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
# The value is one path, which can contain spaces. Other values are lists of words.
PATH_KEYS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "PIP_CLIENT_CERT")
PROXY_KEYS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PIP_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipSettings:
    """The settings of the host that an installation in a container uses.

    Attributes:
        environ: Environment variables of pip, with paths as the container has them.
        binds: Mounts of the files and folders that the variables name.
        needs_host_network: A proxy or an index is on the loopback interface of this machine.
    """

    environ: Mapping[str, str]
    binds: tuple[Bind, ...] = ()
    needs_host_network: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """The requirements of a job's source.

    Attributes:
        source_tar: The archive of the source.
        text: The content of its requirements.txt.
        is_isolated: The job has no network, so the installation has none either.
    """

    source_tar: Path
    text: bytes
    is_isolated: bool

    def key(self, image_id: str) -> str:
        """Return a hash of everything that the installation depends on."""
        lines = self.text.decode("utf-8", errors="replace").splitlines()
        is_local = any(_may_name_a_file(line) for line in lines)
        content = self.source_tar.read_bytes() if is_local else self.text
        parts = (image_id.encode(), b"isolated" if self.is_isolated else b"", content)
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _may_name_a_file(line: str) -> bool:
    """Return True if a line may name a file of the source: in an option, a path or an archive's name."""
    text = re.split(r"(?:^|\s)#|;", line)[0].strip()
    if "://" in text and "file:" not in text:
        return False
    name = text.partition("[")[0].strip()  # without extras
    return text.startswith((".", "-")) or "/" in text or "file:" in text or name.endswith(ARCHIVES)


def read_requirements(source_tar: Path, *, is_isolated: bool) -> Requirements | None:
    """Read the requirements of a source.

    Args:
        source_tar: The archive of the source.
        is_isolated: The job has no network.

    Returns:
        The requirements; None if there are none.

    Raises:
        JobRejected: If the archive cannot be read.
    """
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
    """Builds images with requirements, one at a time per key. A key that failed is not tried again.

    Args:
        scratch: The folder for locks and temporary files.
        settings: The settings of pip.
        facts: The properties of the engine.
    """

    def __init__(self, scratch: Path, settings: PipSettings, facts: EngineFacts) -> None:
        self._scratch = scratch
        self._settings = settings
        self._facts = facts
        self._failed: dict[str, str] = {}  # image -> failure reason

    def image_with(
        self, client: APIClient, image: str, requirements: Requirements, check: Callable[[], None]
    ) -> str:
        """Return the name of an image with the requirements. Build it if necessary.

        Args:
            client: A client of the engine.
            image: The job's image.
            requirements: The requirements.
            check: Called repeatedly. An exception that it raises ends the installation.

        Raises:
            JobRejected: If the installation fails. The message contains the end of pip's output.
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
        for leftover in self._installing(client):
            if not is_held(self._lock(leftover["Labels"][LABEL])):
                remove(client, leftover["Id"])
                shutil.rmtree(self._scratch / leftover["Labels"][LABEL], ignore_errors=True)

    def _installing(self, client: APIClient, *labels: str) -> list[dict[str, Any]]:
        """Return the containers of the installations in `scratch`. The engine chooses their names."""
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
        scratch.mkdir(mode=0o700)  # the URL of an index may contain a password
        try:
            container = self._create(client, image["Id"], requirements, key)
            with requirements.source_tar.open("rb") as source:
                client.put_archive(container, CODE, source)
            client.start(container)
            while (state := client.inspect_container(container)["State"])["Running"]:
                check()
                time.sleep(POLL_S)
            if state["ExitCode"]:
                reason = describe_failure(state["ExitCode"], _output(client, container, scratch / "log"))
                self._failed[f"{REPOSITORY}:{key}"] = reason
                raise JobRejected(reason)
            _commit(client, container, key, _layer_config(image, key))
        finally:
            # Including those of an agent that was killed during this installation.
            for leftover in self._installing(client, f"{LABEL}={key}"):
                remove(client, leftover["Id"])
            shutil.rmtree(scratch, ignore_errors=True)

    def _create(self, client: APIClient, image: str, requirements: Requirements, key: str) -> str:
        settings = self._scratch / key / "settings.json"
        settings.write_text(json.dumps({**self._settings.environ, **OWN_SETTINGS}), encoding="utf-8")
        binds = [Bind(source=settings, target=SETTINGS, is_read_only=True), *self._settings.binds]
        network = "none" if requirements.is_isolated else "host" if self._settings.needs_host_network else "bridge"
        created = client.create_container(
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
        return str(created["Id"])


def _commit(client: APIClient, container: str, key: str, config: dict[str, Any]) -> None:
    """Create an image from a container. The engine answers after it has written everything, possibly gigabytes."""
    before, client.timeout = client.timeout, COMMIT_S
    try:
        client.commit(container, repository=REPOSITORY, tag=key, conf=config)
    finally:
        client.timeout = before


def _layer_config(image: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the complete config of the job's image. Missing keys would come from the installation's container."""
    config = image["Config"]
    return {
        **config,
        "Entrypoint": config.get("Entrypoint") or [],
        "WorkingDir": config.get("WorkingDir") or "/",
        # An empty LABEL_SCRATCH, or containers of jobs would count as installations.
        "Labels": {**(config.get("Labels") or {}), LABEL: key, LABEL_SCRATCH: "", LABEL_BASE: image["Id"]},
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


def host_settings(environ: Mapping[str, str]) -> PipSettings:
    """Return the pip, proxy and CA settings of this machine.

    pip's configuration files are read in pip's order. The environment variables override them.

    Args:
        environ: The user's environment variables.
    """
    settings = {f"PIP_{key}": value for file in _config_files(environ) for key, value in _read_config(file)}
    settings |= {key: value for key, value in environ.items() if key.startswith("PIP_")}
    settings = {key: value for key, value in settings.items() if key not in NOT_PASSED}
    settings |= {key: value for key, value in environ.items() if key.upper() in PLAIN}
    binds: dict[Path, Bind] = {}
    home = _home(environ)
    container_environ = {
        key: _container_value(key, value, binds, home) for key, value in settings.items() if value
    }
    hosts = {urlsplit(url).hostname for key, value in container_environ.items() for url in _urls(key, value)}
    return PipSettings(
        environ=container_environ, binds=tuple(binds.values()), needs_host_network=not hosts.isdisjoint(LOOPBACK)
    )


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - pathlib raises without a home


def _urls(key: str, value: str) -> list[str]:
    """Return the URLs in a setting. The URL of a proxy may have no scheme."""
    if key.upper() in PROXY_KEYS and "://" not in value:
        return [f"http://{value}"]
    return [word for word in value.split() if "://" in word]


def _config_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that pip reads. Later files override earlier ones."""
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


def _read_config(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the options of `pip install`, with the names and separators of pip's environment variables."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, configparser.Error):
        return  # pip on this machine reports the error
    for section in ("global", "install"):
        if parser.has_section(section):
            for key, value in parser.items(section):
                yield key.replace("-", "_").upper(), " ".join(value.split())


def _container_value(key: str, value: str, binds: dict[Path, Bind], home: Path) -> str:
    words = [value] if key in PATH_KEYS else value.split()
    return " ".join(_container_word(key, word, binds, home) for word in words)


def _container_word(key: str, word: str, binds: dict[Path, Bind], home: Path) -> str:
    """Return the word with a local path replaced by the path of its mount, which is added to `binds`."""
    is_url = word.startswith("file://")
    text = str(home / word[2:]) if word.startswith("~/") else word  # pip expands this
    path = Path(unquote(urlsplit(text).path) if is_url else text)
    if not path.is_absolute() or not path.exists():
        return word
    # The pages of a local index link to files beside it, such as `../../packages/`, so mount its parent.
    source = path.parent if key in INDEX_KEYS and path.parent != Path("/") else path
    binds[source] = Bind(source=source, target=_mount_path(source), is_read_only=True)
    return f"file://{_mount_path(path)}" if is_url else _mount_path(path)


def _mount_path(path: Path) -> str:
    return str(PurePosixPath(MOUNT) / path.relative_to("/"))
