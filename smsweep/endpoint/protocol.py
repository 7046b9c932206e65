"""AWS JSON 1.1 over HTTP: from a request to a call, and from an answer to a response."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from werkzeug.wrappers import Request, Response

from smsweep.endpoint import api_error
from smsweep.endpoint.account import DEFAULT_REGION
from smsweep.endpoint.api_error import ApiError

CONTENT_TYPE = "application/x-amz-json-1.1"
# Signature version 4: Credential=<key id>/<date>/<region>/<service>/aws4_request
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an AWS API."""

    service: str  # as it is signed for: sagemaker, logs, s3, ...; "" unsigned
    action: str  # "" where the protocol does not say it in a header
    caller: str  # access key id; "" unsigned
    region: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def read_call(request: Request) -> Call:
    """Read what the headers say. The signature itself is not checked: there is no secret to check it with."""
    found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    caller, region, service = found.groups() if found else ("", DEFAULT_REGION, "")
    action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    return Call(service=service, action=action, caller=caller, region=region)


def read_body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError) as err:
        raise api_error.garbled(f"not JSON: {err}") from err
    if not isinstance(body, dict):
        raise api_error.garbled("Start of structure or map found where not expected.")
    return body


def without_nulls(value: Any) -> Any:
    """Return a request as it would be without the fields that are null: they say the same as none."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def answer(call: Call, document: dict[str, Any] | None) -> Response:
    """document: None where the operation's answer is empty."""
    data = b"" if document is None else json.dumps(document).encode()
    return _response(call, data, 200)


def refusal(call: Call, error: ApiError) -> Response:
    data = json.dumps({"__type": error.code, "message": error.message}).encode()
    response = _response(call, data, error.status)
    response.headers["x-amzn-ErrorType"] = error.code
    return response


def fitted(shape: Shape, value: Any) -> Any:
    """Leave out what the model's answer has no place for, at any depth."""
    if isinstance(shape, StructureShape):
        return {name: fitted(shape.members[name], item) for name, item in value.items() if name in shape.members}
    if isinstance(shape, ListShape):
        return [fitted(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: fitted(shape.value, item) for key, item in value.items()}
    return value


def _response(call: Call, data: bytes, status: int) -> Response:
    response = Response(data, status=status, content_type=CONTENT_TYPE)
    response.headers["x-amzn-RequestId"] = call.request_id
    return response
