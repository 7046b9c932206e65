"""The batch script of a job array."""

from __future__ import annotations

import subprocess

import pytest

from smsweep.errors import UsageError
from smsweep.fleet.slurm import batch_script, submit
from tests.markdown import ROOT


def test_an_option_of_sbatch_wins_over_ours() -> None:
    script = batch_script("abcd1234", 3, at_once=2, options=["signal=B:TERM@300", "--exclusive"])
    assert "#SBATCH --array=1-3%2\n#SBATCH --signal=B:TERM@300\n" in script
    assert "#SBATCH --exclusive\n" in script


def test_a_value_of_several_words_or_with_quotes_is_one_for_sbatch() -> None:
    script = batch_script("abcd1234", 3, options=['comment=it\'s "two" words # \\', "gres=gpu:1", "job-name=a$b"])
    assert '#SBATCH --comment="it\'s \\"two\\" words # \\\\"\n' in script
    assert "#SBATCH --gres=gpu:1" in script
    assert "#SBATCH --job-name=a$b\n" in script


@pytest.mark.parametrize("option", ["", "time=1\nrm -rf /", "; true", "a b=c", "-t=1", "é=1"])
def test_an_option_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match="long option"):
        batch_script("abcd1234", 3, options=[option])


def test_folders_with_strange_names_stay_one_word() -> None:
    script = batch_script("abcd1234", 1, environment={"SMSWEEP_DIR": "/a b/$(c)'d"})
    line = next(line for line in script.splitlines() if line.startswith("export"))
    said = subprocess.run(
        ["bash", "-c", f'{line}; echo -n "$SMSWEEP_DIR"'], capture_output=True, text=True, check=True
    )
    assert said.stdout == "/a b/$(c)'d"


def test_the_example_is_what_the_verb_writes() -> None:
    example = (ROOT / "examples" / "slurm" / "sweep.sbatch").read_text()
    written = batch_script("abcd1234", 20, at_once=4, options=["time=01:00:00", "job-name=smsweep"])
    differing = [(a, b) for a, b in zip(example.splitlines(), written.splitlines(), strict=True) if a != b]
    assert [a for a, _ in differing] == [
        "# Each task of this array runs one trial of the sweep whose id is the argument: sbatch sweep.sbatch ID",
        'smsweep agent --count 1 "$1" &',
    ]


def test_without_sbatch_it_says_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="login node"):
        submit("")
