"""Web site of an attacker, and a browser on this machine that has opened the site."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import Browser, Page, Route

from tools.browser import chromium

READABLE = "readable"  # response of an unprotected server
PAGE = "<title>attack</title>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A server on loopback that checks nothing: the attacker's own, or a victim to show that an attack works."""

    url: str
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # method and path, headers

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            created.requests.append((f"{self.command} {self.path}", dict(self.headers.items())))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = (PAGE if self.path == "/attack" else READABLE).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_OPTIONS = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        created = Site(url=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield created
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def rebound_browser() -> Iterator[Browser]:
    """Start a browser that resolves every name to this machine, as after DNS rebinding.

    New versions of Chromium block requests of a public page to loopback. Other browsers and older
    versions do not.
    """
    with chromium(
        "--host-resolver-rules=MAP * 127.0.0.1", "--disable-features=LocalNetworkAccessChecks"
    ) as opened:
        yield opened


def rebound_page(browser: Browser, url: str) -> Page:
    """Open a page that came from evil.example, whose name now leads to the server: the two have the same origin.

    Args:
        browser: A browser that `rebound_browser` started.
        url: The URL of a server on loopback, by its address.
    """
    origin = url.replace("127.0.0.1", "evil.example")

    def answer(route: Route) -> None:
        route.fulfill(body=PAGE, content_type="text/html")

    page = browser.new_context().new_page()
    page.route(f"{origin}/attack", answer)
    page.goto(f"{origin}/attack")
    return page
