"""The few pages that are HTML: one that the scripts fill, one to sign in, one that only draws a figure."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse

from smsweep.web.assets import address

# No script, style or image but our own, nothing sent elsewhere, no HTML from text.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; font-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Plotly's WebGL layer, behind parallel coordinates, compiles code of its own. It may in a frame that has no
# origin: no cookie, no storage, nothing to talk to.
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
    """Return the page that all others are drawn in."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>smsweep</title>'
        f'<meta name="plotly" content="{address("plotly.js")}">'
        f'<link rel="icon" href="{address(ICON)}">'
        f"{_style('plotly.css', 'plotly.js-style-global')}{_style('smsweep.css')}{_style('ui.css')}"
        f"{_script('theme.js')}{_script('figures.js', defer=True)}{_script('trial_table.js', defer=True)}"
        f'<script type="module" src="{address("app.js")}"></script></head>'
        '<body class="app"><a class="skip" href="#main">To the content</a>'
        '<header class="top" id="top"></header>'
        '<main id="main" tabindex="-1"><noscript>This page needs JavaScript.</noscript></main>'
        '<div id="said" role="status" aria-live="polite"></div>'
        '<dialog id="dialog" aria-labelledby="dialog-title"></dialog></body></html>'
    )


def frame() -> HTMLResponse:
    """Return the page inside which parallel coordinates are drawn."""
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
    told = f'<p class="bad" role="alert">{escape(why)}</p>' if why else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{HEAD}<title>Sign in: smsweep</title>'
        f'<link rel="icon" href="{address(ICON)}">{_style("smsweep.css")}{_style("ui.css")}'
        f'{_script("theme.js")}</head><body class="app"><main class="sign-in"><h1>smsweep</h1>'
        "<p>This page shows and steers the sweeps of whoever started it. Open the address that "
        "<code>smsweep ui</code> printed, or paste its token.</p>"
        f'{told}<form method="get" action="/"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="off" required autofocus>'
        '<button class="main">Sign in</button></form></main></body></html>',
        401,
    )


def _style(name: str, element_id: str = "") -> str:
    # Plotly writes its rules into the style sheet of this id, where it finds one: a policy lets it make none.
    mark = f' id="{element_id}"' if element_id else ""
    return f'<link rel="stylesheet"{mark} href="{address(name)}">'


def _script(name: str, *, defer: bool = False) -> str:
    return f'<script src="{address(name)}"{" defer" if defer else ""}></script>'
