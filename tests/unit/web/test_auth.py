"""Authentication of the web page. Attacks are in tests/security/test_web_page.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import Route

from smsweep.errors import UsageError
from smsweep.services.agents.detach import PAGE_TOKEN
from smsweep.services.views import json_views
from smsweep.web.actions import change
from smsweep.web.responses import AppState
from smsweep.web.server import make_app, serving
from tests.support.recorded_requests import record
from tests.unit.web.conftest import Client

pytestmark = pytest.mark.slow


def cookie_of(stranger: Client) -> str:
    entered = stranger.get(f"/?token={stranger.served.token}")
    assert entered.status == 303
    return entered.headers["set-cookie"].partition(";")[0]


def key_of(stranger: Client) -> str:
    """Return the page key: the part after # in the URL after sign-in."""
    location = stranger.get(f"/?token={stranger.served.token}").headers["location"]
    path, _, key = location.partition("#key=")
    assert path == "/"
    return key


@pytest.mark.parametrize("path", ["/api/sweeps", "/api/sweeps/abcd1234", "/api/draft", "/api/compare?t=a/1"])
def test_data_needs_the_token(stranger: Client, path: str) -> None:
    assert stranger.get(path).status == 401
    assert stranger.get(path, Authorization="Bearer nonsense").status == 401
    assert stranger.get(path, Cookie=f"smsweep-{stranger.served.url.rpartition(':')[2]}=nonsense").status == 401


@pytest.mark.parametrize("path", ["/", "/new", "/sweeps/abcd1234", "/nowhere"])
def test_page_without_the_token_asks_for_it(stranger: Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status == 401
    assert 'name="token"' in answer.text
    assert key_of(stranger) not in answer.text


def test_token_becomes_an_http_only_same_site_cookie(stranger: Client) -> None:
    given = stranger.get(f"/?token={stranger.served.token}").headers["set-cookie"].lower()
    assert "httponly" in given and "samesite=strict" in given
    assert stranger.served.token.lower() not in given
    signed_in = {"Cookie": cookie_of(stranger), "X_CSRF_Token": key_of(stranger)}
    assert stranger.get("/api/sweeps", **signed_in).status == 200


def test_wrong_token_gets_no_cookie(stranger: Client) -> None:
    answer = stranger.get("/?token=wrong")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert "not valid" in answer.text


def test_ticket_url_works_once(stranger: Client) -> None:
    path = stranger.served.ticket_url.removeprefix(stranger.served.url)
    assert [stranger.get(path).status for _ in range(2)] == [303, 401]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8472", "LOCALHOST:9", "10.1.2.3"])
def test_own_names_and_addresses_are_accepted(client: Client, host: str) -> None:
    assert client.get("/api/sweeps", Host=host).status == 200


def test_allowed_host_name_is_accepted(folder: Path) -> None:
    with serving(names=["build7.example"]) as served:
        client = Client(served=served, usual={"Authorization": f"Bearer {served.token}"})
        assert client.get("/api/sweeps", Host="build7.example:80").status == 200


def test_change_needs_the_page_key(stranger: Client) -> None:
    sweep_id = record(1)
    cookie = cookie_of(stranger)
    path = f"/api/sweeps/{sweep_id}/pause"
    assert stranger.post(path, Cookie=cookie).status == 403
    assert stranger.post(path, Cookie=cookie, X_CSRF_Token="wrong").status == 403
    csrf = key_of(stranger)
    assert stranger.post(path, Cookie=cookie, X_CSRF_Token=csrf, Origin="http://evil.example").status == 403
    assert stranger.post(path, Cookie=cookie, X_CSRF_Token=csrf, Origin="null").status == 403
    assert stranger.post(path, X_CSRF_Token=csrf).status == 401
    assert json_views.show(sweep_id)["state"] == "running"
    assert stranger.post(path, Cookie=cookie, X_CSRF_Token=csrf, Origin=stranger.served.url).status == 200
    assert json_views.show(sweep_id)["state"] == "paused"


def test_changes_need_post() -> None:
    state = AppState(live=None, logs=None)  # type: ignore[arg-type]  # they are not used
    routes = [route for route in make_app(state).routes if isinstance(route, Route)]
    methods = {(route.endpoint is change, frozenset(route.methods or ())) for route in routes}
    assert methods == {(True, frozenset({"POST"})), (False, frozenset({"GET", "HEAD"}))}


@pytest.mark.parametrize("path", ["/", "/api/sweeps", "/nowhere", "/?token=wrong"])
def test_every_response_has_security_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_short_token_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PAGE_TOKEN, "short")
    with pytest.raises(UsageError, match="can be guessed"), serving():
        pass
