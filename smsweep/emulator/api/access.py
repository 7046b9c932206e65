"""Access control: the emulator answers only programs that have a valid access key."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection

from werkzeug.wrappers import Request

from smsweep.emulator import api_error
from smsweep.emulator.api import signatures
from smsweep.emulator.api.access_keys import AccessKeys
from smsweep.emulator.api.signatures import Signature
from smsweep.util.local_requests import host_name, is_address

CONTROL_PATH = "/moto-api"  # path prefix of moto's control API, which has no authentication
PAGE_HEADERS = ("Origin", "Sec-Fetch-Site")  # browsers send one or both with every request of a page


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
