"""Authentication of the web page: host name, token, and protection from other sites."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smsweep.util.local_requests import OTHER_SITES, host_name, is_address, is_same_secret
from smsweep.web.pages import PAGE_POLICY, sign_in

SAFE = ("GET", "HEAD")
MAX_BODY = 1 << 20  # bytes of a request
PUBLIC = "/static/"  # scripts and styles contain no private data
API = "/api/"
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


class Authentication:
    """ASGI middleware that refuses requests without a valid host name and token.

    A browser sends the token once, in the URL. After that, each request for data needs two secrets. The first is a
    cookie: scripts cannot read it and other sites cannot send it, but the browser sends it to all ports of this
    machine. The second is a page key in the page's own storage, which no other port receives.

    Args:
        token: The secret of the user who started the page. Scripts send it as `Authorization: Bearer`.
        names: Host names of this machine. Requests for other names are refused, because DNS can point any name to
            this machine. IP addresses are always accepted.
        port: Port of the page. It is part of the name of the cookie, because browsers share cookies between ports.
    """

    app: ASGIApp  # gets the accepted requests

    def __init__(self, *, token: str, names: Collection[str], port: int) -> None:
        self._token = token
        self._names = {name.lower() for name in names} | {"localhost"}
        self._cookie = f"smsweep-{port}"
        self._tickets: set[str] = set()

    def ticket(self, text: str) -> str:
        """Accept `text` once instead of the token, for a URL that other users of this machine may see."""
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
        """Return the response to a refused request; None if the request is accepted."""
        headers, path = request.headers, request.url.path
        if not self._is_own_name(headers.get("host", "")):
            return PlainTextResponse(
                "421: this page is not served under that name; start `smsweep ui` with --allow-host NAME\n", 421
            )
        if path.startswith(PUBLIC):
            return None
        is_api = path.startswith(API)
        if is_api and headers.get("sec-fetch-site") in OTHER_SITES:
            return JSONResponse({"error": "requests from other sites are refused"}, 403)
        candidate = request.query_params.get("token") if request.method in SAFE else None
        if candidate is not None and path == "/":
            if self._is_token(candidate):
                return self._enter()
            return sign_in("This token is not valid." if candidate else "")
        is_bearer = self._has_bearer(headers)
        if not is_bearer and not self._has_cookie(headers):
            return JSONResponse({"error": "a token is required; sign in first"}, 401) if is_api else sign_in()
        if is_api and not is_bearer and not is_same_secret(headers.get(CSRF_HEADER, ""), self._page_key):
            return JSONResponse({"error": "the page is out of date; sign in again"}, 403)
        if request.method in SAFE:
            return None
        return self._refuse_change(request, is_bearer)

    def _refuse_change(self, request: Request, is_bearer: bool) -> Response | None:
        headers = request.headers
        if not is_bearer:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
                return JSONResponse({"error": f"requests from {origin} are refused"}, 403)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "expected Content-Type: application/json"}, 415)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return JSONResponse({"error": f"expected a Content-Length of at most {MAX_BODY} bytes"}, 413)
        return None

    def _enter(self) -> Response:
        # Redirect to a URL without the token. The part after # stays in the browser; static/api.js stores it.
        response = RedirectResponse(f"/#key={self._page_key}", 303)
        response.set_cookie(self._cookie, self._derived("session"), httponly=True, samesite="strict", path="/")
        return response

    def _is_token(self, candidate: str) -> bool:
        if candidate in self._tickets:
            self._tickets.discard(candidate)
            return True
        return is_same_secret(candidate, self._token)

    @property
    def _page_key(self) -> str:
        return self._derived("csrf")

    def _has_bearer(self, headers: Headers) -> bool:
        kind, _, candidate = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and is_same_secret(candidate.strip(), self._token)

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self._cookie in cookies and is_same_secret(cookies[self._cookie].value, self._derived("session"))

    def _is_own_name(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or is_address(name)

    def _derived(self, purpose: str) -> str:
        return hmac.new(self._token.encode(), purpose.encode(), hashlib.sha256).hexdigest()
