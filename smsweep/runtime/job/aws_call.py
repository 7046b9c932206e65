"""One signed call of an AWS JSON API, with nothing but the standard library."""

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
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # between tries; up to half of each is cut off at random
# In the error codes of services that accept the same request later.
THROTTLED = ("throttl", "toomanyrequests", "requestlimitexceeded", "requesttimeout", "internalserv")
CONTAINER_CREDENTIALS = "http://169.254.170.2"  # where SageMaker hands a job its role's keys
DOMAINS = {  # by partition; of the others it is amazonaws.com
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
    """Call an action, such as target secretsmanager.GetSecretValue, and return its answer.

    Goes to AWS_ENDPOINT_URL_<SERVICE> or AWS_ENDPOINT_URL where one is set. Raises HTTPError for a refusal,
    Unavailable if the service cannot be reached, ValueError for an answer that is not JSON, KeyError without
    credentials.
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
    document: Dict[str, Any] = json.loads(_patiently(request))
    return document


class Unavailable(OSError):
    """The service gave no usable answer to any of the tries; a later job may get one."""


def _patiently(request: urllib.request.Request) -> bytes:
    """Send a request; retry while the service is throttled, fails, or cannot be reached.

    Raises HTTPError for a refusal, Unavailable if the last try fails as well, ValueError for a URL that is not one
    of a web server.
    """
    if request.type not in ("http", "https"):  # urllib would read a local file as the answer
        raise ValueError(
            f"{request.type}: is not a scheme that AWS answers; set AWS_ENDPOINT_URL and "
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

    AWS answers with status 400 then. Source: Secrets Manager and Systems Manager API, common errors.
    """
    try:
        document = json.loads(text)
        kind = str(document.get("__type") or document.get("code") or "").lower()
    except (ValueError, AttributeError):
        return False
    return any(sign in kind for sign in THROTTLED)


def credentials(environ: Mapping[str, str]) -> Keys:
    """Return the job's keys: from its environment, or from where its role's are handed out."""
    if environ.get("AWS_ACCESS_KEY_ID"):
        token = environ.get("AWS_SESSION_TOKEN", "")
        return environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], token
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    full = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or (relative and CONTAINER_CREDENTIALS + relative)
    if not full:
        return _keys_of_botocore()
    permit = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    request = urllib.request.Request(full, headers={"authorization": permit} if permit else {})  # noqa: S310 - checked
    keys = json.loads(_patiently(request))
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("Token", "")


def _keys_of_botocore() -> Keys:
    """Profiles, single sign-on, the metadata of a machine: botocore knows them all, where it is installed."""
    try:
        found = importlib.import_module("botocore.session").Session().get_credentials()
    except ImportError:
        found = None
    if found is None:
        raise KeyError("no AWS credentials in this job")
    keys = found.get_frozen_credentials()
    return keys.access_key, keys.secret_key, keys.token or ""


def signature(headers: Mapping[str, str], data: bytes, service: str, region: str, keys: Keys) -> str:
    """Return the Authorization header of a POST to /. Source: AWS Signature Version 4.

    headers: all that are sent, in lower case; x-amz-date among them.
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
