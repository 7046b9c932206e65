"""Checks of HTTP requests that the web page and the emulator share."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

# Values of the header Sec-Fetch-Site, which browsers set and scripts cannot, that name another origin.
OTHER_SITES = ("cross-site", "same-site")


def host_name(host: str) -> str:
    """Return the lower-case name in a Host header, without port and trailing dot; "" if it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        is_plain = parts.netloc == host and parts.username is None and parts.port != -1  # port: None, or a number
        return (parts.hostname or "").rstrip(".") if is_plain else ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Return True if a host name is an IP address: no DNS server can make it point to this machine.

    0.0.0.0 and :: do not count. Browsers send them to this machine, and do not mark such requests as cross-site.
    """
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def is_same_secret(received: str, expected: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(received.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
