"""Unique id prefixes name sweeps and trials."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import Cli


@pytest.mark.parametrize("verb", ["show", "trials", "best", "export", "watch"])
def test_id_prefix_names_a_sweep(cli: Cli, ran: str, verb: str) -> None:
    assert cli(verb, ran[:5]).out == cli(verb, ran).out


def test_id_prefix_names_trials(cli: Cli, ran: str) -> None:
    assert json.loads(cli("why", f"{ran[:5]}/2", "--json").out)["trial"] == f"{ran}/2"
    assert cli("diff", f"{ran[:4]}/1", f"{ran[:6]}/1", "--exit-code").code == 0
    assert cli("rm", "-y", f"{ran[:5]}/1", f"{ran[:5]}/2").out.split() == [f"{ran}/1", f"{ran}/2"]


def test_ambiguous_id_prefix_is_refused(cli: Cli, ran: str) -> None:
    with Workspace().store() as store:
        sweep = store.get_sweep(ran)
        other = replace(sweep, id=ran[:7] + ("a" if ran[7] != "a" else "b"))
        store.create_sweep(other)
    ended = cli("show", ran[:7])
    assert (ended.code, ran in ended.err, other.id in ended.err) == (2, True, True)


def test_unknown_id_prefix_is_not_found(cli: Cli, ran: str) -> None:
    ended = cli("show", "zz" if not ran.startswith("zz") else "yy")
    assert (ended.code, "no sweep" in ended.err) == (2, True)


def test_short_id_prefix_does_not_remove_a_sweep(cli: Cli, ran: str) -> None:
    ended = cli("rm", "-y", ran[:5])
    assert (ended.code, f"give the full id {ran}" in ended.err) == (2, True)
    assert cli("rm", "-y", ran[:6]).out.split() == [ran]
