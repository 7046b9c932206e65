"""`smsweep watch` without a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Cli


def events(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_watch_of_an_ended_sweep_prints_one_line(cli: Cli, ran: str) -> None:
    ended = cli("watch", ran)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == f"{ran} finished  3 of 3 ended: 3 finished"


def test_watch_json_prints_one_event_per_line(cli: Cli, ran: str) -> None:
    ended = cli("watch", ran, "--json")
    assert ended.code == 0
    result = events(ended.out)
    assert [event["event"] for event in result] == ["sweep", "best"]
    assert result[0]["state"] == "finished"
    assert result[0]["trials"] == {"finished": 3}
    assert (result[1]["number"], result[1]["objective"]) == (2, 2.5)
    assert {event["sweep"] for event in result} == {ran}


def test_watch_quiet_prints_nothing(cli: Cli, ran: str) -> None:
    ended = cli("watch", ran, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_watch_of_failed_trials_prints_the_reasons(cli: Cli, folder: Path) -> None:
    sweep = (folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[13]")
    (folder / "bad.yaml").write_text(sweep.replace("grid", "random\nrun_cap: 2"), encoding="utf-8")
    bad = cli("run", "bad.yaml", "--quiet").out.strip()
    ended = cli("watch", bad)
    assert ended.code == 3
    assert "all 2 trials failed" in ended.err
    assert "2 x ValueError: thirteen [bold]is[/] bad luck" in ended.err


def test_watch_of_an_unknown_sweep_is_an_error(cli: Cli) -> None:
    assert cli("watch", "nosuch12").code == 2
