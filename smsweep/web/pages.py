"""The HTML pages: the shell that scripts fill, the sign-in page, and the frame of a figure."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse

from smsweep.web.assets import address

# Only scripts, styles and images of this page; no requests to other sites.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Plotly's WebGL layer (parallel coordinates) compiles code at run time. So it runs in a frame without an origin,
# which has no cookie, no storage and no network.
FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
ICON = "favicon.svg"
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
)


def shell() -> HTMLResponse:
    """Return the page that the scripts fill."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>smsweep</title>'
        f'<meta name="plotly" content="{address("plotly.js")}">'
        f'<link rel="icon" href="{address(ICON)}">'
        f"{_style('plotly.css', 'plotly.js-style-global')}{_style('smsweep.css')}{_style('ui.css')}"
        f"{_script('theme.js')}{_script('figures.js', defer=True)}{_script('trial_table.js', defer=True)}"
        f'<script type="module" src="{address("app.js")}"></script></head>'
        '<body class="app"><a class="skip" href="#main">Skip to content</a>'
        '<header class="top" id="top"></header>'
        '<main id="main" tabindex="-1"><noscript>This page needs JavaScript.</noscript></main>'
        '<div id="said" role="status" aria-live="polite"></div>'
        '<dialog id="dialog" aria-labelledby="dialog-title"></dialog></body></html>'
    )


def frame() -> HTMLResponse:
    """Return the page of the frame that draws parallel coordinates."""
    response = HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>figure</title>'
        f"{_style('smsweep.css')}{_style('frame.css')}"
        f"{_script('plotly.js')}{_script('figures.js')}{_script('frame.js', defer=True)}"
        '</head><body class="frame">'
        '<div id="figure" role="figure" aria-label="Parallel coordinates"></div></body></html>'
    )
    response.headers["Content-Security-Policy"] = FRAME_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


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
