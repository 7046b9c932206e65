"""Send one signed call to a JSON API of AWS. Standard library only."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import importlib
import io
import json
import random
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Dict, Tuple

    Keys = Tuple[str, str, str]  # key id, secret key, session token or ""

TIMEOUT_S = 20
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # between tries; each is shortened at random by up to half
# Substrings of the error codes of services that accept the same request later.
THROTTLED = ("throttl", "toomanyrequests", "requestlimitexceeded", "requesttimeout", "internalserv")
CONTAINER_CREDENTIALS = "http://169.254.170.2"  # where SageMaker serves the credentials of the job's role
DOMAINS = {  # by partition; amazonaws.com in all other partitions
    "aws-cn": "amazonaws.com.cn",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
    "aws-eusc": "amazonaws.eu",
}


def aws_call(
    service: str,
    region: str,
    partition: str,
    target: str,
    body: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Dict[str, Any]:
    """Call an action of an AWS JSON API and return its answer.

    The call is sent to AWS_ENDPOINT_URL_<SERVICE> or AWS_ENDPOINT_URL if one of them is set.

    Args:
        service: "secretsmanager" or "ssm".
        region: Region of the endpoint, such as "eu-west-1".
        partition: Partition of the endpoint, such as "aws" or "aws-cn".
        target: Value of the X-Amz-Target header, such as "secretsmanager.GetSecretValue".
        body: The request, as a JSON object.
        environ: Environment with the credentials, or with the address that serves them.

    Returns:
        The answer, as a JSON object.

    Raises:
        HTTPError: If the service refuses the request.
        Unavailable: If the service cannot be reached, or is throttled or fails in every try.
        ValueError: If the answer is not JSON, or the endpoint is not an http(s) URL.
        KeyError: If there are no credentials.
    """
    url = _endpoint(service, region, partition, environ)
    data = json.dumps(body).encode()
    now = datetime.datetime.now(datetime.timezone.utc)
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": urlsplit(url).netloc,
        "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-target": target,
    }
    keys = credentials(environ)
    if keys[2]:
        headers["x-amz-security-token"] = keys[2]
    headers["authorization"] = signature(headers, data, service, region, keys)
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")  # noqa: S310 - checked
    document: Dict[str, Any] = json.loads(_send_with_retries(request))
    return document


class Unavailable(OSError):
    """The service gave no usable answer in any try; a later job may get one."""


def _send_with_retries(request: urllib.request.Request) -> bytes:
    """Send a request; retry while the service is throttled, fails, or cannot be reached.

    Raises:
        HTTPError: If the service refuses the request.
        Unavailable: If the last try fails as well.
        ValueError: If the URL is not an http(s) URL.
    """
    if request.type not in ("http", "https"):  # urllib would read a local file as the answer
        raise ValueError(
            f"{request.type}: is not a scheme that AWS supports; set AWS_ENDPOINT_URL and "
            "AWS_CONTAINER_CREDENTIALS_FULL_URI to https://... or unset them"
        )
    rng = random.Random()  # noqa: S311 # nosec B311
    for pause_s in (*PAUSES_S, None):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 # nosec B310
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as err:
            text = err.read(2_000)
            if err.code < 500 and err.code != 429 and not _is_throttled(text):
                raise urllib.error.HTTPError(err.url, err.code, err.msg, err.hdrs, io.BytesIO(text)) from None
            trouble = "HTTP %d: %s" % (err.code, text.decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as err:
            trouble = str(err) or type(err).__name__
        if pause_s is not None:
            time.sleep(pause_s * rng.uniform(0.5, 1.0))
    raise Unavailable(f"no answer in {len(PAUSES_S) + 1} tries; the last one: {trouble}")


def _is_throttled(text: bytes) -> bool:
    """Return True for the error document of a service that accepts the same request later.

    Such errors have HTTP status 400. Source: Secrets Manager and Systems Manager API, common errors.
    """
    try:
        document = json.loads(text)
        kind = str(document.get("__type") or document.get("code") or "").lower()
    except (ValueError, AttributeError):
        return False
    return any(sign in kind for sign in THROTTLED)


def credentials(environ: Mapping[str, str]) -> Keys:
    """Return the job's credentials: from its environment, or from the address that serves those of its role."""
    if environ.get("AWS_ACCESS_KEY_ID"):
        token = environ.get("AWS_SESSION_TOKEN", "")
        return environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], token
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    full = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or (relative and CONTAINER_CREDENTIALS + relative)
    if not full:
        return _botocore_credentials()
    authorization = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    request = urllib.request.Request(full, headers={"authorization": authorization} if authorization else {})  # noqa: S310
    keys = json.loads(_send_with_retries(request))
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("Token", "")


def _botocore_credentials() -> Keys:
    """Return botocore's credentials (profiles, single sign-on, instance metadata), if botocore is installed."""
    try:
        known = importlib.import_module("botocore.session").Session().get_credentials()
    except ImportError:
        known = None
    if known is None:
        raise KeyError("no AWS credentials in this job")
    keys = known.get_frozen_credentials()
    return keys.access_key, keys.secret_key, keys.token or ""


def signature(headers: Mapping[str, str], data: bytes, service: str, region: str, keys: Keys) -> str:
    """Return the Authorization header of a POST to /.

    Source: AWS Signature Version 4.

    Args:
        headers: All headers of the request, with lower-case names. Must include x-amz-date.
        data: The body.
        service: Name of the service, such as "ssm".
        region: Region of the endpoint.
        keys: Key id, secret key, and session token ("" for none).
    """
    date = headers["x-amz-date"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join(["POST", "/", "", lines, names, hashlib.sha256(data).hexdigest()])
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys[1]}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signed = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={names}, Signature={signed}"


def _endpoint(service: str, region: str, partition: str, environ: Mapping[str, str]) -> str:
    name = {"secretsmanager": "SECRETS_MANAGER", "ssm": "SSM"}[service]
    url = environ.get(f"AWS_ENDPOINT_URL_{name}") or environ.get("AWS_ENDPOINT_URL")
    return url or f"https://{service}.{region}.{DOMAINS.get(partition, 'amazonaws.com')}/"
