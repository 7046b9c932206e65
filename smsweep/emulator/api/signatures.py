"""AWS signatures: read the signature of a request, and verify it.

Supported are version 4 in a header or in a presigned URL, and version 2 of S3, which boto3 uses for presigned
URLs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote_to_bytes, urlsplit

from botocore.auth import SIGV4_TIMESTAMP, UNSIGNED_PAYLOAD, HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY
from werkzeug.wrappers import Request

from smsweep.emulator import api_error
from smsweep.emulator.api_error import DEFAULT_REGION
from smsweep.emulator.jobs.moto_services import HOST_NAMES
from smsweep.util.local_requests import host_name, is_same_secret

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

V4 = "AWS4-HMAC-SHA256"
CONTENT_HASH = "X-Amz-Content-SHA256"
UNRESERVED = "-_.~"  # characters that AWS never percent-encodes, besides letters and digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """The signature in a request. It is not verified."""

    access_key_id: str
    service: str  # signing name: sagemaker, logs, s3, ...
    region: str
    value: str
    version: int = 4  # or 2
    signed_headers: tuple[str, ...] = ()  # lower case; version 4 only
    time: str = ""  # version 4: SIGV4_TIMESTAMP; version 2: HTTP date, or expiry of a presigned URL
    is_presigned: bool = False
    expires_at: float | None = None  # seconds since the epoch; presigned URLs only


def read_signature(request: Request) -> Signature | None:
    """Return the signature of a request; None if it has no signature in a supported form."""
    try:
        if "Authorization" in request.headers:
            return _from_header(request)
        return _from_query(request)
    except (KeyError, ValueError, OverflowError):
        return None


def verify(request: Request, signature: Signature, secret: str, now: float) -> None:
    """Verify the signature of a request.

    This reads the body, except for S3: objects can be larger than memory, and S3 requests include their hash.

    Args:
        request: The request with its original Host header.
        signature: The signature of the request.
        secret: The secret of its access key.
        now: Seconds since the epoch.

    Raises:
        ApiError: If the signature is wrong, or the presigned URL has expired.
    """
    expected = (
        _version_4(request, signature, secret)
        if signature.version == 4
        else _version_2(request, signature, secret)
    )
    if not is_same_secret(signature.value, expected) or _has_unsigned_header(request, signature):
        raise api_error.wrong_signature()
    if signature.expires_at is not None and now > signature.expires_at:
        raise api_error.url_expired()


def _from_header(request: Request) -> Signature | None:
    kind, _, rest = request.headers["Authorization"].partition(" ")
    if kind == "AWS":
        access_key_id, _, value = rest.strip().partition(":")
        date = request.headers.get("Date", "")
        return Signature(
            access_key_id=access_key_id, service="s3", region=DEFAULT_REGION, value=value, version=2, time=date
        )
    if kind != V4:
        return None
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    sent = request.headers.get("X-Amz-Date") or _version_4_time(request.headers["Date"])
    return _signature_4(fields["Credential"], fields["SignedHeaders"], fields["Signature"], sent)


def _from_query(request: Request) -> Signature | None:
    query = request.args
    if query.get("X-Amz-Algorithm") == V4:
        signed_at = datetime.strptime(query["X-Amz-Date"], SIGV4_TIMESTAMP).replace(tzinfo=timezone.utc)
        return _signature_4(
            query["X-Amz-Credential"],
            query["X-Amz-SignedHeaders"],
            query["X-Amz-Signature"],
            query["X-Amz-Date"],
            expires_at=signed_at.timestamp() + int(query["X-Amz-Expires"]),
        )
    if "AWSAccessKeyId" in query:
        return Signature(
            access_key_id=query["AWSAccessKeyId"],
            service="s3",
            region=DEFAULT_REGION,
            value=query["Signature"],
            version=2,
            time=query["Expires"],
            is_presigned=True,
            expires_at=int(query["Expires"]),
        )
    return None


def _signature_4(
    credential: str, signed_headers: str, value: str, time: str, expires_at: float | None = None
) -> Signature | None:
    access_key_id, date, region, service, end = credential.split("/")
    names = tuple(sorted(signed_headers.lower().split(";")))
    # Without a signed Host, the request would also be valid for another server. AWS requires it, too.
    if end != "aws4_request" or date != time[:8] or "host" not in names:
        return None
    return Signature(
        access_key_id=access_key_id,
        service=service,
        region=region,
        value=value,
        signed_headers=names,
        time=time,
        is_presigned=expires_at is not None,
        expires_at=expires_at,
    )


def _version_4_time(http_date: str) -> str:
    return parsedate_to_datetime(http_date).astimezone(timezone.utc).strftime(SIGV4_TIMESTAMP)


class _SignedHeaders:
    """Makes botocore's signers sign exactly the headers that the client has signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name in request.context["signed_headers"]:
            headers[name] = request.headers.get(name, "")
        return headers


