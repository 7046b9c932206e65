"""GET requests of the web page: the same numbers as the command line, only changes, masked secrets."""

from __future__ import annotations

import io
import json
import os
import tarfile
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from smsweep.core.trial import MetricPoint, TrialState
from smsweep.report.figures.registry import FIGURES
from smsweep.services import report
from smsweep.services.agents import run_agent
from smsweep.services.sweeps import control, create, remove
from smsweep.services.views import json_views
from smsweep.services.workspace import Workspace
from smsweep.web.server import serving
from tests.support.postgres import run_postgres
from tests.support.recorded_requests import CONFIG, record
from tests.unit.web.conftest import Client

pytestmark = pytest.mark.slow

KEY = "ghp_" + "Zx81" * 9
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def rows_of(data: dict[str, object]) -> list[dict[str, object]]:
    columns = data["columns"]
    assert isinstance(columns, list) and isinstance(data["rows"], list)
    return [dict(zip(columns, row, strict=True)) for row in data["rows"]]


def test_folder_without_sweeps_is_empty(client: Client) -> None:
    assert client.get("/api/sweeps").data["sweeps"] == []
    assert client.get("/api/sweeps/abcd1234").status == 404


def test_sweep_appears_in_a_new_store(client: Client) -> None:
    assert client.get("/api/sweeps").data["sweeps"] == []
    sweep_id = record(3)
    assert [sweep["id"] for sweep in client.get("/api/sweeps").data["sweeps"]] == [sweep_id]


def test_replaced_store_is_read_again(client: Client, folder: Path) -> None:
    first = record(2)
    assert client.get(f"/api/sweeps/{first}").status == 200
    for file in (folder / "sweeps").glob("store.db*"):
        file.unlink()
    second = record(2)
    assert [sweep["id"] for sweep in client.get("/api/sweeps").data["sweeps"]] == [second]
    assert client.get(f"/api/sweeps/{first}").status == 404


def test_replaced_sqlite_file_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_STORE", f"sqlite:///{folder}/own.db")
    first = record(2)
    with serving() as served:
        client = Client(served=served, usual={"Authorization": f"Bearer {served.token}"})
        assert client.get(f"/api/sweeps/{first}").status == 200
        for file in folder.glob("own.db*"):
            file.unlink()
        second = record(2)
        assert [sweep["id"] for sweep in client.get("/api/sweeps").data["sweeps"]] == [second]


def test_front_of_repeats_uses_means(client: Client) -> None:
    metrics = [{"name": "loss", "goal": "minimize"}, {"name": "accuracy", "goal": "maximize"}]
    config = {name: value for name, value in CONFIG.items() if name != "metric"}
    sweep_id = record(30, config={**config, "method": "custom", "metrics": metrics}, job={"repeats": 3})
    front = [trial["number"] for trial in json_views.front(sweep_id)]
    assert client.get(f"/api/sweeps/{sweep_id}").data["sweep"]["front"] == front
    assert report.gather(sweep_id).front == set(front)


def test_sweep_equals_show_and_export(client: Client) -> None:
    sweep_id = record(30)
    result = client.get(f"/api/sweeps/{sweep_id}").data
    shown = json_views.json_safe(json_views.show(sweep_id))
    assert {key: result["sweep"][key] for key in shown} == json.loads(json.dumps(shown))
    columns, rows = json_views.table(json_views.list_trials(sweep_id))
    assert set(result["columns"]) == set(columns)
    assert rows_of(result) == [{name: row.get(name) for name in result["columns"]} for row in rows]


def test_changes_contain_only_new_rows(client: Client) -> None:
    sweep_id = record(20)
    first = client.get(f"/api/sweeps/{sweep_id}").data
    assert client.get(f"/api/sweeps/{sweep_id}?since={first['revision']}").data["rows"] == []
    control.retry([f"{sweep_id}/9"])
    remove.remove([f"{sweep_id}/3"])
    news = client.get(f"/api/sweeps/{sweep_id}?since={first['revision']}").data
    assert [(row["number"], row["state"]) for row in rows_of(news)] == [(9, "pending")]
    assert news["removed"] == [3]
    assert news["sweep"]["trials"]["pending"] == 1


