"""The hint of `run` to the web page."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.cli.commands import serve
from smsweep.services.agent_ids import new_agent_id
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import Cli


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backends", "process,sagmaker"], "--backends: no backend 'sagmaker'; use one of "),
        (["--backends", ","], "--backends: empty; name a backend, such as process"),
        (["--backends", "sagemaker"], "--backends sagemaker: its jobs cost money; add --budget-usd DOLLARS"),
        (
            ["--backends", "sagemaker", "--budget-usd", "5"],
            "--backends sagemaker: its jobs cost money; add --instance-types TYPE",
        ),
        (
            ["--backends", "batch", "--budget-usd", "5", "--instance-types", "ml.m5.large"],
            "--backends batch: its jobs cost money; add --role ARN",
        ),
        (["--instance-types", "ml.m5.large=free"], "--instance-types: 'ml.m5.large=free'; write TYPE, or"),
        (["--instance-types", "ml.m5.large=nan"], "--instance-types: 'ml.m5.large=nan'; write TYPE, or"),
        (["--budget-usd", "nan"], "--budget-usd"),
        (["--folder", "none"], "no such folder; name an existing folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mcp_server_refuses_limits_that_cannot_hold(cli: Cli, arguments: list[str], message: str) -> None:
    ended = cli("mcp", *arguments)
    assert ended.code == 2
    assert message in ended.err
