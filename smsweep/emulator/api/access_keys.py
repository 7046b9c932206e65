"""Access keys that the emulator accepts: its own, and those that moto has issued."""

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
