"""The endpoint's own routes: faults at run time, and the ledger. For whoever has the token."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.wrappers import Request, Response

from smsweep.emulator.call_log import Ledger
from smsweep.emulator.fault_injector import FaultBox
from smsweep.errors import UsageError
from smsweep.util.local_requests import is_same_secret

PREFIX = "/_smsweep/"
TOKEN_HEADER = "X-Smsweep-Token"  # noqa: S105 - the header's name # nosec B105


class Admin:
    def __init__(self, faults: FaultBox, ledger: Ledger, token: str) -> None:
        self._faults = faults
        self._ledger = ledger
        self._token = token

    def serves(self, request: Request) -> bool:
        return request.path.startswith(PREFIX)

    def answer(self, request: Request) -> Response:
        if not is_same_secret(request.headers.get(TOKEN_HEADER, ""), self._token):
            return _json({"error": f"give the token that the endpoint printed, as the header {TOKEN_HEADER}"}, 403)
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
            return _json({"error": f"there are {PREFIX}faults (GET, POST, DELETE) and {PREFIX}ledger (GET)"}, 404)
        return _json(self._faults.now.model_dump())


def _mapping(data: bytes) -> dict[str, Any]:
    """Raises ValueError, RecursionError or UsageError."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise UsageError('faults: expected a mapping such as {"quota": 3}')
    return document


def _json(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status=status, content_type="application/json")
