"""`smsweep show` and `ls`: the state of a sweep, and the results of a trial."""

from __future__ import annotations

import json

from smsweep.cli.commands.show import stored
from smsweep.services.agent_ids import new_agent_id
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import Cli


def test_running_sweep_without_an_agent_has_the_command_that_starts_one(cli: Cli) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert f"state    pending; run trials with: smsweep agent {sweep_id}\n" in cli("show", sweep_id).out
    listed = cli("ls")
    assert "pending" in listed.out
    assert listed.err == f"no agent runs trials; start one with: smsweep agent {sweep_id}\n"
    assert json.loads(cli("show", sweep_id, "--json").out)["has_agent"] is False
    cli("sweep", "--pause", sweep_id)
    listed = cli("ls")
    assert "no agent" not in listed.err
    assert "pending" not in cli("show", sweep_id).out + listed.out


def test_sweep_with_a_running_trial_has_an_agent(cli: Cli) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    with Workspace().store() as store:
        store.add_trials(sweep_id, 0, [{"a": 1}])
        store.claim(sweep_id, new_agent_id(), "process@here", 60.0)
        assert cli("ls").err == ""
        assert "running, 1 agent" in cli("show", sweep_id).out
        store.release(next(iter(store.holders(sweep_id))))
    assert "pending" in cli("show", sweep_id).out


def test_results_on_sagemaker_may_not_exist() -> None:
    assert stored("s3://b/model.tar.gz", "docker@laptop") == "s3://b/model.tar.gz"
    assert stored("s3://b/model.tar.gz", "sagemaker@eu") == "s3://b/model.tar.gz (if the script saved files)"
    assert stored("", "sagemaker@eu") == ""
