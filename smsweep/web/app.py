"""The live page as an application: addresses and who answers them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smsweep.web import actions, assets, queries
from smsweep.web.pages import frame, shell
from smsweep.web.queries import draft
from smsweep.web.state import Desk

PAGES = ("/", "/new", "/compare", "/sweeps/{sweep_id}", "/sweeps/{sweep_id}/trials/{number:int}")


def make_app(desk: Desk) -> Starlette:
    """Return the application behind the gate. All of it reads by GET and changes by POST."""
    one = "/api/sweeps/{sweep_id}"
    routes = [
        *(Route(path, _page, methods=["GET"]) for path in PAGES),
        Route("/frame", _frame, methods=["GET"]),
        Route("/static/{version}/{name}", assets.serve, methods=["GET"]),
        Route("/api/sweeps", queries.sweeps, methods=["GET"]),
        Route("/api/compare", queries.compared, methods=["GET"]),
        Route("/api/draft", draft, methods=["GET"]),
        Route(one, queries.sweep, methods=["GET"]),
        Route(f"{one}/texts", queries.texts, methods=["GET"]),
        Route(f"{one}/figures/{{name}}", queries.figure, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}", queries.trial, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}/why", queries.why, methods=["GET"]),
        Route(f"{one}/trials/{{number:int}}/log", queries.log_page, methods=["GET"]),
        Route("/api/{act}", actions.change, methods=["POST"]),
        Route(f"{one}/{{verb}}", actions.change, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.state.desk = desk
    return app


def _page(request: Request) -> Response:
    return shell()


def _frame(request: Request) -> Response:
    return frame()
