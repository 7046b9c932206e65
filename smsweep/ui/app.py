"""The live page as an application: addresses and who answers them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smsweep.ui import acts, assets, reads
from smsweep.ui.desk import Desk
from smsweep.ui.drafts import draft
from smsweep.ui.pages import frame, shell

PAGES = ("/", "/new", "/compare", "/sweeps/{sweep_id}", "/sweeps/{sweep_id}/trials/{number:int}")


def make_app(desk: Desk) -> Starlette:
    """Return the application behind the gate. All of it reads by GET and changes by POST."""
    one = "/api/sweeps/{sweep_id}"
    routes = [
        *(Route(path, _page, methods=["GET"]) for path in PAGES),
        Route("/frame", _frame, methods=["GET"]),
        Route("/static/{version}/{name}", assets.serve, methods=["GET"]),
        Route("/api/sweeps", reads.sweeps, methods=["GET"]),
        Route("/api/compare", reads.compared, methods=["GET"]),
        Route("/api/draft", draft, methods=["GET"]),
        Route(one, reads.sweep, methods=["GET"]),
        Route(f"{one}/texts", reads.texts, methods=["GET"]),
        Route(f"{one}/figures/{{name}}", reads.figure, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}", reads.trial, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}/why", reads.why, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}/log", reads.log_page, methods=["GET"]),
        Route("/api/{act}", acts.change, methods=["POST"]),
        Route(f"{one}/{{verb}}", acts.change, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.state.desk = desk
    return app


def _page(request: Request) -> Response:
    return shell()


def _frame(request: Request) -> Response:
    return frame()
