"""The output of each command for a real sweep of three trials."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import stat
from pathlib import Path

import pytest

from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import SWEEP, Cli


def test_sweep_prints_only_the_id_on_stdout(cli: Cli) -> None:
    ended = cli("sweep", "sweep.yaml", "--project", "p")
    assert ended.code == 0
    assert len(ended.out.strip()) == 8
    assert ended.err.splitlines() == [
        f"Creating sweep with ID: {ended.out.strip()}",  # the same form as in W&B
        f"run trials with: smsweep agent {ended.out.strip()}",
    ]


def test_sweep_takes_wandb_flags(cli: Cli) -> None:
    first = cli("sweep", "-p", "p", "-e", "team", "--name", "mine", "sweep.yaml").out.strip()
    second = cli("sweep", "--prior_run", first, "--json", "sweep.yaml")
    shown = json.loads(cli("show", f"team/p/{first}", "--json").out)
    assert (shown["name"], shown["project"], shown["entity"]) == ("mine", "p", "team")
    assert json.loads(second.out)["id"] != first


@pytest.mark.parametrize("store", ["", "elsewhere.db"])
def test_smsweep_folder_is_private(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    if store:
        monkeypatch.setenv("SMSWEEP_STORE", f"sqlite:///{folder / store}")
    assert cli("sweep", "sweep.yaml").code == 0
    assert stat.S_IMODE((folder / ".smsweep").stat().st_mode) == 0o700
    assert (folder / ".smsweep/.gitignore").read_text() == "*\n"


def test_refused_source_leaves_no_folder(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_BACKEND", "sagemaker")  # for processes, a secret is only a warning
    (folder / "train.py").write_text("api_key = 'kJ8sQ2mN4pR6tV8xZ0bD'\n")  # smsweep: allow-secret
    assert cli("sweep", "sweep.yaml").code == 2
    assert not (folder / ".smsweep").exists()


def test_sweep_takes_another_program(cli: Cli, folder: Path) -> None:
    (folder / "train.py").rename(folder / "other.py")
    sweep_id = cli("sweep", "--program", "other.py", "sweep.yaml").out.strip()
    assert cli("agent", sweep_id, "--count", "1").code == 0


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--backend", "process"],
        ["--on", "local:2"],
        ["--backend", "process", "--parallel", "2", "--gpus-per-trial", "0.5"],
        ["--parallel", "auto"],
    ],
)
def test_next_command_repeats_the_options(cli: Cli, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setenv("SMSWEEP_DEVICES", "0")
    ended = cli("run", "sweep.yaml", "--count", "1", *options)
    assert f"continue with: {' '.join(['smsweep', 'agent', ended.out.strip(), *options])}\n" in ended.err


def test_state_flag_accepts_a_full_id(cli: Cli) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert cli("sweep", "--pause", f"team/p/{sweep_id}").out.strip() == sweep_id
    assert json.loads(cli("show", sweep_id, "--json").out)["state"] == "paused"


def test_plan_json_has_the_trials(cli: Cli) -> None:
    planned = json.loads(cli("plan", "sweep.yaml", "--n", "2", "--json").out)
    assert planned["expected_trial_count"] == 3
    assert [trial["params"] for trial in planned["trials"]] == [{"a": 1}, {"a": 2}]
    assert planned["trials"][0]["argv"] == ["/usr/bin/env", "python", "train.py", "--a=1"]
    assert planned["warnings"] == []


@pytest.mark.parametrize("verb", ["plan", "sweep", "run"])
def test_metric_definition_with_nested_repeats_gets_a_warning(cli: Cli, folder: Path, verb: str) -> None:
    (folder / "job.yaml").write_text("metric_definitions: [{Name: x, Regex: 'x=([0-9]+)+'}]\n")
    ended = cli(verb, "sweep.yaml", "--job", "job.yaml")
    assert ended.code == 0
    assert (
        ended.err.count(
            "job.yaml:1: metric_definitions[0].Regex: '([0-9]+)+' repeats a group that contains a repetition"
        )
        == 1
    )


def test_agent_warns_of_metric_definitions_in_its_job_config(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("metric_definitions: [{Name: x, Regex: 'x=([0-9]+)+'}]\n")
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert "repeats a group that contains a repetition" in cli("agent", sweep_id, "--job", "job.yaml").err


def test_plan_masks_environment_values_in_commands(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "s3cr3t-w0rd")
    with (folder / "sweep.yaml").open("a") as file:
        file.write("command: [python, train.py, '--db=me:${envvar:DB_PASSWORD}', '${args}']\n")
    planned = json.loads(cli("plan", "sweep.yaml", "--json").out)
    assert planned["trials"][0]["argv"] == ["python", "train.py", "--db=me:***", "--a=1"]


def test_plan_writes_nothing(cli: Cli, folder: Path) -> None:
    cli("plan", "sweep.yaml")
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.yaml", "train.py"]


def test_plan_quotes_argv_for_reading(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text("program: train.py\nmethod: grid\nparameters: {a: {value: 'x y'}}\n")
    assert "'--a=x y'" in cli("plan", "sweep.yaml").out


def test_plan_warns_on_stderr(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nparameters: {a: {value: 1}}\n"
        "command: [python, '${program}', '--a=${a}']\n"
    )
    ended = cli("plan", "sweep.yaml")
    assert "warning: " in ended.err
    assert "warning" not in ended.out


def test_show_json_has_the_documented_keys(cli: Cli, ran: str) -> None:
    shown = json.loads(cli("show", ran, "--json").out)
    assert shown["trials"] == {"finished": 3}
    assert shown["best"]["number"] == 2
    assert (shown["state"], shown["method"], shown["metric"]["name"]) == ("finished", "grid", "loss")
    assert shown["expected_trial_count"] == 3


def test_trials_json_has_the_documented_keys(cli: Cli, ran: str) -> None:
    trials = json.loads(cli("trials", ran, "--json").out)
    assert [trial["objective"] for trial in trials] == [10, 5, 2.5]
    keys = {"number", "state", "params", "metrics", "objective", "attempt", "reason", "started_at", "ended_at"}
    assert keys <= trials[0].keys()


def test_trials_table_marks_the_best(cli: Cli, ran: str) -> None:
    lines = cli("trials", ran).out.splitlines()
    assert lines[0].split() == ["trial", "state", "objective", "time", "a"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2*"]


def test_failed_trial_is_never_the_best(cli: Cli, folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("[1, 2, 4]", "[1, 13]"))
    ended = cli("run", "sweep.yaml")
    assert ended.code == 0
    assert "\n0*     finished  10 " in ended.err
    assert "\n1      failed    0.769231 " in ended.err


@pytest.mark.parametrize(
    ("by", "numbers"),
    [
        ("number", [0, 1, 2]),
        ("objective", [2, 1, 0]),
        ("-objective", [0, 1, 2]),
        ("-a", [2, 1, 0]),
        ("params.a", [0, 1, 2]),
        ("metrics.loss", [2, 1, 0]),
    ],
)
def test_trials_are_sorted_by(cli: Cli, ran: str, by: str, numbers: list[int]) -> None:
    trials = json.loads(cli("trials", ran, "--sort", by, "--json").out)
    assert [trial["number"] for trial in trials] == numbers


def test_metric_to_maximize_is_sorted_best_first(cli: Cli, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text().replace("minimize", "maximize").replace("[1, 2, 4]", "[4, 1, 2]")
    (folder / "sweep.yaml").write_text(text)
    sweep_id = cli("run").out.strip()
    for by, numbers in (("objective", [1, 2, 0]), ("loss", [1, 2, 0]), ("-metrics.loss", [0, 2, 1])):
        trials = json.loads(cli("trials", sweep_id, "--sort", by, "--json").out)
        assert [trial["number"] for trial in trials] == numbers


def test_trials_of_one_state(cli: Cli, ran: str) -> None:
    assert json.loads(cli("trials", ran, "--state", "failed", "--json").out) == []


def test_trials_of_a_finished_sweep_suggest_no_agent(cli: Cli, ran: str) -> None:
    assert cli("trials", ran, "--state", "failed").err == "no such trial\n"


def test_best_names_the_trial_and_its_params(cli: Cli, ran: str) -> None:
    assert cli("best", ran).out == f"{ran}/2  loss=2.5\na=4\n"


def test_best_ignores_text_values(cli: Cli, folder: Path) -> None:
    (folder / "train.py").write_text("import smsweep\nsmsweep.log({'loss': f'{0.5:.4f}'})\n")
    ended = cli("best", cli("run", "sweep.yaml", "--count", "1").out.strip())
    assert ended.code == 2
    assert "has reported a number as 'loss' (text, NaN and infinities are not numbers" in ended.err


def test_best_without_a_model_downloads_nothing(cli: Cli, ran: str, folder: Path) -> None:
    ended = cli("best", ran, "--download", str(folder / "model"))
    assert (ended.code, ended.out) == (2, "")
    assert f"trial {ran}/2 has no model" in ended.err
    assert not (folder / "model").exists()


def test_logs_print_the_output_of_the_script(cli: Cli, ran: str) -> None:
    assert cli("logs", f"{ran}/0").out == "trained with 1\n"


def test_raw_logs_include_metric_records(cli: Cli, ran: str) -> None:
    assert "@smsweep" in cli("logs", f"{ran}/0", "--raw").out


def test_export_csv_has_one_column_per_param_and_metric(cli: Cli, ran: str) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("export", ran).out)))
    assert [(row["params.a"], row["metrics.loss"]) for row in rows] == [("1", "10.0"), ("2", "5.0"), ("4", "2.5")]


@pytest.mark.parametrize(("form", "first"), [("csv", "number"), ("wandb", "Name")])
def test_export_before_the_first_trial_has_a_header(cli: Cli, folder: Path, form: str, first: str) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    (header,) = csv.reader(cli("export", sweep_id, "--format", form).out.splitlines())
    assert header[0] == first


@pytest.mark.parametrize("form", [(), ("--format", "json")])
def test_export_of_a_file_refuses_a_database_url(cli: Cli, ran: str, form: tuple[str, ...]) -> None:
    ended = cli("export", ran, *form, "--to", "sqlite:///study.db")
    assert ended.code == 2
    assert "sqlite:///study.db: is not a file, which" in ended.err
    assert "--format optuna or mlflow" in ended.err


def test_export_to_a_json_file(cli: Cli, ran: str, folder: Path) -> None:
    ended = cli("export", ran, "-o", "trials.json")
    assert ended.out == ""
    assert len(json.loads((folder / "trials.json").read_text())) == 3


def test_ls_lists_newest_first(cli: Cli, ran: str) -> None:
    newer = cli("sweep", "sweep.yaml").out.strip()
    assert [sweep["id"] for sweep in json.loads(cli("ls", "--json").out)] == [newer, ran]
    assert [line.split()[0] for line in cli("ls").out.splitlines()] == ["id", newer, ran]


def test_commands_can_print_json(cli: Cli, ran: str, folder: Path) -> None:
    assert list(json.loads(cli("iam", "--json").out)) == ["launcher", "role", "agent"]
    assert json.loads(cli("report", ran, "--json").out) == {"file": f"{ran}.html"}
    assert json.loads(cli("slurm", ran, "--array", "2", "--json").out)["script"].startswith("#!/")


def test_rm_prints_what_it_removed(cli: Cli, ran: str) -> None:
    ended = cli("rm", "-y", f"{ran}/1")
    assert ended.out.strip() == f"{ran}/1"
    assert f"smsweep sweep --resume {ran}" in ended.err
    assert [trial["number"] for trial in json.loads(cli("trials", ran, "--json").out)] == [0, 2]


@pytest.mark.parametrize("label", ["ID", "ID/1"])
def test_rm_needs_yes_without_a_terminal(cli: Cli, ran: str, label: str) -> None:
    refused = cli("rm", label.replace("ID", ran))
    assert (refused.code, refused.out, "add --yes" in refused.err) == (2, "", True)
    assert len(json.loads(cli("trials", ran, "--json").out)) == 3


def test_rm_lists_what_it_would_delete(cli: Cli, ran: str, folder: Path) -> None:
    listed = cli("rm", ran, "--dry-run")
    assert (listed.code, listed.out) == (0, "")
    assert f"{ran} (tiny): 3 finished" in listed.err
    assert "on this machine: 3 job folders, source snapshot" in listed.err
    (document,) = json.loads(cli("rm", ran, f"{ran}/0", "--dry-run", "--json").out)
    assert (document["label"], document["trials"], document["s3"]) == (ran, {"finished": 3}, [])
    assert len(jobs_in(folder)) == 3


def test_prune_deletes_models_and_keeps_logs(cli: Cli, ran: str) -> None:
    assert "nothing was deleted" in cli("prune", "--keep-best", "1").err
    pruned = cli("prune", ran[:4], "--keep-best", "1", "--yes")
    assert pruned.out.split() == [f"{ran}/0", f"{ran}/1"]
    assert "`smsweep prune` deleted model" in cli("show", f"{ran}/0").out
    assert "trained with 1" in cli("logs", f"{ran}/0").out
    assert "nothing to prune" in cli("prune", "--keep-best", "1", "-y").err


@pytest.mark.parametrize(
    ("method", "message"), [("grid", "those grid cells again"), ("random", "other trials instead")]
)
def test_rm_prints_the_command_that_runs_the_trials_again(
    cli: Cli, folder: Path, method: str, message: str
) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("grid", method))
    sweep_id = cli("run", "sweep.yaml", "--count", "1").out.strip()
    assert f"to run {message}: smsweep sweep --resume {sweep_id}" in cli("rm", f"{sweep_id}/0", "--yes").err


def test_rm_removes_a_whole_sweep(cli: Cli, ran: str) -> None:
    cli("rm", "-y", ran)
    assert json.loads(cli("ls", "--json").out) == []


@pytest.mark.parametrize("verb", ["rm", "show", "logs", "retry"])
def test_removed_trial_is_not_found(cli: Cli, ran: str, verb: str) -> None:
    cli("rm", "-y", f"{ran}/1")
    ended = cli(verb, f"{ran}/1")
    assert (ended.code, f"{ran}/1 was removed" in ended.err) == (2, True)


def jobs_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".smsweep/jobs/*"))


def test_rm_deletes_job_folders_and_checkpoints(cli: Cli, ran: str, folder: Path) -> None:
    assert (folder / f".smsweep/checkpoints/{ran}/1").is_dir()
    cli("rm", "-y", f"{ran}/1")
    assert jobs_in(folder) == [f"smsweep-{ran}-0-0", f"smsweep-{ran}-2-0"]
    assert not (folder / f".smsweep/checkpoints/{ran}/1").exists()
    cli("rm", "-y", ran)
    assert (jobs_in(folder), list((folder / ".smsweep/checkpoints").iterdir())) == ([], [])


def test_rm_keeps_wandb_runs_that_were_never_synced(cli: Cli, ran: str, folder: Path) -> None:
    wandb = folder / f".smsweep/jobs/smsweep-{ran}-1-0/ml/output/data/wandb"
    for name, file in (("offline-run-1-a", "run-a.wandb"), ("offline-run-2-b", "run-b.wandb")):
        (wandb / name).mkdir(parents=True)
        (wandb / name / file).touch()
    (wandb / "offline-run-2-b/run-b.wandb.synced").touch()
    ended = cli("rm", "-y", f"{ran}/1")
    (stored,) = (folder / ".smsweep/wandb").glob("*/*")
    assert (stored.name, f"wandb sync {stored}" in ended.err) == ("offline-run-1-a", True)


def test_rm_removes_nothing_while_a_job_still_runs(cli: Cli, ran: str, folder: Path) -> None:
    with (folder / f".smsweep/jobs/smsweep-{ran}-1-0/lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = cli("rm", "-y", f"{ran}/0", f"{ran}/1")
    assert (refused.code, "still runs" in refused.err) == (2, True)
    assert len(jobs_in(folder)) == len(json.loads(cli("trials", ran, "--json").out)) == 3


@pytest.mark.parametrize("label", ["ID", "ID/1"])
def test_rm_removes_nothing_that_an_agent_claims_at_the_same_time(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    sweep_id = cli("run", "sweep.yaml", "--count", "1").out.strip()
    checkpoints = folder / f".smsweep/checkpoints/{sweep_id}/1"
    checkpoints.mkdir(parents=True)
    with Workspace().store() as store:
        store.add_trials(sweep_id, 1, [{"a": 2}])

        def flock(descriptor: int, operation: int) -> None:  # while rm checks whether the jobs still run
            store.claim(sweep_id, "agent", "elsewhere", 60)

        earlier = folder / f".smsweep/jobs/smsweep-{sweep_id}-1-0"
        earlier.mkdir()
        (earlier / "lock").touch()
        jobs = jobs_in(folder)
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", flock)
            refused = cli("rm", "-y", label.replace("ID", sweep_id))
        assert (refused.code != 0, "running" in refused.err) == (True, True)
        assert (jobs_in(folder), checkpoints.exists()) == (jobs, True)
        assert store.get_trial(sweep_id, 1).state == "running"
        assert store.get_sweep(sweep_id).state == "running"


def test_rm_can_be_repeated_after_an_interruption(cli: Cli, ran: str, folder: Path) -> None:
    with Workspace().store() as store:
        store.remove_trial(ran, 1)
    assert cli("rm", "-y", f"{ran}/1").code == 0
    assert jobs_in(folder) == [f"smsweep-{ran}-0-0", f"smsweep-{ran}-2-0"]
    assert cli("rm", "-y", f"{ran}/1").code == 2


def test_agent_of_an_ended_sweep_names_the_next_command(cli: Cli, ran: str) -> None:
    finished = cli("agent", ran)
    assert (finished.code, "--resume" in finished.err) == (0, False)  # otherwise the agent has no work
    assert f"smsweep retry {ran}/N" in finished.err
    other = cli("sweep", "sweep.yaml").out.strip()
    cli("sweep", "--cancel", other)
    cancelled = cli("agent", other)
    assert cancelled.code == 0
    assert f"smsweep sweep --resume {other}" in cancelled.err


def test_ls_in_an_empty_folder_writes_nothing(cli: Cli, folder: Path) -> None:
    ended = cli("ls")
    assert (ended.code, ended.out) == (0, "")
    assert "smsweep sweep" in ended.err
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.yaml", "train.py"]


def test_show_without_a_store_creates_none(cli: Cli, folder: Path) -> None:
    ended = cli("show", "abcd1234")
    assert ended.code == 2
    assert "set SMSWEEP_DIR" in ended.err
    assert not (folder / ".smsweep").exists()


def test_doctor_reports_ok_for_each_required_check(cli: Cli) -> None:
    ended = cli("doctor", "--json")
    assert ended.code == 0
    assert all(finding["is_ok"] for finding in json.loads(ended.out) if finding["is_required"])


def test_doctor_fails_with_a_fix_for_a_required_check(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("SMSWEEP_DIR", str(folder / "file" / "below"))
    ended = cli("doctor")
    assert ended.code == 1
    assert "MISSING  folder" in ended.out
    assert "set SMSWEEP_DIR to" in ended.out


def test_doctor_names_the_python_that_trials_get(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (folder / "train.py").write_text("import sys, smsweep; smsweep.log({'loss': 1}); print('ran', sys.executable)")
    label = f"{cli('run', 'sweep.yaml', '--count', '1', '-q').out.strip()}/0"
    ran = cli("logs", label).out.strip()
    assert f"ok       python of the trials: {ran.removeprefix('ran ')}" in cli("doctor").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).out
    assert "_SMSWEEP_COMPLETE" in script
    assert json.loads(cli("completion", shell, "--json").out) == {"shell": shell, "script": script[:-1]}


def test_show_prints_the_trial_limit_of_the_budget(cli: Cli, folder: Path) -> None:
    (folder / "job.yaml").write_text("budget: {trials: 2}")
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    assert "trials   0 of 3 ended: none; the budget allows 2" in cli("show", sweep_id).out
