"""What trials wrote into the source folder, as far as their agent can tell."""

from __future__ import annotations

import pytest

from smsweep.services.agents.in_place import outputs_in

BEFORE = {"train.py", "conf/a.yaml", "lightning_logs/version_0/hparams.yaml"}


@pytest.mark.parametrize(
    ("new", "outputs"),
    [
        ({"results.csv", "conf/out.json"}, {"results.csv", "conf/out.json"}),
        ({"checkpoints/1/a.pt", "checkpoints/2/b.pt"}, {"checkpoints"}),
        ({"outputs/2024-05-01/.hydra/config.yaml", "outputs/2024-05-01/train.log"}, {"outputs"}),
        ({"lightning_logs/version_1/hparams.yaml"}, {"lightning_logs/version_1"}),
        ({"models/net.py", "models/w.json"}, {"models/w.json"}),
        ({"second.py", "conf/b.yaml"}, set()),
    ],
)
def test_new_files_without_programs_are_outputs(new: set[str], outputs: set[str]) -> None:
    assert outputs_in(BEFORE | new, BEFORE) == outputs
