"""List and Search of the emulator, over jobs that never start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from smsweep.emulator.api.paging import make_token
from tests.support.account import Account, error_of, open_account

COUNT = 7


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ, faults={"start_s": 3600}) as opened:
        for number in range(COUNT):
            team = "red" if number % 2 else "blue"
            opened.create(
                f"job-{number}",
                HyperParameters={"lr": f"0.{number}", "opt.name": "adam"},
                Tags=[{"Key": "team", "Value": team}, {"Key": "with.dot", "Value": "yes"}],
                Environment={"NUMBER": str(number)},
            )
        opened.sagemaker.stop_training_job(TrainingJobName="job-3")
        opened.wait("job-3")
        yield opened


def listed(account: Account, **options: Any) -> list[str]:
    answer = account.sagemaker.list_training_jobs(**options)
    return [item["TrainingJobName"] for item in answer["TrainingJobSummaries"]]


def found(account: Account, *filters: tuple[str, ...], **expression: Any) -> list[str]:
    rules = [dict(zip(("Name", "Operator", "Value"), rule, strict=False)) for rule in filters]
    wanted: Any = {**({"Filters": rules} if rules else {}), **expression}
    answer = account.sagemaker.search(
        Resource="TrainingJob",
        SearchExpression=wanted,
        SortBy="TrainingJobName",
        SortOrder="Ascending",
        MaxResults=100,
    )
    return [item["TrainingJob"]["TrainingJobName"] for item in answer["Results"]]


def names(*numbers: int) -> list[str]:
    return [f"job-{number}" for number in numbers]


def test_list_returns_newest_job_first(account: Account) -> None:
    assert listed(account) == names(6, 5, 4, 3, 2, 1, 0)


def test_list_pages_contain_all_jobs(account: Account) -> None:
    pages = list(
        account.sagemaker.get_paginator("list_training_jobs").paginate(
            SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 3}
        )
    )
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [3, 3, 1]
    shown = [item["TrainingJobName"] for page in pages for item in page["TrainingJobSummaries"]]
    assert shown == names(*range(COUNT))


def test_list_filters_by_name(account: Account) -> None:
    assert listed(account, NameContains="-4") == names(4)
    assert listed(account, NameContains="nothing") == []


def test_list_filters_the_page_by_status(account: Account) -> None:
    first = account.sagemaker.list_training_jobs(StatusEquals="Stopped", MaxResults=3)
    assert first["TrainingJobSummaries"] == []
    second = account.sagemaker.list_training_jobs(
        StatusEquals="Stopped", MaxResults=3, NextToken=first["NextToken"]
    )
    assert [item["TrainingJobName"] for item in second["TrainingJobSummaries"]] == names(3)


def test_list_filters_by_time(account: Account) -> None:
    middle = account.describe("job-3")["CreationTime"]
    assert listed(account, CreationTimeAfter=middle) == names(6, 5, 4)
    assert listed(account, CreationTimeBefore=middle) == names(2, 1, 0)
    assert listed(account, LastModifiedTimeAfter=account.describe("job-6")["LastModifiedTime"]) == names(3)


def test_list_sorts_by_status(account: Account) -> None:
    assert listed(account, SortBy="Status", SortOrder="Ascending")[-1] == "job-3"


def test_list_summary_has_secondary_status(account: Account) -> None:
    (item,) = account.sagemaker.list_training_jobs(NameContains="job-3")["TrainingJobSummaries"]
    assert (item["TrainingJobStatus"], item["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_invalid_token_is_rejected(account: Account) -> None:
    assert error_of(account.sagemaker.list_training_jobs, NextToken="AAA")[0] == "ValidationException"


@pytest.mark.parametrize("value", [5, {"a": 1}, ["job-1"]])
def test_token_of_another_sort_order_is_rejected(account: Account, value: Any) -> None:
    token = make_token(value)
    assert error_of(account.sagemaker.list_training_jobs, NextToken=token)[0] == "ValidationException"


def test_search_returns_all_jobs_without_filters(account: Account) -> None:
    assert found(account) == names(*range(COUNT))


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        (("TrainingJobStatus", "Equals", "Stopped"), [3]),
        (("TrainingJobStatus", "NotEquals", "Stopped"), [0, 1, 2, 4, 5, 6]),
        (("TrainingJobName", "In", "job-1,job-5"), [1, 5]),
        (("TrainingJobName", "Contains", "b-2"), [2]),
        (("Tags.team", "Equals", "red"), [1, 3, 5]),
        (("Tags.with.dot", "Equals", "yes"), [0, 1, 2, 3, 4, 5, 6]),
        (("HyperParameters.lr", "LessThan", "0.2"), [0, 1]),
        (("HyperParameters.opt.name", "Equals", "sgd"), []),
        (("HyperParameters.opt.name", "LessThan", "1"), []),
        (("Environment.NUMBER", "GreaterThanOrEqualTo", "5"), [5, 6]),
        (("ResourceConfig.InstanceCount", "Equals", "1"), [0, 1, 2, 3, 4, 5, 6]),
        (("FailureReason", "Exists"), []),
        (("FailureReason", "NotExists"), [0, 1, 2, 3, 4, 5, 6]),
        (("CreationTime", "LessThan", "2001-01-01T00:00:00Z"), []),
    ],
)
def test_search_filters(account: Account, rule: tuple[str, ...], numbers: list[int]) -> None:
    assert found(account, rule) == names(*numbers)


def test_search_combines_filters(account: Account) -> None:
    red, late = ("Tags.team", "Equals", "red"), ("HyperParameters.lr", "GreaterThan", "0.4")
    assert found(account, red, late) == names(5)
    assert found(account, red, late, Operator="Or") == names(1, 3, 5, 6)


def test_search_supports_nested_expressions(account: Account) -> None:
    stopped = {"Filters": [{"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "Stopped"}]}
    assert found(account, ("Tags.team", "Equals", "red"), SubExpressions=[stopped]) == names(3)


def test_search_pages_contain_all_jobs(account: Account) -> None:
    pages = account.sagemaker.get_paginator("search").paginate(
        Resource="TrainingJob", PaginationConfig={"PageSize": 3}
    )
    shown = [item["TrainingJob"]["TrainingJobName"] for page in pages for item in page["Results"]]
    assert shown == names(6, 5, 4, 3, 2, 1, 0)


def test_search_returns_tags_and_environment(account: Account) -> None:
    answer = account.sagemaker.search(Resource="TrainingJob", MaxResults=1)
    job = answer["Results"][0]["TrainingJob"]
    assert {"Key": "team", "Value": "blue"} in job["Tags"]
    assert job["Environment"] == {"NUMBER": "6"}


def test_filter_with_incomparable_value_is_rejected(account: Account) -> None:
    rule = {"Name": "CreationTime", "Operator": "LessThan", "Value": "tomorrow"}
    code, _ = error_of(account.sagemaker.search, Resource="TrainingJob", SearchExpression={"Filters": [rule]})
    assert code == "ValidationException"


def test_jobs_of_another_region_are_not_listed(account: Account) -> None:
    assert account.client("sagemaker", region_name="eu-west-1").list_training_jobs()["TrainingJobSummaries"] == []


def test_jobs_of_another_region_are_not_described(account: Account) -> None:
    other = account.client("sagemaker", region_name="eu-west-1")
    assert error_of(other.describe_training_job, TrainingJobName="job-1")[0] == "ValidationException"


@pytest.mark.parametrize(
    "expression",
    [
        {"Filters": [{"Name": "JobName", "Value": "job-1"}]},
        {"NestedFilters": [{"NestedPropertyName": "Inputs", "Filters": [{"Name": "Inputs.ChannelName"}]}]},
        {"SubExpressions": [{"Filters": [{"Name": "Tag.team", "Value": "red"}]}]},
    ],
)
def test_search_by_unknown_property_is_rejected(account: Account, expression: Any) -> None:
    code, words = error_of(account.sagemaker.search, Resource="TrainingJob", SearchExpression=expression)
    assert (code, words.partition(":")[0]) == ("ValidationException", "Unknown property name")


def test_new_job_is_listed_after_a_delay(account: Account) -> None:
    account.emulator.faults.set({"visible_after_s": 3600})
    try:
        assert listed(account) == found(account) == []
        assert account.describe("job-0")["TrainingJobName"] == "job-0"
    finally:
        account.emulator.faults.set({"visible_after_s": 0})
