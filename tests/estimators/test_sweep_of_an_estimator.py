"""Tests of complete sweeps of SDK objects on a local SageMaker emulator, each SDK in a separate environment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from smsweep.services import emulator
from tools.environments import oracle

pytestmark = pytest.mark.oracle

TRAIN = """\
import argparse, smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=int)
parser.add_argument("--epochs", type=int)
parser.add_argument("--name")
args, _ = parser.parse_known_args()
assert args.name == "it's"
smsweep.log({"loss": args.x * args.epochs})
"""


@pytest.mark.parametrize(("sdk", "way"), [(2, "run"), (3, "agent")])
def test_each_trial_is_one_training_job_of_estimator(
    tmp_path: Path, sdk: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    with emulator.run_emulator(folder=tmp_path / "emulator") as opened:
        result = oracle(f"sagemaker{sdk}").ask(
            Path(__file__).with_name("run_sweep.py"),
            {
                "sdk": sdk,
                "environ": opened.environ,
                "bucket": f"estimators-{sdk}-{way}",
                "source_dir": str(source),
                "home": str(tmp_path / "home"),
                "way": way,
            },
        )
        calls = Counter(entry["action"] for entry in opened.ledger.read())
    assert result.pop("id")
    assert result == {"states": ["finished"] * 3, "loss": [2, 4, 6], "hosts": ["('127.0.0.1'"]}
    assert calls["CreateTrainingJob"] == 3
