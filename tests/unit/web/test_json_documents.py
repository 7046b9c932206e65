"""The answers of the web API against the published types."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from smsweep.notify.hooks import event
from smsweep.services import report
from smsweep.services.views import json_views
from smsweep.services.views.live_store import LiveSweep
from smsweep.services.workspace import Workspace
from smsweep.util.clock import utc_now
from tests.support.json_documents import check
from tests.support.recorded_requests import record
from tests.unit.web.conftest import Client

pytestmark = pytest.mark.slow

SWEEP = "program: train.py\nmethod: grid\nparameters: {lr: {values: [0.1, 0.2]}}\n"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("GET /api/sweeps", "/api/sweeps"),
        ("GET /api/sweeps/ID", "/api/sweeps/ID"),
        ("GET /api/sweeps/ID/texts", "/api/sweeps/ID/texts"),
        ("GET /api/sweeps/ID/trials/N", "/api/sweeps/ID/trials/1"),
        ("GET /api/sweeps/ID/trials/N/why", "/api/sweeps/ID/trials/1/why"),
        ("GET /api/sweeps/ID/trials/N/log", "/api/sweeps/ID/trials/1/log"),
        ("GET /api/compare", "/api/compare?t=ID/0&t=ID/1"),
        ("GET /api/draft", "/api/draft?t=ID"),
        ("error of the web API", "/api/sweeps/ID/trials/99"),
    ],
)
def test_answer_of_get_matches_its_type(client: Client, name: str, path: str) -> None:
    sweep_id = record(12)
    assert check(name, client.get(path.replace("ID", sweep_id)).text)


def test_answer_of_post_matches_its_type(client: Client, folder: Path) -> None:
    sweep_id = record(12)
    (folder / "train.py").write_text("print(1)\n")
    draft = {"sweep_yaml": SWEEP}
    failed = next(trial for trial in json_views.list_trials(sweep_id) if trial["state"] == "failed")
    labels = {"labels": [f"{sweep_id}/{failed['number']}"]}
    assert check("POST /api/sweeps/ID/VERB", client.post(f"/api/sweeps/{sweep_id}/pause").text)
    assert check("POST /api/check", client.post("/api/check", draft).text)["trials"]
    assert check("POST /api/create", client.post("/api/create", draft).text)["id"]
    assert check("POST /api/retry", client.post("/api/retry", labels).text) == labels
    assert check("POST /api/remove", client.post("/api/remove", labels).text) == labels


def test_data_of_a_report_matches_its_type(folder: Path) -> None:
    html = report.report(record(12))
    data = re.search(r'<script type="application/json" id="smsweep-data">(.*?)</script>', html, re.S)
    assert data is not None
    assert check("data of a report", data[1])["rows"]


def test_notification_matches_its_type(folder: Path) -> None:
    sweep_id = record(12)
    shown, trial = json_views.show(sweep_id), json_views.list_trials(sweep_id)[0]
    for kind, about in (("end", None), ("failure", trial)):
        document = event(kind, shown, about, utc_now(), lambda text: text)
        assert check("notification", json.dumps(document))["text"]


def test_web_page_has_the_sweep_and_the_trials_of_the_command_line(folder: Path) -> None:
    sweep_id = record(12)
    live = LiveSweep(sweep_id, Workspace())
    with Workspace().store() as store:
        live.read(store)
    assert live.document == json_views.json_safe(json_views.show(sweep_id))
    assert list(live.snapshot().trials) == json_views.json_safe(json_views.list_trials(sweep_id))
