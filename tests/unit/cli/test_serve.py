"""The hint of `run` to the web page."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.cli.commands import serve
from smsweep.services.agent_ids import new_agent_id
from smsweep.services.workspace import Workspace


def test_hint_is_the_url_of_a_running_page_without_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "sweeps"))
    command = "open the web page with: smsweep ui"
    assert serve.page_hint("abcd1234") == command
    Workspace().make()
    page = {"url": "http://127.0.0.1:8472", "server": new_agent_id()}
    serve._record_page(Workspace(), page)
    assert serve.page_hint("abcd1234") == "web page: http://127.0.0.1:8472/sweeps/abcd1234"
    host, pid, token = page["server"].split(":")
    for server in (f"{host}:{2**22 + 1}:{token}", f"other:{pid}:{token}"):  # ended; on another machine
        serve._record_page(Workspace(), page | {"server": server})
        assert serve.page_hint("abcd1234") == command
    (tmp_path / "sweeps" / serve.PAGE_FILE).write_text("damaged")
    assert serve.page_hint("abcd1234") == command
