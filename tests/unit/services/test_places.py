from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.errors import ConfigError, UsageError
from smsweep.services.places import ChosenPlace, check_budgets, choose_places, source_backend
from smsweep.services.sweeps.load import load_job
from smsweep.services.workspace import Workspace

CLOUD: dict[str, Any] = {
    "backend": "sagemaker",
    "name": "cloud",
    "slots": 16,
    "instance_type": ["ml.g5.xlarge", "ml.g4dn.xlarge"],
    "region": ["eu-west-1", "us-east-1"],
}


def choose(job: dict[str, Any] | None = None, *on: str, **options: Any) -> list[ChosenPlace]:
    return choose_places(parse_job(job or {}).template, Workspace({}), on=on, **options)


def test_one_backend_is_one_place_without_a_name() -> None:
    (place,) = choose(parallel=4)
    assert (place.name, place.backend, place.slots) == ("", "process", 4)


def test_options_name_backends_and_slots() -> None:
    places = choose({}, "local:2", "docker", "slurm:8", parallel=3)
    assert [(place.name, place.backend, place.slots) for place in places] == [
        ("local", "process", 2),
        ("docker", "docker", 3),
        ("slurm", "slurm", 8),
    ]


@pytest.mark.parametrize("key", ["output_path", "inputs"])
@pytest.mark.parametrize("is_of_place", [True, False])
def test_several_regions_cannot_share_a_bucket(key: str, *, is_of_place: bool) -> None:
    bucket = (
        {"output_path": "s3://mine/out"} if key == "output_path" else {"inputs": {"training": "s3://mine/data"}}
    )
    job = {"places": [{**CLOUD, **bucket}]} if is_of_place else {"places": [CLOUD], **bucket}
    with pytest.raises(ConfigError, match=r"s3://mine/.* is in one region, .* write one place per region"):
        choose(job)
    one = {**CLOUD, "region": "eu-west-1"}
    assert choose({"places": [{**one, **bucket}]} if is_of_place else {"places": [one], **bucket})


def test_on_demand_place_beside_spot_uses_no_spot() -> None:
    job = {"use_spot_instances": True, "max_wait": 90_000}
    spot, on_demand = choose(job, "sagemaker:spot:16", "sagemaker:4")
    assert spot.template.request["EnableManagedSpotTraining"] is True
    assert on_demand.template.request["EnableManagedSpotTraining"] is False
    assert "StoppingCondition" not in on_demand.template.request


def test_places_in_job_yaml_are_used_in_their_order() -> None:
    job = {"places": ["local:2", CLOUD]}
    assert [place.name for place in choose(job)] == ["local", "cloud", "cloud/2", "cloud/3", "cloud/4"]
    assert [(place.name, place.slots) for place in choose(job, "cloud:3", "local")][::4] == [
        ("cloud", 3),
        ("local", 2),
    ]
    assert [place.backend for place in choose(job, backend="docker")] == ["docker"]


def test_alternatives_follow_spot_on_demand_types_and_regions() -> None:
    cloud = {**CLOUD, "use_spot_instances": True, "give_up_after": 600}
    found = [
        (
            place.workspace.environ["AWS_REGION"],
            place.template.request["ResourceConfig"]["InstanceType"],
            place.template.request["EnableManagedSpotTraining"],
        )
        for place in choose({"places": [cloud]})
    ]
    types = [(name, is_spot) for name in ("ml.g5.xlarge", "ml.g4dn.xlarge") for is_spot in (True, False)]
    assert found == [(region, *each) for region in ("eu-west-1", "us-east-1") for each in types]
    assert {place.group for place in choose({"places": [cloud]})} == {"cloud"}


def test_place_replaces_keys_of_the_job() -> None:
    job = {
        "environment": {"A": 1},
        "image_uri": "base",
        "places": [{"backend": "docker", "image_uri": "own"}, "local"],
    }
    docker, local = choose(job)
    assert docker.template.request["AlgorithmSpecification"]["TrainingImage"] == "own"
    assert docker.template.request["Environment"] == {"A": "1"}
    assert local.template.request["AlgorithmSpecification"]["TrainingImage"] == "base"


@pytest.mark.parametrize(
    ("job", "local_price"),
    [
        ({}, None),
        ({"price_per_hour": 2.0}, 0.0),
        ({"budget": {"usd": 5}}, 0.0),
        ({"places": [{"backend": "process", "name": "local", "price_per_hour": 0.5}]}, 0.5),
    ],
)
def test_local_place_is_free_unless_it_has_a_price(job: dict[str, Any], local_price: float | None) -> None:
    (place,) = choose(job, "local")
    assert (place.template.price and place.template.price.per_hour) == local_price


