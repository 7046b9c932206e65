"""Attacks on the live page by programs without its token, by other pages, and by other servers on this machine.

Each request is refused, no response has data, and no sweep changes.
"""

# One file, because all of these tests share one server.
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from smsweep.services.agents.detach import PAGE_TOKEN
from smsweep.services.sweeps import control
from smsweep.services.views import json_views
from smsweep.web.auth import MAX_BODY
from smsweep.web.server import serving
from tests.security.attacker import READABLE, Site, rebound_browser, rebound_page, site
from tests.support.recorded_requests import record
from tests.support.working_dir import use_own_workspace
from tests.unit.web.conftest import Answer, Client
from tests.unit.web.conftest import folder as folder  # a fixture

pytestmark = pytest.mark.slow

SECRET = "value-that-only-the-user-sees"


class Target:
    """A page with one running sweep. The trials contain a value that must not leak."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.sweep_id = record(2)
        control.set_state(self.sweep_id, "pause")
        self.reads = [path.format(id=self.sweep_id) for path in READS]
        self.changes = [path.format(id=self.sweep_id) for path in CHANGES]
        self.before = self.state()

    def state(self) -> object:
        shown = json_views.show(self.sweep_id)
        return shown["state"], json_views.list_trials(self.sweep_id), len(json_views.list_sweeps())

    def entered(self) -> tuple[str, str]:
        """Sign in as a browser does, and return the cookie and the page key."""
        answer = Client(served=self.client.served).get(f"/?token={self.client.served.token}")
        return answer.headers["set-cookie"].partition(";")[0], answer.headers["location"].partition("#key=")[2]

    def check(self, answer: Answer, *statuses: int) -> None:
        """Check that an attacker has read and changed no data."""
        assert answer.status in statuses, (answer.status, answer.text[:200])
        assert self.sweep_id not in answer.text
        assert self.client.served.token not in answer.text + str(answer.headers)
        assert self.state() == self.before


READS = (
    *("/api/sweeps", "/api/sweeps/{id}", "/api/sweeps/{id}/texts", "/api/sweeps/{id}/trials/0"),
    *("/api/sweeps/{id}/trials/0/why", "/api/sweeps/{id}/trials/0/log", "/api/sweeps/{id}/figures/history"),
    *("/api/compare?t={id}/0", "/api/draft?t={id}", "/api/sweeps/{id}/agents", "/api/sweeps/{id}/trials/0/model"),
)
CHANGES = (
    *("/api/sweeps/{id}/resume", "/api/sweeps/{id}/stop", "/api/sweeps/{id}/cancel", "/api/sweeps/{id}/pause"),
    *("/api/retry", "/api/remove", "/api/create", "/api/check"),
    *("/api/sweeps/{id}/agents", "/api/sweeps/{id}/agents/0/stop", "/api/sweeps/{id}/notes"),
)
BODY = {
    "labels": [],
    "sweep_yaml": "program: train.py",
    "failed": True,
    "backend": "process",
    "parallel": 1,
    "text": "notes",
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_own_workspace(tmp_path_factory.mktemp("page"), monkeypatch)
        with serving() as served:
            yield Target(Client(served=served, usual={"Authorization": f"Bearer {served.token}"}))


@pytest.fixture
def stranger(target: Target) -> Client:
    """A client without the token."""
    return Client(served=target.client.served)


def without_token(served_token: str, port: int) -> dict[str, dict[str, str]]:
    """Return headers without the token, or with the token in a wrong place."""
    t = served_token
    return {
        "nothing": {},
        "another token": {"Authorization": "Bearer " + "x" * len(t)},
        "a beginning of it": {"Authorization": f"Bearer {t[:-1]}"},
        "more than it": {"Authorization": f"Bearer {t}x"},
        "another case": {"Authorization": f"Bearer {t.swapcase()}"},
        "no kind": {"Authorization": t},
        "basic": {"Authorization": f"Basic {t}"},
        "an empty one": {"Authorization": "Bearer "},
        "null": {"Authorization": "Bearer null"},
        "not ASCII": {"Authorization": "Bearer \xe9\xff"},
        "a long one": {"Authorization": "Bearer " + "x" * 30_000},
        "as a cookie": {"Cookie": f"smsweep-{port}={t}"},
        "an empty cookie": {"Cookie": f"smsweep-{port}="},
        "a broken cookie": {"Cookie": f"smsweep-{port}; ==;\x01"},
        "as the key": {"X_CSRF_Token": t},
        "as the endpoint's": {"X_Smsweep_Token": t},
    }


FORMS = tuple(without_token("", 0))


@pytest.mark.parametrize("form", FORMS)
def test_request_without_the_token_is_refused(target: Target, stranger: Client, form: str) -> None:
    port = urlsplit(stranger.served.url).port or 0
    headers = without_token(stranger.served.token, port)[form]
    for path in target.reads:
        target.check(stranger.get(path, **headers), 400, 401, 431)
    for path in target.changes:
        target.check(stranger.post(path, BODY, **headers), 400, 401, 431)


@pytest.mark.parametrize(
    "place", ["/api/sweeps?token={}", "/new?token={}", "/sweeps/x?token={}", "//?token={}", "/static/?token={}"]
)
def test_token_in_the_url_is_accepted_on_the_first_page_only(target: Target, stranger: Client, place: str) -> None:
    answer = stranger.get(place.format(stranger.served.token))
    assert "set-cookie" not in answer.headers
    assert answer.status in (401, 404)
    answer = stranger.post(f"/?token={stranger.served.token}", BODY)
    assert (answer.status, "set-cookie" in answer.headers) == (401, False)


# Requests that a page can make the browser of a signed-in user send.


def test_cookie_without_the_page_key_gives_no_data(target: Target, stranger: Client) -> None:
    """Another server on this machine receives only the cookie."""
    cookie, key = target.entered()
    for wrong in (
        {},
        {"X_CSRF_Token": "x"},
        {"X_CSRF_Token": key[:-1]},
        {"X_CSRF_Token": cookie.partition("=")[2]},
    ):
        for path in target.reads:
            target.check(stranger.get(path, Cookie=cookie, **wrong), 403)
        for path in target.changes:
            target.check(stranger.post(path, BODY, Cookie=cookie, **wrong), 403)
    for path in ("/", "/new", f"/sweeps/{target.sweep_id}", "/compare"):
        answer = stranger.get(path, Cookie=cookie)
        assert answer.status == 200
        assert not any(secret in answer.text for secret in (key, target.sweep_id, stranger.served.token))


def test_page_key_without_the_cookie_gives_no_data(target: Target, stranger: Client) -> None:
    cookie, key = target.entered()
    name, _, value = cookie.partition("=")
    for wrong in (
        "",
        f"other-{name}={value}",
        f"{name}={value}x",
        f"{name}={value.upper()}",
        f"{name.upper()}={value}",
    ):
        for path in target.reads:
            target.check(stranger.get(path, Cookie=wrong, X_CSRF_Token=key), 401)
        for path in target.changes:
            target.check(stranger.post(path, BODY, Cookie=wrong, X_CSRF_Token=key), 401)


def test_cookie_with_the_page_key_gives_data(target: Target, stranger: Client) -> None:
    cookie, key = target.entered()
    assert target.sweep_id in stranger.get("/api/sweeps", Cookie=cookie, X_CSRF_Token=key).text
    answer = stranger.post(target.changes[0], {}, Cookie=cookie, X_CSRF_Token=key)
    assert answer.data == {"id": target.sweep_id, "state": "running"}
    target.client.post(f"/api/sweeps/{target.sweep_id}/pause")


ORIGINS = (
    *(
        "http://evil.example",
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost",
    ),
    *(
        "http://127.0.0.1.evil.example:PORT",
        "http://evil.example:PORT",
        "http://[::1]:PORT",
        "file://",
        "http://127.0.0.1:PORT0",
    ),
    *("http://127.0.0.1:PORT@evil.example", "", "http://0.0.0.0:PORT", "chrome-extension://x"),
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_change_from_another_origin_is_refused(target: Target, stranger: Client, origin: str) -> None:
    cookie, key = target.entered()
    origin = origin.replace("PORT", str(urlsplit(stranger.served.url).port)) or "x"
    for path in target.changes:
        target.check(stranger.post(path, BODY, Cookie=cookie, X_CSRF_Token=key, Origin=origin), 403)


@pytest.mark.parametrize("relation", ["cross-site", "same-site"])
def test_data_request_from_another_page_is_refused(target: Target, stranger: Client, relation: str) -> None:
    cookie, key = target.entered()
    headers = {"Cookie": cookie, "X_CSRF_Token": key, "Sec_Fetch_Site": relation}
    for path in target.reads:
        target.check(stranger.get(path, **headers), 403)
    for path in target.changes:
        target.check(stranger.post(path, BODY, **headers), 403)
    assert stranger.get("/api/sweeps", **{**headers, "Sec_Fetch_Site": "same-origin"}).status == 200


HOSTS = (
    *(
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8472",
        "evil.example.",
    ),
    *(
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1, evil.example",
        "[::1",
        " ",
        "0.0.0.0:PORT",
        "[::]",
    ),
    *("notlocalhost", "a.localhost.example", "127.0.0.1:99999999", "xn--80ak6aa92e.com"),
)


@pytest.mark.parametrize("host", HOSTS)
def test_foreign_host_name_is_refused_with_a_valid_token(target: Target, host: str) -> None:
    host = host.replace("PORT", str(urlsplit(target.client.served.url).port))
    for path in (*target.reads, "/", f"/?token={target.client.served.token}"):
        answer = target.client.get(path, Host=host)
        target.check(answer, 400, 421)
        assert "set-cookie" not in answer.headers
    for path in target.changes:
        target.check(target.client.post(path, BODY, Host=host), 400, 421)


METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "post", "X")


@pytest.mark.parametrize("method", METHODS)
def test_change_by_another_method_is_refused(target: Target, method: str) -> None:
    for path in target.changes:
        body = None if method in ("GET", "HEAD", "CONNECT", "TRACE") else BODY
        # The path of some changes is also a read, which the method override must not turn into the change.
        is_read = method in ("GET", "HEAD") and path in target.reads
        statuses = (200,) if is_read else (400, 404, 405, 415)
        target.check(target.client.ask(method, path, body, X_HTTP_Method_Override="POST"), *statuses)
        if is_read:
            assert target.client.get(path).data["agents"] == []


KINDS = (
    *(
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "text/json",
        "*/*",
    ),
    *("application/jsonp", "application/json-patch+json", "text/plain; application/json", "application", "\xe9"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_form_of_another_page_changes_nothing(target: Target, kind: str) -> None:
    """Browsers send these requests without a preflight request."""
    for path in target.changes:
        target.check(target.client.ask("POST", path, "labels=a", Content_Type=kind), 415)


def deep(opening: str, closing: str, depth: int = 100_000) -> str:
    return opening * depth + "0" + closing * depth


BODIES: dict[str, Callable[[], str]] = {
    "empty": lambda: " ",
    "half": lambda: '{"labels": [',
    "not an object": lambda: "[]",
    "null": lambda: "null",
    "a number": lambda: "1e999",
    "a long number": lambda: '{"labels": ' + "9" * 100_000 + "}",
    "deep lists": lambda: deep("[", "]"),
    "deep objects": lambda: deep('{"labels":', "}"),
    "bytes that are no text": lambda: '{"labels": ["\xff\xfe"]}',
    "NUL": lambda: json.dumps({"labels": ["a\0b"]}),
    "half a surrogate": lambda: '{"labels": ["\\ud800"], "sweep_yaml": "\\ud800"}',
    "labels of another kind": lambda: json.dumps({"labels": {"a": 1}, "sweep_yaml": [], "prior_runs": 1}),
    "labels that lead out": lambda: json.dumps({"labels": ["../../../etc/passwd", "/etc/passwd", "a/../b"]}),
    "SQL": lambda: json.dumps({"labels": ["' OR 1=1 --", '"; DROP TABLE sweeps; --', "%"]}),
    "a large YAML": lambda: json.dumps({"sweep_yaml": "a: &a [x, x]\n" * 20_000}),
    "an alias bomb": lambda: json.dumps(
        {
            "sweep_yaml": "a: &a [x]\n"
            + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))
        }
    ),
    "code in YAML": lambda: json.dumps({"sweep_yaml": "a: !!python/object/apply:os.system [id]"}),
    "more than is accepted": lambda: '"' + "x" * MAX_BODY + '"',
}


@pytest.mark.parametrize("name", BODIES)
def test_invalid_body_is_refused(target: Target, name: str) -> None:
    body = BODIES[name]()
    for path in (path for path in target.changes if "/sweeps/" not in path):
        answer = target.client.post(path, body)
        if path == "/api/check" and answer.status == 200:  # it reports problems, and creates nothing
            assert answer.data["problems"]
            answer = Answer(status=400, headers={}, text="")
        target.check(answer, 400, 404, 409, 413, 422)
    assert target.client.get("/api/sweeps").status == 200


LENGTHS = ("", "-1", "1e3", "0x2", "999999999999", "2, 3", str(MAX_BODY + 1))  # "": in chunks


@pytest.mark.parametrize("length", LENGTHS)
def test_body_of_unknown_or_wrong_length_is_refused(target: Target, length: str) -> None:
    more = {} if length else {"Transfer_Encoding": "chunked"}
    for path in target.changes:
        try:
            answer = target.client.ask("POST", path, "{}", Content_Length=length, **more)
        except ConnectionError:  # closed before the body was read
            answer = Answer(status=400, headers={}, text="")
        target.check(answer, 400, 413)


PATHS = (
    *(
        "/static/x/../gate.py",
        "/static/x/..%2fgate.py",
        "/static/x/%2e%2e/gate.py",
        "/static/../gate.py",
        "/static/x/no.js",
    ),
    *(
        "/static/%2e%2e%2f%2e%2e%2fsecret.js",
        "/static/x/..%5cgate.py",
        "/static/x/gate.py",
        "/static//etc/passwd",
        "/static/x/",
    ),
    *(
        "/static/x/app.js%00.css",
        "/static/x/....//gate.py",
        "/static/x/file:///etc/passwd",
        "/static/x/%c0%ae%c0%ae/gate.py",
    ),
)


@pytest.mark.parametrize("path", PATHS)
def test_file_outside_of_the_page_is_not_served(target: Target, stranger: Client, path: str) -> None:
    for asking in (stranger, target.client):
        answer = asking.get(path)
        target.check(answer, 404)
        assert "import" not in answer.text and "root:" not in answer.text


NAMES = ("../../../etc/passwd", "..", ".", "%", "a/b", "a\0b", "' OR 1=1 --", "x" * 5000, "é", "-1", "*", "con")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_sweep_gives_no_data(target: Target, name: str) -> None:
    found = quote(name, safe="")
    for path in (f"/api/sweeps/{found}", f"/api/sweeps/{found}/trials/0/log", f"/api/draft?t={found}"):
        target.check(target.client.get(path), 400, 404, 405)
    target.check(target.client.get(f"/api/sweeps/{target.sweep_id}/trials/{found}/log"), 400, 404)
    target.check(target.client.get(f"/api/sweeps/{target.sweep_id}/figures/{found}"), 400, 404, 405)
    cursor = target.client.get(f"/api/sweeps/{target.sweep_id}/trials/0/log?cursor={found}")
    assert cursor.status in (200, 400, 404)
    assert "root:" not in cursor.text


# The same attacks with a real browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with rebound_browser() as opened:
        yield opened


@pytest.fixture
def signed_in(target: Target, browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{target.client.served.url}/?token={target.client.served.token}")
    expect(page.get_by_text(target.sweep_id)).to_be_visible(timeout=60_000)
    assert page.url == f"{target.client.served.url}/"  # the address bar shows neither token nor key
    yield page
    context.close()


def test_cookie_is_useless_for_another_server_on_this_machine(
    target: Target, stranger: Client, signed_in: Page
) -> None:
    with site() as other:
        signed_in.context.new_page().goto(f"{other.url}/attack")
        (cookie,) = {headers["Cookie"] for _, headers in other.requests if "Cookie" in headers}
    assert cookie == target.entered()[0]  # browsers send it to every port
    for path in target.reads:
        target.check(stranger.get(path, Cookie=cookie), 403)
    for path in target.changes:
        target.check(stranger.post(path, BODY, Cookie=cookie), 403)
    stolen = signed_in.context.browser.new_context() if signed_in.context.browser else None
    assert stolen is not None
    name, _, value = cookie.partition("=")
    stolen.add_cookies([{"name": name, "value": value, "url": stranger.served.url}])
    thief = stolen.new_page()
    thief.goto(stranger.served.url)
    expect(thief.get_by_label("Token")).to_be_visible()  # its scripts are blocked, and the page asks for the token
    assert target.sweep_id not in thief.content()
    stolen.close()


def test_user_stays_signed_in_in_other_tabs(target: Target, signed_in: Page) -> None:
    tab = signed_in.context.new_page()
    tab.goto(f"{target.client.served.url}/sweeps/{target.sweep_id}")
    expect(tab.get_by_role("heading", name="Trials").or_(tab.get_by_text("paused")).first).to_be_visible()
    tab.reload()
    expect(tab.get_by_text("paused").first).to_be_visible()


def test_restarted_page_needs_its_new_token(folder: Path, browser: Browser) -> None:
    record(1)
    context = browser.new_context()
    page = context.new_page()
    with serving() as first:
        page.goto(first.entry)
        expect(page.get_by_role("link", name="smsweep")).to_be_visible()
        port = urlsplit(first.url).port or 0
    with serving(port=port) as second:
        page.goto(second.url)
        page.get_by_label("Token").fill(second.token)
        page.get_by_label("Token").press("Enter")
        expect(page).to_have_url(f"{second.url}/")
        expect(page.get_by_role("link", name="smsweep")).to_be_visible()
    context.close()


# Requests of another origin with the user's cookies. Each returns the data that the page received.
ATTACK = """async ([url, sweep]) => {
  const learned = {};
  const read = async (path, options = {}) => {
    try {
      const answer = await fetch(url + path, { credentials: "include", ...options });
      return answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`;
    } catch (err) {
      return "error";
    }
  };
  const tag = (name, path, more = {}) => new Promise((done) => {
    const element = Object.assign(document.createElement(name), more);
    element.onload = () => done("loaded");
    element.onerror = () => done("error");
    element[name === "object" ? "data" : name === "link" ? "href" : "src"] = url + path;
    document.body.append(element);
    setTimeout(() => done("nothing"), 3000);
  });
  const change = `/api/sweeps/${sweep}/cancel`;
  const post = (more) => read(change, { method: "POST", body: "{}", ...more });
  learned.read = await read("/api/sweeps");
  learned.opaque = await read("/api/sweeps", { mode: "no-cors" });
  learned.page = await read("/");
  learned.change = await post({ mode: "no-cors" });
  learned.json = await post({ headers: { "Content-Type": "application/json" } });
  learned.blob = await post({ mode: "no-cors", body: new Blob(["{}"], { type: "text/plain" }) });
  learned.get = await read(change, { mode: "no-cors" });
  learned.put = await read(change, { method: "PUT", body: "{}" });
  learned.image = await tag("img", "/api/sweeps");
  learned.script = await tag("script", "/api/sweeps");
  learned.style = await tag("link", "/api/sweeps", { rel: "stylesheet" });
  navigator.sendBeacon(url + change, "{}");
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  for (const enctype of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const sent = { method: "post", action: url + change, enctype, target: "frame" };
    const form = Object.assign(document.createElement("form"), sent);
    form.append(Object.assign(document.createElement("input"), { name: '{"a":"', value: '"}' }));
    document.body.append(form);
    form.submit();
    await new Promise((done) => setTimeout(done, 300));
  }
  try {
    learned.frame = frame.contentDocument ? frame.contentDocument.body.innerText : "nothing";
  } catch (err) {
    learned.frame = "error";
  }
  return learned;
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])  # another port of this machine, or another site
def test_page_on_another_origin_reads_and_changes_nothing(target: Target, signed_in: Page, host: str) -> None:
    page = signed_in.context.new_page()
    with site() as evil, site() as victim:
        page.goto(evil.url.replace("127.0.0.1", host) + "/attack")
        page.evaluate(ATTACK, [victim.url, target.sweep_id])
        learned = page.evaluate(ATTACK, [target.client.served.url, target.sweep_id])
        assert_carried_out(victim, f"POST /api/sweeps/{target.sweep_id}/cancel")
    assert not any(target.sweep_id in answer for answer in learned.values()), learned
    assert {answer for answer in learned.values() if answer[:1].isdigit()} == set()
    assert target.state() == target.before
    expect(signed_in.get_by_text(target.sweep_id)).to_be_visible()  # without a visible effect for the user


def assert_carried_out(victim: Site, request: str) -> None:
    """Check that the attack works against a server without protection."""
    assert victim.paths.count(request) >= 3


REBOUND = """async (sweep) => {
  const ask = async (path, options) => {
    const answer = await fetch(path, options);
    return `${answer.status} ${await answer.text()}`;
  };
  const json = { "Content-Type": "application/json" };
  return {
    page: await ask("/"),
    sweeps: await ask("/api/sweeps"),
    bearer: await ask("/api/sweeps", { headers: { Authorization: "Bearer guessed" } }),
    key: await ask("/api/sweeps", { headers: { "X-CSRF-Token": "guessed" } }),
    sweep: await ask(`/api/sweeps/${sweep}`),
    change: await ask(`/api/sweeps/${sweep}/cancel`, { method: "POST", body: "{}", headers: json }),
    remove: await ask("/api/remove", { method: "POST", body: JSON.stringify({ labels: [sweep] }), headers: json }),
    token: await ask("/?token=guessed"),
    script: await ask("/static/x/app.js"),
  };
}"""


def test_page_after_dns_rebinding_reads_and_changes_nothing(target: Target, signed_in: Page) -> None:
    browser = signed_in.context.browser
    assert browser is not None
    learned: dict[str, dict[str, Any]] = {}
    with site() as victim:
        for url in (victim.url, target.client.served.url):
            page = rebound_page(browser, url)
            learned[url] = page.evaluate(REBOUND, target.sweep_id)
            page.context.close()
    assert set(learned[victim.url].values()) == {f"200 {READABLE}"}  # a server without protection returns all data
    answers = learned[target.client.served.url]
    assert {answer.partition(" ")[0] for answer in answers.values()} == {"421"}, answers
    assert target.state() == target.before


def test_fixed_token_does_not_extend_a_stolen_cookie(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With SMSWEEP_UI_TOKEN, cookie and key stay valid after a restart. The cookie alone still gives no access."""
    monkeypatch.setenv(PAGE_TOKEN, "a token that stays the same")
    with serving() as first:
        port = urlsplit(first.url).port or 0
        cookie = Client(served=first).get(f"/?token={quote(first.token)}").headers["set-cookie"].partition(";")[0]
    with serving(port=port) as second:
        assert Client(served=second).get("/api/sweeps", Cookie=cookie).status == 403
