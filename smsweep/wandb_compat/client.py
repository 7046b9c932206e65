"""A client for W&B's public GraphQL API."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from smsweep.errors import AccessDenied, BackendUnavailable, NotFound

TIMEOUT_S = 20.0


class WandbServer:
    """One W&B server, with the key of one user."""

    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise NotFound(f"WANDB_BASE_URL: {url!r} is not the URL of a server; use https://...")
        self.url = url.rstrip("/")
        self._authorization = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Run a GraphQL query and return the data of the answer.

        Raises:
            AccessDenied: If the server refuses the key.
            NotFound: If the answer reports an error.
            BackendUnavailable: If the server does not answer.
        """
        request = urllib.request.Request(  # noqa: S310 - checked above to be http or https
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": dict(variables)}).encode(),
            headers={"Content-Type": "application/json", "Authorization": self._authorization},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - likewise # nosec B310
                answer = json.load(response)
        except urllib.error.HTTPError as err:
            raise self._refused(err) from err
        except (OSError, ValueError) as err:
            raise BackendUnavailable(f"W&B at {self.url} does not answer: {err}") from err
        if answer.get("errors"):
            raise NotFound(f"W&B reports: {_messages(answer)}")
        return dict(answer.get("data") or {})

    def _refused(self, err: urllib.error.HTTPError) -> AccessDenied | BackendUnavailable | NotFound:
        try:
            message = _messages(json.load(err))
        except (OSError, ValueError):
            message = err.reason
        if err.code in (401, 403):
            return AccessDenied(f"W&B at {self.url} refuses the key: {message}; run `wandb login` again")
        if err.code in (400, 404):
            return NotFound(f"W&B at {self.url} reports: {message}")
        return BackendUnavailable(f"W&B at {self.url} answers {err.code}: {message}")


def _messages(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors") or [answer]
    return "; ".join(str(error.get("message") or error) for error in errors)
