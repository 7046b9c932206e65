"""Routes below /_smsweep/: faults at run time, and the call log. They need the token."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.wrappers import Request, Response

from smsweep.emulator.call_log import CallLog
from smsweep.emulator.fault_injector import FaultInjector
from smsweep.errors import UsageError
from smsweep.util.local_requests import is_same_secret

PREFIX = "/_smsweep/"
TOKEN_HEADER = "X-Smsweep-Token"  # noqa: S105 - the header's name # nosec B105


class Admin:
    """Handles requests below /_smsweep/.

    Args:
        faults: Faults that the user can change.
        ledger: The call log.
        token: Secret that requests send in the header TOKEN_HEADER.
    """

    def __init__(self, faults: FaultInjector, ledger: CallLog, token: str) -> None:
        self._faults = faults
        self._ledger = ledger
        self._token = token

    def serves(self, request: Request) -> bool:
        """Return True if the path is below PREFIX."""
        return request.path.startswith(PREFIX)

    def answer(self, request: Request) -> Response:
        """Return the response to a request, as JSON."""
        if not is_same_secret(request.headers.get(TOKEN_HEADER, ""), self._token):
            return _json(
                {"error": f"wrong token; send the token that the emulator printed in the header {TOKEN_HEADER}"},
                403,
            )
        route = (request.method, request.path.removeprefix(PREFIX))
        if route == ("GET", "ledger"):
            return _json(self._ledger.read())
        if route == ("DELETE", "faults"):
            self._faults.clear()
        elif route == ("POST", "faults"):
            try:
                self._faults.set(_mapping(request.get_data()))
            except (ValueError, RecursionError, UsageError) as err:
                return _json({"error": str(err)}, 400)
        elif route != ("GET", "faults"):
            return _json(
                {"error": f"unknown route; use {PREFIX}faults (GET, POST, DELETE) or {PREFIX}ledger (GET)"}, 404
            )
        return _json(self._faults.now.model_dump())


def _mapping(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a request body. Raises ValueError, RecursionError or UsageError."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise UsageError('faults: expected a mapping such as {"quota": 3}')
    return document


def _json(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status=status, content_type="application/json")
