"""Who may talk to the live page: the right name, a token, and for changes proof that the page itself asked."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smsweep.ui.pages import PAGE_POLICY, sign_in

SAFE = ("GET", "HEAD")
MAX_BODY = 1 << 20  # bytes of a request
PUBLIC = "/static/"  # scripts and styles: nothing in them is anybody's
CSRF_HEADER = "x-csrf-token"
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Gate:
    """Lets through what may pass; everything else ends here.

    token: a secret of whoever started the page. It comes once in the address, or as `Authorization: Bearer`; a
    browser then has a cookie that scripts cannot read and other sites cannot send. names: by which this machine
    is called, besides its addresses: a name that somebody else's DNS points here is turned away. port: of the
    page, for the cookie's name: browsers keep one set of cookies for all ports.
    """

    app: ASGIApp  # behind the gate

    def __init__(self, *, token: str, names: Collection[str], port: int) -> None:
        self._token = token
        self._names = {name.lower() for name in names} | {"localhost"}
        self._cookie = f"smsweep-{port}"
        self._tickets: set[str] = set()

    @property
    def csrf(self) -> str:
        return self._derived("csrf")

    def ticket(self, text: str) -> str:
        """Let one reader in without the token: for addresses that others on this machine may see."""
        self._tickets.add(text)
        return text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refuse(request)
        await (refused or self.app)(scope, receive, with_headers)

    def _refuse(self, request: Request) -> Response | None:
        """Return the answer to a request that goes no further; None for one that may pass."""
        headers, path = request.headers, request.url.path
        if not self._is_own_name(headers.get("host", "")):
            return PlainTextResponse(
                "421: this page is not served under that name; start `smsweep ui` with --allow-host NAME\n", 421
            )
        if path.startswith(PUBLIC):
            return None
        given = request.query_params.get("token") if request.method in SAFE else None
        if given is not None and path == "/":
            return self._enter() if self._is_token(given) else sign_in("That token is not this page's.")
        is_bearer = self._has_bearer(headers)
        if not is_bearer and not self._has_cookie(headers):
            is_api = path.startswith("/api/")
            return JSONResponse({"error": "sign in first: a token is needed"}, 401) if is_api else sign_in()
        if request.method in SAFE:
            return None
        return self._refuse_change(request, is_bearer)

    def _refuse_change(self, request: Request, is_bearer: bool) -> Response | None:
        headers = request.headers
        if not is_bearer:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
                return JSONResponse({"error": f"{origin} may not change anything here"}, 403)
            if not _same(headers.get(CSRF_HEADER, ""), self.csrf):
                return JSONResponse({"error": "the page is out of date; load it again"}, 403)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "send JSON"}, 415)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return JSONResponse({"error": f"send at most {MAX_BODY} bytes, and say how many"}, 413)
        return None

    def _enter(self) -> Response:
        response = RedirectResponse("/", 303)  # away from the address with the token
        response.set_cookie(self._cookie, self._derived("session"), httponly=True, samesite="strict", path="/")
        return response

    def _is_token(self, given: str) -> bool:
        if given in self._tickets:
            self._tickets.discard(given)
            return True
        return _same(given, self._token)

    def _has_bearer(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and _same(given.strip(), self._token)

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self._cookie in cookies and _same(cookies[self._cookie].value, self._derived("session"))

    def _is_own_name(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def _derived(self, purpose: str) -> str:
        return hmac.new(self._token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _is_address(name: str) -> bool:
    """Tell whether a name is a number: no DNS stands between it and this machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