def test_source_is_sent_if_any_place_is_remote() -> None:
    template = parse_job({"places": ["local", "docker"]}).template
    assert source_backend(template, Workspace({})) == "docker"
    assert source_backend(template, Workspace({}), on=["local"]) == "process"
    assert source_backend(template, Workspace({}), backend="process") == "process"


@pytest.mark.parametrize(
    ("job", "on", "options", "message"),
    [
        ({}, ["local"], {"backend": "docker"}, "--on: cannot be combined with --backend docker"),
        ({"in_place": True}, ["local", "docker"], {}, "in_place: only processes .* docker runs a copy"),
        ({}, ["local", "local:3"], {}, "--on local: given twice"),
        ({}, [":3"], {}, "--on: ':3' is not a valid place; write"),
    ],
)
def test_wrong_combination_is_refused(
    job: dict[str, Any], on: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        choose(job, *on, **options)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], "places: expected at least 1 item, got 0"),
        ("local", r"places: expected a list, got 'local'; write \[local\]"),
        ([{"name": "a"}], r"places\[0\].backend: missing; such as process"),
        ([{"backend": "docker", "budget": {"usd": 1}}], r"places\[0\].budget: belongs to the whole sweep"),
        ([{"backend": "docker", "maxrun": 3}], r"places\[0\].maxrun: unknown key; did you mean max_run\?"),
        ([{"backend": "docker", "slot": 3}], r"places\[0\].slot: unknown key; did you mean slots\?"),
        ([{"backend": "docker", "name": "gpu:2"}], r"places\[0\].name: --on cannot select 'gpu:2'"),
        (["local", "local"], r"places\[1\]: local exists already"),
        (["local:x"], r"places\[0\]: 'local:x' is not a valid place"),
        ([{"backend": "docker", "name": "a/b"}], r"places\[0\].name: must not contain a slash"),
        (
            [{"backend": "sagemaker", "instance_type": ["ml.m5.large", "m5.large"]}],
            r"places\[0\].instance_type: expected a type such as ml.m5.xlarge, got 'm5.large'; did you mean ml",
        ),
    ],
)
def test_invalid_place_in_job_yaml_is_refused(places: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_job({"places": places})


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("loca:2", "there is no backend loca; use one of batch, docker, local"),
        ("{backend: process, name: a, slots: 2}\n  - {backend: cloud}", "there is no backend cloud; use one of"),
        ("local:spot:2", "local has no spot or on-demand capacity; write local"),
    ],
)
def test_place_with_an_invalid_backend_is_refused_with_its_line(place: str, message: str, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"max_run: 60\nplaces:\n  - {place}\n")
    index = place.count("\n")
    with pytest.raises(ConfigError, match=rf"job.yaml:{3 + index}: places\[{index}\]: {message}"):
        load_job(job)


def test_place_can_name_the_backend_local() -> None:
    named, unnamed = choose({"places": [{"backend": "local", "name": "desk", "slots": 2}, {"backend": "local"}]})
    assert (named.name, named.backend, named.slots) == ("desk", "process", 2)
    assert (unnamed.name, unnamed.backend) == ("local", "process")
    parsed = parse_job({"places": [{"backend": "local"}]})
    assert parse_job(parsed.text).template == parsed.template


def test_spot_capacity_of_this_machine_is_refused() -> None:
    with pytest.raises(
        UsageError, match="--on docker:spot: docker has no spot or on-demand capacity; write docker"
    ):
        choose({}, "docker:spot:2")


def test_unknown_backend_of_a_place_is_named() -> None:
    with pytest.raises(UsageError, match=r"places: loca: there is no backend loca; use one of batch, docker"):
        choose({"places": ["loca:2"]})


LIMITED = {"budget": {"usd": 5}, "max_run": 3600}
DESK = {"backend": "process", "name": "desk"}


def test_budget_in_dollars_needs_prices_only_at_its_places() -> None:
    check_budgets(parse_job({**LIMITED, "places": [{**DESK, "price_per_hour": 1}, "local", "docker"]}).template)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["local", "sagemaker"], "place sagemaker: budget.usd: needs price_per_hour"),
        ([{**DESK, "price_per_hour": 9}], r"place desk: budget: \$5 do not cover one trial, which may take \$9"),
        (
            [{**DESK, "price_per_hour": "aws"}],
            "AWS has no price for backend process; write dollars",
        ),
    ],
)
def test_place_without_a_usable_price_is_refused(places: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_budgets(parse_job({**LIMITED, "places": places}).template)


def test_stored_places_are_read_as_written() -> None:
    parsed = parse_job({"places": ["local:2", CLOUD], "sbatch": {"partition": "gpu"}})
    assert parse_job(parsed.text).template == parsed.template
