"""`smsweep export`: destinations, protection of existing files, and missing extras."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import UsageError
from smsweep.util import atomic_file
from tests.unit.cli.conftest import Cli


@pytest.mark.parametrize("option", ["--to", "--output", "-o"])
def test_export_file_equals_stdout(cli: Cli, ran: str, folder: Path, option: str) -> None:
    output = cli("export", ran).out
    ended = cli("export", ran, option, "trials.csv")
    assert (ended.code, ended.out, "3 trials to trials.csv" in ended.err) == (0, "", True)
    assert (folder / "trials.csv").read_bytes().decode() == output
    assert cli("export", ran, "--to", "-").out == output


def test_export_format_comes_from_the_extension_unless_given(cli: Cli, ran: str, folder: Path) -> None:
    cli("export", ran, "--to", "a.JSON")
    cli("export", ran, "--to", "b.json", "--format", "csv")
    assert len(json.loads((folder / "a.JSON").read_text())) == 3
    assert (folder / "b.json").read_text().startswith("number,")


def test_export_refuses_an_extension_without_a_format(cli: Cli, ran: str, folder: Path) -> None:
    ended = cli("export", ran, "--to", "trials.xlsx")
    assert (ended.code, list(folder.glob("trials.*"))) == (2, [])
    assert (
        "trials.xlsx: no format has the extension .xlsx; use .csv, .json, .parquet, or choose one of" in ended.err
    )
    assert cli("export", ran, "--to", "trials.txt", "--format", "csv").code == 0


@pytest.mark.parametrize("to", [(), ("--to", "-"), ("--format", "json")])
def test_export_json_flag_sets_the_format(cli: Cli, ran: str, to: tuple[str, ...]) -> None:
    assert cli("export", ran, "--json", *to).out == cli("export", ran, "--format", "json").out


def test_export_json_reports_the_written_file(cli: Cli, ran: str, folder: Path) -> None:
    answer = json.loads(cli("export", ran, "--json", "--to", "trials.csv").out)
    assert answer == {"trials": 3, "where": "trials.csv"}
    assert (folder / "trials.csv").read_text().startswith("number,")


def test_export_refuses_json_with_another_format(cli: Cli, ran: str) -> None:
    ended = cli("export", ran, "--json", "--format", "csv")
    assert (ended.code, ended.out, "not csv" in ended.err) == (2, "", True)


@pytest.mark.parametrize("name", ["trials.csv", "trials.json"])
def test_export_replaces_a_file_only_with_force(cli: Cli, ran: str, folder: Path, name: str) -> None:
    (folder / name).write_text("mine")
    (folder / name).chmod(0o600)
    refused = cli("export", ran, "--to", name)
    assert (refused.code, f"{name}: exists" in refused.err, "--force" in refused.err) == (2, True, True)
    assert (folder / name).read_text() == "mine"
    assert cli("export", ran, "--to", name, "--force").code == 0
    assert "mine" not in (folder / name).read_text()
    assert (folder / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("to", [".smsweep/store.db", "sqlite:///.smsweep/store.db"])
@pytest.mark.parametrize("form", ["csv", "optuna"])
def test_export_never_replaces_the_store(cli: Cli, ran: str, to: str, form: str) -> None:
    refused = cli("export", ran, "--to", to, "--format", form, "--force")
    assert (refused.code, "own store" in refused.err) == (2, True)
    assert cli("show", ran).code == 0


def test_export_writes_through_a_link(cli: Cli, ran: str, folder: Path) -> None:
    (folder / "real.csv").touch()
    (folder / "link.csv").symlink_to("real.csv")
    cli("export", ran, "--to", "link.csv", "--force")
    assert (folder / "link.csv").is_symlink()
    assert (folder / "real.csv").read_text().startswith("number,")


def test_export_writes_to_a_device(cli: Cli, ran: str) -> None:
    assert cli("export", ran, "--to", "/dev/null").code == 0


def test_export_file_is_written_atomically(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    for name in ("new", "there"):
        with pytest.raises(UsageError, match="No space left"):
            atomic_file.write_output(tmp_path / name, fail, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "before"


@pytest.mark.parametrize(
    ("form", "package"),
    [("parquet", "pyarrow"), ("optuna", "optuna"), ("mlflow", "mlflow"), ("tensorboard", "tensorboard")],
)
def test_export_names_a_missing_extra(cli: Cli, ran: str, folder: Path, form: str, package: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed here")
    ended = cli("export", ran, "--format", form, "--to", "x")
    assert (ended.code, f"pip install 'smsweep[{form}]'" in ended.err) == (2, True)
    assert not (folder / "x").exists()


@pytest.mark.parametrize("form", ["parquet", "optuna", "mlflow", "tensorboard"])
def test_export_of_binary_formats_needs_a_file(cli: Cli, ran: str, form: str) -> None:
    ended = cli("export", ran, "--format", form)
    assert (ended.code, "--to" in ended.err) == (2, True)


HOSTILE = """
program: train.py
method: grid
parameters:
  a: {value: 1}
  "=HYPERLINK(1)": {value: "=cmd|' /C calc'!A0"}
  b: {value: "  @SUM(1)"}
  c: {value: "＝1+1"}
  d: {value: ["=1", "-1"]}
"""


@pytest.mark.parametrize("form", ["csv", "wandb"])
def test_csv_cell_is_never_a_formula(cli: Cli, folder: Path, form: str) -> None:
    (folder / "sweep.yaml").write_text(HOSTILE)
    sweep_id = cli("run", "sweep.yaml", "--quiet", "--name", "@sum").out.strip()
    for row in csv.reader(io.StringIO(cli("export", sweep_id, "--format", form).out)):
        for cell in row:
            is_number = cell.lstrip("-").replace(".", "").replace("e-", "").isdecimal()
            assert is_number or not cell.strip().startswith(("=", "+", "-", "@", "＝")), cell


def test_escaped_csv_text_is_read_back_as_a_prior_run(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\n"
        "parameters: {a: {values: [1, 2]}, b: {value: '=x'}}\n"
    )
    first = cli("run", "sweep.yaml", "--quiet").out.strip()
    cli("export", first, "--to", "runs.csv")
    ended = cli("sweep", "sweep.yaml", "-R", "runs.csv")
    assert (ended.code, "outside the space" in ended.err) == (0, False)


def test_export_is_available_in_python(ran: str, folder: Path) -> None:
    sweep = smsweep.Api().sweep(ran)
    assert sweep.export(folder / "trials.json") == 3
    with pytest.raises(UsageError, match="exists"):
        sweep.export("trials.json")
    assert sweep.export("trials.json", "csv", force=True) == 3
    assert (folder / "trials.json").read_text().startswith("number,")
