"""One signed call of an AWS JSON API, with nothing but the standard library."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import importlib
import json
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
PAUSES_S = (0.5, 2.0)  # between tries
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

    Goes to AWS_ENDPOINT_URL_<SERVICE> or AWS_ENDPOINT_URL where one is set. Raises OSError (HTTPError for a
    refusal), ValueError for an answer that is no JSON, KeyError where there are no credentials.
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


def _patiently(request: urllib.request.Request) -> bytes:
    """Send a request, again while the trouble may pass.

    Raises OSError, and ValueError for a URL that is not one of a web server.
    """
    if request.type not in ("http", "https"):  # urllib would read a local file as the answer
        raise ValueError(
            f"{request.type}: is not a scheme that AWS answers; set AWS_ENDPOINT_URL and "
            "AWS_CONTAINER_CREDENTIALS_FULL_URI to https://... or unset them"
        )
    for pause_s in (*PAUSES_S, None):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 # nosec B310
                body: bytes = answer.read()
                return body
        except OSError as err:
            is_refusal = isinstance(err, urllib.error.HTTPError) and err.code < 500 and err.code != 429
            if is_refusal or pause_s is None:
                raise
        time.sleep(pause_s)
    raise AssertionError  # the last try returns or raises


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
