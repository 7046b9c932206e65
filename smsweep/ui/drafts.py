"""A new sweep as the page proposes it: like another, informed by trials of it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from smsweep.sdk import again
from smsweep.ui.answers import answer, told


@told
def draft(request: Request) -> Response:
    """A draft. `t`: trials or whole sweeps whose results are to inform it; `narrow=1`: within their ranges."""
    asked = request.query_params
    return answer(again.draft(asked.getlist("t"), is_narrow=asked.get("narrow") == "1"))