def test_change_of_the_sweep_changes_the_revision(client: Client) -> None:
    sweep_id = record(2)
    first = client.get(f"/api/sweeps/{sweep_id}").data
    control.set_state(sweep_id, "pause")
    news = client.get(f"/api/sweeps/{sweep_id}?since={first['revision']}").data
    assert news["sweep"]["state"] == "paused"
    assert news["revision"] > first["revision"]


def test_reading_writes_nothing(client: Client, folder: Path) -> None:
    sweep_id = record(12)
    before = (folder / "sweeps" / "store.db").stat().st_mtime_ns
    for path in (
        "",
        "/texts",
        "/trials/1",
        "/trials/1/log",
        "/trials/1/why",
        *(f"/figures/{name}" for name in FIGURES),
    ):
        assert client.get(f"/api/sweeps/{sweep_id}{path}").status == 200
    wal = folder / "sweeps" / "store.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0
    assert (folder / "sweeps" / "store.db").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", FIGURES)
def test_figure_equals_the_report(client: Client, name: str) -> None:
    sweep_id = record(30)
    result = client.get(f"/api/sweeps/{sweep_id}/figures/{name}").data
    assert result.pop("revision") == client.get(f"/api/sweeps/{sweep_id}").data["revision"]
    assert result == json.loads(json.dumps(report.figure(sweep_id, name)))


def test_trial_has_a_curve_of_each_metric(client: Client) -> None:
    sweep_id = record(2, n_points=2_000)
    curve = client.get(f"/api/sweeps/{sweep_id}/trials/1").data["curves"]["loss"]
    points = [point for point in _points(sweep_id, 1) if point.name == "loss"]
    values = [point.value for point in points]
    assert len(curve["y"]) == len(curve["x"]) <= 600
    assert {min(values), max(values), values[0], values[-1]} <= set(curve["y"])  # type: ignore[type-var]
    assert curve["by"] == "step" and curve["x"][-1] == points[-1].step


def test_large_integers_are_text(client: Client) -> None:
    big = 2**60 + 1
    sweep_id = record(1, config={**CONFIG, "parameters": {"seed": {"values": [big]}}})
    assert rows_of(client.get(f"/api/sweeps/{sweep_id}").data)[0]["params.seed"] == str(big)
    assert client.get(f"/api/sweeps/{sweep_id}/trials/0").data["params"] == {"seed": str(big)}


def test_secrets_are_masked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_id = record(10)
    with Workspace().store() as store:
        store.move(sweep_id, 9, [TrialState.FAILED], TrialState.PENDING, reason=f"told {KEY}")
        points = [MetricPoint(name="note", value=f"key {KEY}", time=NOW)]
        cursor = store.get_trial(sweep_id, 8).cursor
        store.append_points(sweep_id, 8, points, "more", expect_cursor=cursor)
    for path in ("", "/trials/9", "/trials/8", "/texts", "/figures/timeline"):
        assert KEY not in client.get(f"/api/sweeps/{sweep_id}{path}").text
    assert "***" in client.get(f"/api/sweeps/{sweep_id}/trials/9").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sweeps/{id}?since=x", 400),
        ("/api/sweeps/{id}?since=-1", 400),
        ("/api/sweeps/{id}/figures/nonsense", 404),
        ("/api/sweeps/{id}/trials/99", 404),
        ("/api/sweeps/{id}/trials/x", 404),
        ("/api/sweeps/{id}/trials/0/log?cursor=smsweep-{id}-0-0|nonsense", 400),
        ("/api/compare?t={id}", 400),
        ("/api/compare?t={id}/99", 404),
        ("/api/sweeps/..%2f..%2fetc", 404),
        ("/api/sweeps/%00", 400),
        ("/api/sweeps/{id}/trials/99999999999999999999", 404),
        ("/api/sweeps/{id}/trials/99999999999999999999/why", 404),
        ("/api/draft?t={id}/99999999999999999999", 404),
    ],
)
def test_unknown_or_invalid_requests_get_errors(client: Client, path: str, status: int) -> None:
    answer = client.get(path.format(id=record(2)))
    assert answer.status == status
    assert "Traceback" not in answer.text


