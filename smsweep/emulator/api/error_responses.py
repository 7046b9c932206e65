"""Error responses in the protocol of the client."""

from __future__ import annotations

import json
from xml.etree import ElementTree  # nosec B405 - it writes documents and reads none

from werkzeug.wrappers import Response

from smsweep.emulator.api.protocol import CONTENT_TYPE, Call
from smsweep.emulator.api_error import ApiError

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
