"""The routes of the web page."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smsweep.web import actions, assets, queries
from smsweep.web.pages import frame, shell
from smsweep.web.queries import draft
from smsweep.web.state import AppState

PAGES = ("/", "/new", "/compare", "/sweeps/{sweep_id}", "/sweeps/{sweep_id}/trials/{number:int}")


def make_app(state: AppState) -> Starlette:
    """Return the application without authentication. GET only reads; changes need POST."""
    sweep = "/api/sweeps/{sweep_id}"
    routes = [
        *(Route(path, _page, methods=["GET"]) for path in PAGES),
        Route("/frame", _frame, methods=["GET"]),
        Route("/static/{version}/{name}", assets.serve, methods=["GET"]),
        Route("/api/sweeps", queries.sweeps, methods=["GET"]),
        Route("/api/compare", queries.compared, methods=["GET"]),
        Route("/api/draft", draft, methods=["GET"]),
        Route(sweep, queries.sweep, methods=["GET"]),
        Route(f"{sweep}/texts", queries.texts, methods=["GET"]),
        Route(f"{sweep}/figures/{{name}}", queries.figure, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}", queries.trial, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}/why", queries.why, methods=["GET"]),
        Route(f"{sweep}/trials/{{number:int}}/log", queries.log_page, methods=["GET"]),
        Route("/api/{action}", actions.change, methods=["POST"]),
        Route(f"{sweep}/{{verb}}", actions.change, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.state.smsweep = state
    return app


def _page(request: Request) -> Response:
    return shell()


def _frame(request: Request) -> Response:
    return frame()
