"""The access keys that the endpoint accepts: its own, and those that moto issued to their holders."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timezone

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from smsweep.emulator import api_error


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessKey:
    """An AWS access key. Its id does not look like one of AWS, so that nobody confuses the two."""

    id: str = field(default_factory=lambda: f"SMSWEEP{secrets.token_hex(8).upper()}")
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


class Keys:
    """New random keys for one run of the endpoint, and the keys that IAM and STS issue while it runs.

    Args:
        clock: Returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.user = AccessKey()  # printed for the user's clients
        self.jobs = AccessKey()  # in the environment of every job, as a role's credentials on AWS
        self.internal = AccessKey()  # of the endpoint's own calls to its S3, which no fault and no ledger sees
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
                    expires = role.expiration.replace(tzinfo=timezone.utc)  # moto leaves the zone out
                    if expires.timestamp() <= self._clock():
                        raise api_error.expired()
                return str(key.secret_access_key)
        raise api_error.unknown_key()
