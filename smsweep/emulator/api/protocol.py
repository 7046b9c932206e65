"""AWS JSON 1.1 over HTTP: parse requests, and make responses and error responses in the protocol of the client."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree  # nosec B405 - it writes documents and reads none

from botocore.model import ListShape, MapShape, Shape, StructureShape
from werkzeug.wrappers import Request, Response

from smsweep.emulator import api_error
from smsweep.emulator.api.signatures import Signature
from smsweep.emulator.api_error import DEFAULT_REGION, ApiError

CONTENT_TYPE = "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded"
REST_XML = ("cloudfront", "route53")  # services besides S3 whose errors are XML
CODES = {  # code in JSON -> (code in XML, code of S3)
    "UnrecognizedClientException": ("InvalidClientTokenId", "InvalidAccessKeyId"),
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", "AccessDenied"),
    "InvalidSignatureException": ("SignatureDoesNotMatch", "SignatureDoesNotMatch"),
    "ExpiredTokenException": ("ExpiredToken", "ExpiredToken"),
    "AccessDeniedException": ("AccessDenied", "AccessDenied"),
    "NotImplementedException": ("NotImplemented", "NotImplemented"),
}
EC2_CODES = {"InvalidClientTokenId": "AuthFailure", "SignatureDoesNotMatch": "AuthFailure"}
# S3 has a different message for an access key that does not exist.
S3_MESSAGES = {"InvalidAccessKeyId": "The AWS Access Key Id you provided does not exist in our records."}
ONCE_QUERY = ("sqs", "monitoring")  # services whose JSON clients expect the codes of the query protocol
FORBIDDEN = 403


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an AWS API."""

    service: str  # signing name: sagemaker, logs, s3, ...; "" if unsigned
    action: str  # "" if the protocol does not send it in a header
    caller: str  # access key id; "" if unsigned
    region: str
    protocol: str  # for errors: json, rest-json, query, ec2, s3, rest-xml
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def read_call(request: Request, signature: Signature | None) -> Call:
    """Return the call in the headers and the signature. The signature is not verified."""
    service = signature.service if signature else ""
    return Call(
        service=service,
        action=request.headers.get("X-Amz-Target", "").rpartition(".")[2],
        caller=signature.access_key_id if signature else "",
        region=signature.region if signature else DEFAULT_REGION,
        protocol=_protocol(request, service),
    )


def _protocol(request: Request, service: str) -> str:
    if "X-Amz-Target" in request.headers:
        return "json"
    if service in ("ec2", "s3"):
        return service
    if request.mimetype == FORM or "Action" in request.args:
        return "query"
    if not service:  # moto handles unsigned requests as S3 requests
        return "s3"
    return "rest-xml" if service in REST_XML else "rest-json"


def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body. Raises ApiError."""
    try:
        body = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError) as err:
        raise api_error.serialization_error(f"not JSON: {err}") from err
    if not isinstance(body, dict):
        raise api_error.serialization_error("Start of structure or map found where not expected.")
    return body


def without_nulls(value: Any) -> Any:
    """Return a request without null fields, which are equal to missing fields."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def answer(call: Call, document: dict[str, Any] | None) -> Response:
    """Return a successful response. document: None for an empty body."""
    data = b"" if document is None else json.dumps(document).encode()
    response = Response(data, content_type=CONTENT_TYPE)
    response.headers["x-amzn-RequestId"] = call.request_id
    return response


def fit_to_model(shape: Shape, value: Any) -> Any:
    """Return a document without the fields that the API model does not have, at any depth."""
    if isinstance(shape, StructureShape):
        return {
            name: fit_to_model(shape.members[name], item) for name, item in value.items() if name in shape.members
        }
    if isinstance(shape, ListShape):
        return [fit_to_model(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: fit_to_model(shape.value, item) for key, item in value.items()}
    return value


def refusal(call: Call, error: ApiError) -> Response:
    """Return the response that makes the client raise the error."""
    query_code, s3_code = CODES.get(error.code, (error.code, error.code))
    if call.protocol == "json":
        return _structured(call, error, query_code, error.status)
    status = max(error.status, FORBIDDEN)  # only the json protocol uses 400 for a wrong key
    if call.protocol == "rest-json":
        return _structured(call, error, query_code, status)
    if call.protocol == "s3":
        message = S3_MESSAGES.get(s3_code, error.message)
        root = ElementTree.Element("Error")
        _add(root, Code=s3_code, Message=message, RequestId=call.request_id)
    elif call.protocol == "ec2":
        root = ElementTree.Element("Response")
        errors = ElementTree.SubElement(ElementTree.SubElement(root, "Errors"), "Error")
        _add(errors, Code=EC2_CODES.get(query_code, query_code), Message=error.message)
        _add(root, RequestID=call.request_id)
    else:
        root = ElementTree.Element("ErrorResponse")
        _add(ElementTree.SubElement(root, "Error"), Type="Sender", Code=query_code, Message=error.message)
        _add(root, RequestId=call.request_id)
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, status, {"x-amzn-RequestId": call.request_id}, content_type="text/xml")


def _structured(call: Call, error: ApiError, query_code: str, status: int) -> Response:
    headers = {"x-amzn-RequestId": call.request_id, "x-amzn-ErrorType": error.code}
    if call.service in ONCE_QUERY:
        headers["x-amzn-query-error"] = f"{query_code};Sender"
    fields = {"__type": error.code, "message": error.message}
    return Response(json.dumps(fields), status, headers, content_type=CONTENT_TYPE)


def _add(parent: ElementTree.Element, **texts: str) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = text