class _ServiceSigner(_SignedHeaders, SigV4Auth):
    pass


class _S3Signer(_SignedHeaders, S3SigV4Auth):
    pass


class _S3Signer2(HmacV1Auth):
    def __init__(self, credentials: Credentials, date: str) -> None:
        super().__init__(credentials)
        self._date = date

    def _get_date(self) -> str:
        return self._date


def _version_4(request: Request, signature: Signature, secret: str) -> str:
    path, query = _target(request)
    if signature.service == "s3":  # S3 encodes a canonical path once, other services encode it twice
        path = quote(unquote_to_bytes(path), safe=f"/{UNRESERVED}")
    credentials = Credentials(signature.access_key_id, secret)
    make = _S3Signer if signature.service == "s3" else _ServiceSigner
    signer = make(credentials, signature.service, signature.region)
    url = f"http://{request.environ.get('HTTP_HOST', '')}{path}?{_canonical_query(query)}"
    unsigned = AWSRequest(method=request.method, url=url, headers=dict(_headers(request).items()))
    unsigned.context.update(timestamp=signature.time, signed_headers=signature.signed_headers)
    del unsigned.headers[CONTENT_HASH]  # botocore's headers keep both values otherwise
    unsigned.headers[CONTENT_HASH] = _content_hash(request, signature)
    return str(signer.signature(signer.string_to_sign(unsigned, signer.canonical_request(unsigned)), unsigned))


def _has_unsigned_header(request: Request, signature: Signature) -> bool:
    """Return True if an S3 request has a header that changes its meaning, and that was not signed.

    Without this check, the holder of a presigned URL for an upload turns it into a copy of another object.
    """
    names = {name for name in _pairs(request.environ) if name.startswith("x-amz-")} - {CONTENT_HASH.lower()}
    return signature.service == "s3" and signature.version == 4 and not names.issubset(signature.signed_headers)


def _content_hash(request: Request, signature: Signature) -> str:
    sent = request.headers.get(CONTENT_HASH) or request.args.get(CONTENT_HASH) or UNSIGNED_PAYLOAD
    if signature.service == "s3" or (CONTENT_HASH in request.headers and sent == UNSIGNED_PAYLOAD):
        return sent
    return hashlib.sha256(request.get_data()).hexdigest()


def _canonical_query(query: str) -> str:
    """Return a query with each name and value in AWS's own encoding, without the signature itself."""
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    encoded = [(_encoded(name), _encoded(value)) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in encoded if name != "X-Amz-Signature")


def _encoded(part: str) -> str:
    return quote(unquote_to_bytes(part), safe=UNRESERVED)


def _version_2(request: Request, signature: Signature, secret: str) -> str:
    path, query = _target(request)
    headers = _headers(request)
    if signature.is_presigned:  # a presigned URL has signed headers in its query
        for name, value in parse_qsl(query, keep_blank_values=True):
            is_header = name.startswith("x-amz-") or name in ("content-md5", "content-type")
            if is_header and name not in headers:
                headers[name] = value
    signer = _S3Signer2(Credentials(signature.access_key_id, secret), signature.time)
    path = _bucket(request) + path
    if path.count("/") == 1 and path != "/":
        path += "/"  # S3 signs the path of a bucket with a slash at its end
    target = SplitResult("", "", path, query, "")
    return str(signer.get_signature(request.method, target, headers))  # type: ignore[arg-type]  # the stub is too narrow


def _bucket(request: Request) -> str:
    """Return the bucket in a Host header as a path, for version 2: my-bucket.localhost -> /my-bucket."""
    name = host_name(request.environ.get("HTTP_HOST", ""))
    for own in HOST_NAMES:
        if name.endswith(f".{own}"):
            return f"/{name.removesuffix(f'.{own}')}"
    return ""


def _target(request: Request) -> tuple[str, str]:
    """Return the path and the query of the request, percent-encoded.

    The split must be the same as that of werkzeug, or else the signature of one object gives access to another.
    """
    parts = urlsplit(str(request.environ["REQUEST_URI"]))
    path = parts.path if parts.scheme else f"/{parts.netloc}{parts.path}" if parts.netloc else parts.path
    return path or "/", parts.query


def _headers(request: Request) -> HTTPHeaders:
    headers = HTTPHeaders()
    for name, value in _pairs(request.environ).items():
        headers[name] = value.encode("latin-1").decode("utf-8", "replace")  # WSGI decodes bytes as Latin-1
    return headers


def _pairs(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the headers by lower-case name. Names with underscores are kept as moto has preserved them."""
    names = {key: key.removeprefix("HTTP_").replace("_", "-") for key in environ if key.startswith("HTTP_")}
    names |= {key: key.replace("_", "-") for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ}
    names |= environ.get(PRESERVED_HEADER_NAMES_ENVIRON_KEY, {})
    return {name.lower(): str(environ[key]) for key, name in names.items()}
