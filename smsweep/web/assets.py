"""Scripts and styles. Their URLs contain a hash of the content, so browsers can cache them for ever."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from smsweep.report.page import static
from smsweep.services.report import plotly_source

SHARED = ("figures.js", "trial_table.js", "smsweep.css", "theme.js")  # shared with the report
KINDS = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"


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
