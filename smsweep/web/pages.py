"""The HTML pages, their scripts and styles. The URLs contain a hash, so that browsers cache them for ever."""

from __future__ import annotations

import functools
import hashlib
from html import escape
from importlib import resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from smsweep.report.page import sha256, static
from smsweep.services.report import plotly_source

LOAD_AGAIN = (resources.files("smsweep.web") / "static" / "load_again.js").read_text(encoding="utf-8")
# Only scripts, styles and images of this page; no requests to other sites.
PAGE_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{sha256(LOAD_AGAIN)}'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
ICON = "favicon.svg"
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
)
# Shared with the report.
SHARED = ("dots.js", "figures.js", "figure_view.js", "parallel.js", "trial_table.js", "smsweep.css", "theme.js")
KINDS = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


def shell() -> HTMLResponse:
    """Return the page that the scripts fill."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>smsweep</title>'
        f"<script>{LOAD_AGAIN}</script>"
        f'<meta name="plotly" content="{address("plotly.js")}">'
        f'<link rel="icon" href="{address(ICON)}">'
        f"{_style('plotly.css', 'plotly.js-style-global')}{_style('smsweep.css')}{_style('ui.css')}"
        f"{_script('theme.js')}{_script('figures.js', defer=True)}{_script('trial_table.js', defer=True)}"
        f"{_script('parallel.js', defer=True)}{_script('dots.js', defer=True)}"
        f"{_script('figure_view.js', defer=True)}"
        f'<script type="module" src="{address("app.js")}"></script></head>'
        '<body class="app"><a class="skip" href="#main">Skip to content</a>'
        '<header class="top" id="top"></header>'
        '<main id="main" tabindex="-1"><noscript>This page needs JavaScript.</noscript></main>'
        '<div id="notice" role="status" aria-live="polite"></div>'
        '<dialog id="dialog" aria-labelledby="dialog-title"></dialog></body></html>'
    )


def sign_in(why: str = "") -> HTMLResponse:
    """Return the page that asks for the token."""
    message = f'<p class="bad" role="alert">{escape(why)}</p>' if why else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>Sign in: smsweep</title>'
        f'<link rel="icon" href="{address(ICON)}">{_style("smsweep.css")}{_style("ui.css")}'
        f'{_script("theme.js")}</head><body class="app"><main class="sign-in"><h1>smsweep</h1>'
        "<p>Open the URL that <code>smsweep ui</code> printed, or paste its token here.</p>"
        f'{message}<form method="get" action="/"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="off" required autofocus>'
        '<button class="main">Sign in</button></form></main></body></html>',
        401,
    )


def _style(name: str, element_id: str = "") -> str:
    # Plotly adds its rules to the style sheet with this id. The policy forbids it to create a style element.
    mark = f' id="{element_id}"' if element_id else ""
    return f'<link rel="stylesheet"{mark} href="{address(name)}">'


def _script(name: str, *, defer: bool = False) -> str:
    return f'<script src="{address(name)}"{" defer" if defer else ""}></script>'


def address(name: str) -> str:
    """Return the URL path of a file such as "ui.css". Modules import each other by relative names."""
    return f"/static/{_version()}/{name}"


def serve(request: Request) -> Response:
    """Return a script, style sheet or icon."""
    name = request.path_params["name"]
    try:
        body = _read(name)
    except (OSError, ValueError, KeyError):  # ValueError: a NUL character in the name
        return PlainTextResponse("no such file\n", 404)
    return Response(body, media_type=KINDS[name.rpartition(".")[2]], headers={"Cache-Control": FOR_EVER})


@functools.cache
def _read(name: str) -> bytes:
    if name == "plotly.js":
        return plotly_source().encode()
    if name in SHARED:
        return static(name).encode()
    if "/" in name or name.rpartition(".")[2] not in KINDS:
        raise KeyError(name)
    return (resources.files("smsweep.web") / "static" / name).read_bytes()


@functools.cache
def _version() -> str:
    """Return a hash of all files; a change of any file changes the URLs of all."""
    own = sorted(file.name for file in (resources.files("smsweep.web") / "static").iterdir())
    digest = hashlib.sha256()
    for name in (*own, *SHARED, "plotly.js"):
        digest.update(_read(name))
    return digest.hexdigest()[:12]
