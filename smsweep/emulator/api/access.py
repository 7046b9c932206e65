"""Access control: the emulator accepts its own access keys, and those that moto has issued."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timezone

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from werkzeug.wrappers import Request

from smsweep.emulator import api_error
from smsweep.emulator.api import signatures
from smsweep.emulator.api.signatures import Signature
from smsweep.util.local_requests import host_name, is_address

CONTROL_PATH = "/moto-api"  # path prefix of moto's control API, which has no authentication
PAGE_HEADERS = ("Origin", "Sec-Fetch-Site")  # browsers send one or both with every request of a page


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessKey:
    """An access key. Its id differs from those of AWS, so that users cannot confuse them."""

    id: str = field(default_factory=lambda: f"SMSWEEP{secrets.token_hex(8).upper()}")
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


class AccessKeys:
    """Random keys of one run of the emulator, and the keys that IAM and STS issue during the run.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.user = AccessKey()  # for the user's clients; the emulator prints it
        self.jobs = AccessKey()  # in the environment of each job, like a role's credentials on AWS
        self.internal = AccessKey()  # for the emulator's own calls to its S3, without faults and call log
        self._clock = clock

    def secret_of(self, access_key_id: str) -> str:
        """Return the secret of an access key.

        Raises:
            ApiError: If the key does not exist, is inactive, or belongs to a session that has expired.
        """
        for key in (self.user, self.jobs, self.internal):
            if secrets.compare_digest(key.id.encode(), access_key_id.encode("utf-8", "replace")):
                return key.secret
        return self._issued(access_key_id)

    def _issued(self, access_key_id: str) -> str:
        for account, partitions in list(iam_backends.items()):
            for partition, iam in list(partitions.items()):
                key = iam.access_keys.get(access_key_id)
                if key is None or key.status != "Active":
                    continue
                role = sts_backends[account][partition].get_assumed_role_from_access_key(access_key_id)
                if role is not None:
                    expires = role.expiration.replace(tzinfo=timezone.utc)  # moto omits the zone
                    if expires.timestamp() <= self._clock():
                        raise api_error.expired()
                return str(key.secret_access_key)
        raise api_error.unknown_key()


class Access:
    """Checks each request before any other code reads it.

    Args:
        keys: The access keys that are valid.
        url: The URL of the emulator, for error messages.
        names: Host names of this machine that clients may use, besides its addresses.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, keys: AccessKeys, url: str, names: Collection[str], clock: Callable[[], float]) -> None:
        self._keys = keys
        self._url = url
        self._names = names
        self._clock = clock

    def check_source(self, request: Request) -> None:
        """Refuse web pages, other names of this machine (DNS rebinding), and moto's control API.

        Raises:
            ApiError: If the request is refused.
        """
        name = host_name(request.headers.get("Host", ""))
        if not (is_address(name) or any(name == own or name.endswith(f".{own}") for own in self._names)):
            raise api_error.wrong_host(name, self._url)
        if any(header in request.headers for header in PAGE_HEADERS):
            raise api_error.web_page_refused()
        if request.path.startswith(CONTROL_PATH):
            raise api_error.control_api_closed()

    def check_key(self, request: Request, signature: Signature | None) -> None:
        """Refuse a request that no valid access key has signed.

        Raises:
            ApiError: If the request is refused.
        """
        if signature is None:
            raise api_error.unsigned()
        signatures.verify(request, signature, self._keys.secret_of(signature.access_key_id), self._clock())
        if signature.service != "s3":  # rewind the body, which verify() has read
            data = request.get_data()
            request.environ.update({"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data))})
