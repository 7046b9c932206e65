"""The Docker CLI's contexts: engines by name, as `docker context create` keeps them.

Read here because the docker SDK finds none where the CLI has not written a config.json yet.
Source: https://github.com/docker/cli/tree/master/cli/context/store
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.errors import ContextException
from docker.tls import TLSConfig

BUILT_IN = "default"  # the engine of this machine, at its usual place
CURE = "choose one with `docker context use`, or set DOCKER_HOST"
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")


def context_address(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the chosen context's `base_url` and, where it has certificates, `tls`; {} for the built-in one.

    Raises ContextException, which says what is wrong and what to do.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))  # noqa: PTH111 - see home_expanded
    name = environ.get("DOCKER_CONTEXT") or _current(folder / "config.json")
    if name == BUILT_IN:
        return {}
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    if not meta.exists():
        raise ContextException(f"there is no context {name}; {CURE}")
    try:
        endpoint = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        host, is_verified = endpoint.get("Host"), not endpoint.get("SkipTLSVerify")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise ContextException(f"context {name}: {meta} cannot be read: {err!r}; {CURE}") from err
    address = {"base_url": host} if host else {}
    return address | _tls(folder / "contexts" / "tls" / key / "docker", is_verified=is_verified)


def _current(config: Path) -> str:
    try:
        return str(json.loads(config.read_text(encoding="utf-8")).get("currentContext") or BUILT_IN)
    except (OSError, ValueError, AttributeError):
        return BUILT_IN


def _tls(folder: Path, *, is_verified: bool) -> dict[str, TLSConfig]:
    if not folder.is_dir():
        return {}
    ca, cert, key = (str(path) if path.exists() else None for path in map(folder.joinpath, CERTIFICATES))
    client_cert = (cert, key) if cert and key else None
    return {"tls": TLSConfig(client_cert=client_cert, ca_cert=ca, verify=is_verified)}
