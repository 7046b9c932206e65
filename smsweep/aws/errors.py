"""The translation of AWS's errors into errors of smsweep, and retries of S3 requests that conflict with others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from http.client import responses
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from smsweep.errors import (
    AccessDenied,
    BackendUnavailable,
    BadCredentials,
    JobError,
    JobRejected,
    QuotaExceeded,
    Throttled,
    docs_url,
)

TEMPORARY = (408, 425, 429)  # HTTP statuses below 500 of requests that can succeed later
# S3's codes for "another request works on this object or bucket now"; the answer to a HEAD has only the status.
S3_CONFLICTS = ("ConditionalRequestConflict", "OperationAborted", "409")
# S3's codes with HTTP status 400 for a body that arrived incomplete or late.
INCOMPLETE = ("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch")
# Error code -> error of smsweep. For other codes, an HTTP status below 500 means that the request is wrong, unless
# the status is one of TEMPORARY.
CODES: Mapping[str, type[JobError]] = {
    "ResourceLimitExceeded": QuotaExceeded,
    "ThrottlingException": Throttled,
    "Throttling": Throttled,
    "TooManyRequestsException": Throttled,
    "RequestLimitExceeded": Throttled,
    "SlowDown": Throttled,
    **dict.fromkeys(S3_CONFLICTS, BackendUnavailable),
    **dict.fromkeys(INCOMPLETE, BackendUnavailable),
    "RequestTimeTooSkewed": BackendUnavailable,  # the user can correct this machine's clock
    "AccessDeniedException": AccessDenied,
    "AccessDenied": AccessDenied,
    "UnauthorizedOperation": AccessDenied,
    "403": AccessDenied,  # of a HEAD request, whose answer has no body
    "ExpiredToken": BadCredentials,
    "ExpiredTokenException": BadCredentials,
    "RequestExpired": BadCredentials,
    "InvalidClientTokenId": BadCredentials,
    "InvalidAccessKeyId": BadCredentials,
    "UnrecognizedClientException": BadCredentials,
    "InvalidSignatureException": BadCredentials,
    "SignatureDoesNotMatch": BadCredentials,
    "MissingAuthenticationTokenException": BadCredentials,
}
NO_CREDENTIALS = (
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
# The message lists all valid values, such as hundreds of instance types.
_ENUM = re.compile(r"(?P<start>Value '(?P<value>[^']*)' at [^\[]*enum value set: )\[(?P<known>[^\]]*)\]")
MAX_NAMED = 5
# Calls that have another name in policies.
IAM_NAMES: Mapping[str, str] = {
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
# S3 quotes the resource; other services do not.
_DENIED = re.compile(
    r"is not authorized to perform: (?P<action>[\w-]+:\w+)(?: on resource: \"?(?P<resource>[^\s\"]+))?"
)
_POLICY = r"(?P<policy>[\w -]{1,40}? (?:policy|boundary))"
_FORBIDDEN_BY = re.compile(rf"with an explicit deny in (?P<article>an?) {_POLICY}")
_LACKING_IN = re.compile(rf"because no {_POLICY} allows")
CONFLICT = 409  # HTTP status
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)  # before each further attempt


def code_of(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Code", ""))


def message_of(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Message", "")) or str(err)


def translate(err: BotoCoreError | ClientError, action: str) -> JobError:
    """Return the error of smsweep for a failed call.

    Args:
        err: The error of botocore.
        action: The name of the call in IAM, such as s3:PutObject.
    """
    if isinstance(err, NO_CREDENTIALS):
        return no_credentials(str(err))
    if isinstance(err, NoRegionError):
        return AccessDenied("AWS: no region; set AWS_REGION, or region in your AWS profile")
    if not isinstance(err, ClientError):
        # A problem of the network. AWS may have received the call.
        fix = (
            "; check the network, AWS_REGION and AWS_ENDPOINT_URL"
            if isinstance(err, (EndpointConnectionError, HTTPClientError))
            else ""
        )
        return BackendUnavailable(f"{action}: {err}{fix}")
    kind = CODES.get(code_of(err))
    if _is_foreign(err):
        return not_of_aws(action, message_of(err)[:100])
    if kind is None:
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        kind = BackendUnavailable if status >= 500 or status in TEMPORARY else JobRejected
    if kind is AccessDenied:
        return AccessDenied(_policy(action, message_of(err)))
    if kind is BadCredentials:
        return no_credentials(message_of(err))
    return kind(f"{action}: {code_of(err)}: {_ENUM.sub(_closest, message_of(err))}")


def not_of_aws(action: str, message: str) -> BackendUnavailable:
    """Return the error for an answer that is not from AWS. AWS may have received the call."""
    return BackendUnavailable(f"{action}: the answer is not from AWS ({message}); check the proxy of this machine")


def _is_foreign(err: ClientError) -> bool:
    """Return True if the answer is not from AWS. For a HEAD request, botocore's message is that of the status."""
    code = code_of(err)
    return not code or (code.isdecimal() and message_of(err) != responses.get(int(code)))


def _closest(match: re.Match[str]) -> str:
    """Shorten a message about an invalid value to the most similar valid values."""
    known = match["known"].split(", ")
    if len(known) > MAX_NAMED:
        known = [*get_close_matches(match["value"], known, MAX_NAMED), f"... {len(known)} in all"]
    return f"{match['start']}[{', '.join(known)}]"


def no_credentials(message: str) -> BadCredentials:
    """Return the error for missing or refused credentials. message: the problem."""
    in_a_line = " ".join(message.split()).rstrip(".")
    return BadCredentials(
        f"AWS credentials: {in_a_line}; refresh them (aws sso login, aws configure, or your own way). "
        f"Running training jobs are not affected. See {docs_url('sagemaker#credentials')}"
    )


def _policy(action: str, message: str) -> str:
    match = _DENIED.search(message)
    action = match["action"] if match else IAM_NAMES.get(action, action)
    resource = (match and match["resource"]) or "*"
    return f"AWS: access denied to {action} on {resource}: {message}\n{_cure(action, resource, message)}"


def _cure(action: str, resource: str, message: str) -> str:
    if forbidden := _FORBIDDEN_BY.search(message):
        return (
            f"{forbidden['article']} {forbidden['policy']} denies it explicitly: remove {action} on {resource} "
            "from its Deny"
        )
    lacking = _LACKING_IN.search(message)
    where = (
        f"the {lacking['policy']}" if lacking and lacking["policy"] != "identity-based policy" else "your policy"
    )
    return (
        f'add {{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}} to {where}; '
        f"`smsweep iam` prints all required permissions; see {docs_url('security#permissions')}"
    )


def retry_conflicts(client: Any) -> None:
    """Make an S3 client retry a request after a conflict. botocore does not.

    Args:
        client: A boto3 client of S3, also one that a transfer manager uses.
    """
    client.meta.events.register("needs-retry.s3", _pause_s, unique_id="smsweep-conflicts")


def _pause_s(response: tuple[Any, Mapping[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return the seconds to wait before the next attempt; None without a conflict, or after the last attempt."""
    if response is None or attempts > len(PAUSES_S) or response[0].status_code != CONFLICT:
        return None
    return PAUSES_S[attempts - 1] if response[1].get("Error", {}).get("Code") in S3_CONFLICTS else None
