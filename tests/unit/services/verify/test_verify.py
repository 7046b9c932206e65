"""Verdicts, masking, state files and reports of `smsweep verify`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from smsweep.core.job import JobTemplate
from smsweep.core.json_documents import VerificationDocument
from smsweep.errors import UsageError
from smsweep.services.verify import report
from smsweep.services.verify.assumption import CONFIRMED, DIFFERENT, Result, judge
from smsweep.services.verify.run_state import RUN_ID, STATE_FILE, RunState, list_runs, new_run_id
from smsweep.services.verify.runner import CHECKS, Mask, Verification, ordered
from smsweep.services.verify.session import AWS, LOCAL, Facts, Session, job_seconds
from tests.support.markdown import ROOT

FACTS = Facts(
    backend="sagemaker",
    place=AWS,
    region="eu-west-1",
    account="111122223333",
    instance_type="ml.m5.large",
    price_per_hour=0.12,
    quota=4,
    runs_images=True,
)
CHECK = next(check for check in CHECKS if check.id == "unknown-job")
ANSWER = {
    "describe_code": "ValidationException",
    "describe_message": "Requested resource not found.",
    "stop_code": "ValidationException",
    "stop_message": "Requested resource not found.",
}


def a_state(folder: Path) -> RunState:
    run = new_run_id()
    return RunState(
        path=folder / "verify" / run / STATE_FILE, run=run, target={}, started_at="2026-12-02T10:00:00"
    )


def a_report(folder: Path, *results: Result, facts: Facts = FACTS) -> VerificationDocument:
    state = a_state(folder)
    return report.document_of(Verification(facts=facts, state=state, results=results, remains=()))


def test_expected_answer_is_confirmed() -> None:
    assert judge(CHECK, ANSWER, FACTS).verdict == CONFIRMED


def test_other_answer_is_different_and_the_field_is_named() -> None:
    result = judge(CHECK, {**ANSWER, "stop_code": "ResourceNotFound"}, FACTS)
    assert (result.verdict, result.differences) == (DIFFERENT, ("stop_code",))


def test_missing_field_is_different() -> None:
    assert judge(CHECK, {}, FACTS).differences == tuple(ANSWER)


def test_pattern_must_match_the_whole_text() -> None:
    check = replace(CHECK, expected={"text": re.compile("a+")})
    assert judge(check, {"text": "aa"}, FACTS).verdict == CONFIRMED
    assert judge(check, {"text": "aab"}, FACTS).verdict == DIFFERENT
    assert judge(check, {"text": None}, FACTS).verdict == DIFFERENT


def test_field_of_images_is_judged_only_if_jobs_run_in_images() -> None:
    check = replace(CHECK, expected={"user": "root"}, images=frozenset({"user"}))
    assert judge(check, {"user": "me"}, FACTS).verdict == DIFFERENT
    assert judge(check, {"user": "me"}, replace(FACTS, runs_images=False)).verdict == CONFIRMED


def test_every_check_has_a_unique_id_and_names_an_existing_file() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert [check.file for check in CHECKS if not (ROOT / check.file).exists()] == []


def test_check_that_starts_jobs_has_a_worst_cost() -> None:
    free = {check.id for check in CHECKS if not check.worst_usd(FACTS)}
    calls = {"unknown-job", "conditional-write", "bucket-owner", "no-log", "policies", "list-order", "rate-limits"}
    assert free == calls
    assert all(check.worst_s(FACTS) >= check.usual_s for check in CHECKS)


def test_worst_cost_of_a_job_includes_its_limit_the_grace_period_and_its_setup() -> None:
    assert job_seconds(60, instances=2, idle_s=30) == 2 * (60 + 120 + 600 + 30)
    assert FACTS.usd(3600) == 0.12


def test_checks_are_ordered_by_their_usual_cost() -> None:
    usual = [check.usual_s for check in ordered(CHECKS, FACTS) if not check.is_late]
    assert usual == sorted(usual)
    assert {check.id for check in ordered(CHECKS, replace(FACTS, backend="process"))} >= {"probe", "adoption"}


def test_state_is_saved_before_a_job_can_exist(tmp_path: Path) -> None:
    state = a_state(tmp_path)
    name = state.next_job()
    (stored,) = list_runs(tmp_path)
    assert stored.left("jobs") == [name] == [f"smsweep-{state.run}-0-0"]
    stored.drop("jobs", name)
    assert RunState.read(state.path).left("jobs") == []
    assert RunState.read(state.path).next_job() == f"smsweep-{state.run}-1-0"


def test_run_ids_have_the_form_of_sweep_ids() -> None:
    assert RUN_ID.fullmatch(new_run_id())
    assert re.fullmatch(r"[a-z0-9]{8}", new_run_id())


@pytest.mark.parametrize("text", ["", "[]", '{"run": 1}'])
def test_damaged_state_raises_an_error_with_its_path(tmp_path: Path, text: str) -> None:
    state = a_state(tmp_path)
    state.save()
    state.path.write_text(text)
    with pytest.raises(UsageError, match=rf"{re.escape(str(state.path))}: is not the state of a run"):
        list_runs(tmp_path)


def test_mask_replaces_accounts_names_and_keys(tmp_path: Path) -> None:
    request = {
        "RoleArn": "arn:aws:iam::111122223333:role/secret-team",
        "OutputDataConfig": {"S3OutputPath": "s3://our-models/out"},
    }
    state = a_state(tmp_path)
    mask = Mask(Session(state, FACTS, JobTemplate(request=request), {}))
    text = (
        "User: arn:aws:sts::111122223333:assumed-role/admin/alice cannot pass "
        "arn:aws:iam::111122223333:role/secret-team "
        f"to s3://our-models/x of 999988887777 with AKIAIOSFODNN7EXAMPLE for {state.run}"
    )
    assert mask.text(text) == (
        "User: arn:aws:sts::ACCOUNT:assumed-role/NAME cannot pass ROLE "
        "to s3://BUCKET/x of ACCOUNT with KEY for RUN"
    )
    assert mask.data({"a": [text[:0], 1228000000000, ("111122223333",)]}) == {
        "a": ["", 1228000000000, ["ACCOUNT"]]
    }


def test_report_names_the_emulators_file_if_aws_differs(tmp_path: Path) -> None:
    wrong = judge(CHECK, {**ANSWER, "stop_code": "ResourceNotFound"}, FACTS)
    document = a_report(tmp_path, wrong)
    assert document["checks"][0]["file"] == "smsweep/emulator/api_error.py"
    text = report.markdown(document)
    assert "The answer of AWS differs. Change `smsweep/emulator/api_error.py`." in text
    assert "| stop_code (different) | `ValidationException` | `ResourceNotFound` |" in text


def test_report_of_a_local_backend_names_the_backend(tmp_path: Path) -> None:
    document = a_report(
        tmp_path, judge(CHECK, {}, FACTS), facts=Facts(backend="docker", place=LOCAL, runs_images=True)
    )
    assert document["checks"][0]["file"] == "smsweep/backends/docker"


def test_written_report_is_read_again(tmp_path: Path) -> None:
    document = a_report(tmp_path, judge(CHECK, ANSWER, FACTS))
    markdown, data = report.write(document, tmp_path)
    assert report.read(tmp_path) == [document] == [json.loads(data.read_text())]
    assert markdown.read_text().startswith("# Verification of SageMaker, ")


def test_file_that_is_no_report_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match=r"x\.json: is not a report of smsweep verify"):
        report.read(tmp_path)


def test_page_lists_the_last_report_of_aws_only(tmp_path: Path) -> None:
    assert report.page_table([]).count("| none |") == len(ordered(CHECKS, FACTS))
    document = a_report(tmp_path, judge(CHECK, ANSWER, FACTS))
    other = {**document, "place": "the emulator"}
    assert report.page_table([other]) == report.page_table([])  # type: ignore[list-item]  # a copy of the document
    row = next(line for line in report.page_table([document]).splitlines() if line.startswith("| unknown-job |"))
    name = f"{document['date']}-sagemaker-{document['run']}"
    assert row.endswith(f"| [confirmed, {document['date']}, eu-west-1](verified/{name}.md) |")


def test_page_of_the_docs_equals_the_published_reports() -> None:
    page = (ROOT / "docs" / "verified.md").read_text(encoding="utf-8")
    assert report.page_table(report.read(ROOT / "docs" / "verified")) in page
