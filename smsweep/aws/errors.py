"""From what AWS says went wrong to what it means: one table for refused calls, one for failed jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from http.client import responses

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

from smsweep.aws.s3_conflicts import CODES as CONFLICTS
from smsweep.errors import (
    AccessDenied,
    BackendUnavailable,
    BadCredentials,
    JobError,
    JobRejected,
    QuotaExceeded,
    Throttled,
)

PASSING = (408, 425, 429)  # HTTP status below 500 of a request that may well succeed later
# S3's codes with HTTP status 400 for a body that did not arrive whole, or not in time.
BROKEN_OFF = ("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch")
# Error code -> what it is. Codes that are not here and have an HTTP status below 500 are the request's own fault,
# unless the status is one of PASSING.
CODES: Mapping[str, type[JobError]] = {
    "ResourceLimitExceeded": QuotaExceeded,
    "ThrottlingException": Throttled,
    "Throttling": Throttled,
    "TooManyRequestsException": Throttled,
    "RequestLimitExceeded": Throttled,
    "SlowDown": Throttled,
    **dict.fromkeys(CONFLICTS, BackendUnavailable),
    **dict.fromkeys(BROKEN_OFF, BackendUnavailable),
    "RequestTimeTooSkewed": BackendUnavailable,  # this machine's clock is wrong, and can be corrected
    "AccessDeniedException": AccessDenied,
    "AccessDenied": AccessDenied,
    "UnauthorizedOperation": AccessDenied,
    "403": AccessDenied,  # of a HEAD, which has no body to say more
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


# The service names all that it knows, hundreds of machines.
_ENUM = re.compile(r"(?P<said>Value '(?P<value>[^']*)' at [^\[]*enum value set: )\[(?P<known>[^\]]*)\]")
MOST_NAMED = 5
# Calls that policies know by another name.
IAM_NAMES: Mapping[str, str] = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
# S3 puts the resource into quotes, the others do not.
_DENIED = re.compile(
    r"is not authorized to perform: (?P<action>[\w-]+:\w+)(?: on resource: \"?(?P<resource>[^\s\"]+))?"
)
_POLICY = r"(?P<policy>[\w -]{1,40}? (?:policy|boundary))"
_FORBIDDEN_BY = re.compile(rf"with an explicit deny in (?P<article>an?) {_POLICY}")
_LACKING_IN = re.compile(rf"because no {_POLICY} allows")


def code_of(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Code", ""))


def message_of(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Message", "")) or str(err)


def translate(err: BotoCoreError | ClientError, action: str) -> JobError:
    """Return what a failed call means. action: IAM's name of the call, such as s3:PutObject."""
    if isinstance(err, NO_CREDENTIALS):
        return no_credentials(str(err))
    if isinstance(err, NoRegionError):
        return AccessDenied("AWS: no region; set AWS_REGION, or region in your AWS profile")
    if not isinstance(err, ClientError):
        # The network: nobody knows whether the call arrived.
        cure = (
            "; check the network, AWS_REGION and AWS_ENDPOINT_URL"
            if isinstance(err, (EndpointConnectionError, HTTPClientError))
            else ""
        )
        return BackendUnavailable(f"{action}: {err}{cure}")
    kind = CODES.get(code_of(err))
    if _is_foreign(err):
        return not_of_aws(action, message_of(err)[:100])
    if kind is None:
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        kind = BackendUnavailable if status >= 500 or status in PASSING else JobRejected
    if kind is AccessDenied:
        return AccessDenied(_policy(action, message_of(err)))
    if kind is BadCredentials:
        return no_credentials(message_of(err))
    return kind(f"{action}: {code_of(err)}: {_ENUM.sub(_closest, message_of(err))}")


def not_of_aws(action: str, said: str) -> BackendUnavailable:
    """Return the error about an answer from whoever stands between: nobody knows whether the call arrived."""
    return BackendUnavailable(f"{action}: an answer that is not AWS's ({said}); is there a proxy in between?")


def _is_foreign(err: ClientError) -> bool:
    """Tell an answer without AWS's words. That to a HEAD has no body, and botocore the words of its status."""
    code = code_of(err)
    return not code or (code.isdecimal() and message_of(err) != responses.get(int(code)))


def _closest(found: re.Match[str]) -> str:
    """Return the complaint of a value that is none of many with those that it may have meant."""
    known = found["known"].split(", ")
    if len(known) > MOST_NAMED:
        known = [*get_close_matches(found["value"], known, MOST_NAMED), f"... {len(known)} in all"]
    return f"{found['said']}[{', '.join(known)}]"


def no_credentials(said: str) -> BadCredentials:
    """Return the error about credentials that are not there or refused. said: what is wrong with them."""
    in_a_line = " ".join(said.split()).rstrip(".")
    return BadCredentials(
        f"AWS credentials: {in_a_line}; refresh them (aws sso login, aws configure, or your own way). "
        "Running training jobs are not concerned"
    )


def _policy(action: str, said: str) -> str:
    found = _DENIED.search(said)
    action = found["action"] if found else IAM_NAMES.get(action, action)
    resource = (found and found["resource"]) or "*"
    return f"AWS: access denied to {action} on {resource}: {said}\n{_cure(action, resource, said)}"


def _cure(action: str, resource: str, said: str) -> str:
    if forbidden := _FORBIDDEN_BY.search(said):
        return (
            f"{forbidden['article']} {forbidden['policy']} forbids it, which no other can allow: take {action} on "
            f"{resource} out of its Deny"
        )
    lacking = _LACKING_IN.search(said)
    where = (
        f"the {lacking['policy']}" if lacking and lacking["policy"] != "identity-based policy" else "your policy"
    )
    return (
        f'add {{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}} to {where}; '
        "`smsweep iam` prints all that is needed"
    )
