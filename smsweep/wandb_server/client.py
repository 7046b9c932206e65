"""W&B's public API: one GraphQL call at a time, with the key that W&B's own client would use."""

from __future__ import annotations

import base64
import json
import netrc
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep.errors import AccessDenied, BackendUnavailable, NotFound

DEFAULT_URL = "https://api.wandb.ai"
TIMEOUT_S = 20.0


class WandbServer:
    """Reads `WANDB_BASE_URL`, `WANDB_API_KEY` and the user's netrc. Raises AccessDenied where there is no key."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.url = (environ.get("WANDB_BASE_URL") or DEFAULT_URL).rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise NotFound(f"WANDB_BASE_URL: {self.url!r} is no address of a server; it begins with https://")
        key = environ.get("WANDB_API_KEY") or _key_in_netrc(environ, urlsplit(self.url).hostname or "")
        if not key:
            raise AccessDenied(f"no key for W&B at {self.url}; run `wandb login`, or set WANDB_API_KEY")
        self._authorization = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()

    @property
    def app_url(self) -> str:
        """Where people look at its pages."""
        return "https://wandb.ai" if self.url == DEFAULT_URL else self.url

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer's data. Raises AccessDenied, NotFound for what GraphQL reports, BackendUnavailable."""
        request = urllib.request.Request(  # noqa: S310 - checked above to be http or https
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": dict(variables)}).encode(),
            headers={"Content-Type": "application/json", "Authorization": self._authorization},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - likewise
                answer = json.load(response)
        except urllib.error.HTTPError as err:
            raise self._refused(err) from err
        except (OSError, ValueError) as err:
            raise BackendUnavailable(f"W&B at {self.url} does not answer: {err}") from err
        if answer.get("errors"):
            raise NotFound(f"W&B says: {_messages(answer)}")
        return dict(answer.get("data") or {})

    def _refused(self, err: urllib.error.HTTPError) -> AccessDenied | BackendUnavailable | NotFound:
        try:
            said = _messages(json.load(err))
        except (OSError, ValueError):
            said = err.reason
        if err.code in (401, 403):
            return AccessDenied(f"W&B at {self.url} refuses the key: {said}; run `wandb login` again")
        if err.code in (400, 404):
            return NotFound(f"W&B at {self.url} says: {said}")
        return BackendUnavailable(f"W&B at {self.url} answers {err.code}: {said}")


def _messages(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors") or [answer]
    return "; ".join(str(error.get("message") or error) for error in errors)


def _key_in_netrc(environ: Mapping[str, str], host: str) -> str:
    path = environ.get("NETRC") or str(Path(environ.get("HOME") or "~").expanduser() / ".netrc")
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return ""
    return found[2] or "" if found else ""