def test_log_pages_have_masked_secrets(client: Client) -> None:
    sweep_id = record(1)
    log = Workspace().jobs_dir / f"smsweep-{sweep_id}-0-0"
    log.mkdir(parents=True)
    (log / "output.log").write_text(f"one\nkey {KEY}\n")
    (log / "exit_code").write_text("0")
    path = f"/api/sweeps/{sweep_id}/trials/0/log"
    first = client.get(path).data
    assert first["lines"] == ["one", "key ***"] and first["is_new"]
    with (log / "output.log").open("a") as more:
        more.write("three\n")
    second = client.get(f"{path}?cursor={first['cursor'].replace('|', '%7C')}").data
    assert second["lines"] == ["three"] and not second["is_new"]


def test_model_is_downloaded_as_a_tarball(client: Client, folder: Path) -> None:
    sweep_id = record(2)
    model = Workspace().jobs_dir / f"smsweep-{sweep_id}-0-0" / "ml" / "model"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"weights")
    (folder / "private").write_text("not a part of the model")
    (model / "link").symlink_to(folder / "private")
    connection = HTTPConnection(urlsplit(client.served.url).netloc, timeout=30)
    connection.request("GET", f"/api/sweeps/{sweep_id}/trials/0/model", headers=client.usual)
    answer = connection.getresponse()
    assert answer.getheader("content-disposition") == f'attachment; filename="model-{sweep_id}-0.tar.gz"'
    with tarfile.open(fileobj=io.BytesIO(answer.read())) as packed:
        assert sorted(packed.getnames()) == ["link", "weights.bin"]
        assert packed.getmember("link").issym()
    connection.close()
    missing = client.get(f"/api/sweeps/{sweep_id}/trials/1/model")
    assert (missing.status, "has no model" in missing.data["error"]) == (404, True)
    assert client.get(f"/api/sweeps/{sweep_id}/trials/9/model").status == 404
    assert not list(Workspace().dir.glob(".model-*"))


def test_log_of_another_machine_is_explained(client: Client) -> None:
    sweep_id = record(1)
    page = client.get(f"/api/sweeps/{sweep_id}/trials/0/log").data
    assert (page["lines"], page["note"]) == ([], "the log is on a")


def test_function_trial_explains_why_it_has_no_log(client: Client) -> None:
    sweep_id = create.sweep({**CONFIG, "run_cap": 1})
    run_agent.agent(sweep_id, lambda: None)
    page = client.get(f"/api/sweeps/{sweep_id}/trials/0/log")
    assert page.status == 200  # a browser's console shows each refused request as an error
    assert (page.data["lines"], page.data["is_last"]) == ([], True)
    assert "Python function" in page.data["note"]


def test_postgresql_store_is_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_postgres() as server:
        monkeypatch.setenv("SMSWEEP_STORE", server.new_schema())
        with serving() as served:
            client = Client(served=served, usual={"Authorization": f"Bearer {served.token}"})
            assert client.get("/api/sweeps").data["sweeps"] == []
            sweep_id = record(10)
            first = client.get(f"/api/sweeps/{sweep_id}").data
            assert client.post(f"/api/sweeps/{sweep_id}/pause").status == 200
            client.post("/api/retry", {"labels": [f"{sweep_id}/9"]})
            news = client.get(f"/api/sweeps/{sweep_id}?since={first['revision']}").data
            assert news["sweep"]["state"] == "paused"
            assert [row["number"] for row in rows_of(news)] == [9]
            assert client.get("/api/sweeps/%00").status == 400


def _points(sweep_id: str, number: int) -> list[MetricPoint]:
    with Workspace(os.environ).store() as store:
        return store.read_points(sweep_id, number)
