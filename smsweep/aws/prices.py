"""The prices of instances, from AWS's price list, and their quotas, from Service Quotas."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from smsweep.aws.client import Aws
from smsweep.aws.image_uris import machines
from smsweep.aws.options import emulator_url
from smsweep.core.job import AccountFacts, JobTemplate, Price
from smsweep.errors import JobRejected, NotFound, SmsweepError

SERVICE = "AmazonSageMaker"
PART = "train"  # in the attributes of a price for training; for other purposes the instance has other prices
HOUR = "Hrs"
QUOTAS = "sagemaker"  # the service's code in Service Quotas
PAGE = 100  # limit of the API


def ask_price(template: JobTemplate, environ: Mapping[str, str]) -> Price:
    """Return the on-demand price of each instance type of a template, in dollars per hour.

    The price of a spot job's billable second is the same, but the job has fewer billable seconds.

    Raises:
        NotFound: If the list has no price in dollars.
        JobError: If AWS does not return the list.
    """
    aws = Aws(environ)
    try:
        prices = {name: _per_hour(aws, name) for name in dict.fromkeys(machines(template.request))}
    finally:
        aws.close()
    if not prices:
        raise NotFound("the job has no instance_type, so it has no price")
    return Price(per_hour=max(prices.values()), by_type=prices)


def _per_hour(aws: Aws, instance_type: str) -> float:
    prices = set(_prices(aws, instance_type))
    if not prices:
        raise NotFound(
            f"AWS's price list has no price in dollars for training on {instance_type} in {aws.region}; "
            "give price_per_hour: DOLLARS in job.yaml"
        )
    return max(prices)  # the highest, so that a bill cannot exceed it


def _prices(aws: Aws, instance_type: str) -> Iterator[float]:
    wanted = {"regionCode": aws.region, "instanceName": instance_type}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    answer = aws.translated("pricing", "get_products", ServiceCode=SERVICE, Filters=filters, MaxResults=100)
    for text in answer["PriceList"]:
        product = json.loads(text)
        attributes = product["product"]["attributes"]
        message = " ".join(attributes.get(name, "") for name in ("component", "platoinstancetype", "usagetype"))
        if PART not in message.lower():
            continue
        for offer in product["terms"].get("OnDemand", {}).values():
            for dimension in offer["priceDimensions"].values():
                if dimension["unit"] == HOUR and "USD" in dimension["pricePerUnit"]:
                    yield float(dimension["pricePerUnit"]["USD"])


def ask_account(template: JobTemplate, environ: Mapping[str, str]) -> AccountFacts:
    """Return the region, the account of the credentials, and the quota of the template's instances."""
    unknown: dict[str, str] = {}
    account, quota = "", None
    with closing(Aws(environ)) as aws:
        try:
            aws.check()
            account = str(aws.translated("sts", "get_caller_identity")["Account"])
        except SmsweepError as err:
            unknown = {"account": str(err), "quota": "the account is unknown"}
        else:
            names = training_quotas(template.request)
            try:
                quota = min(ask_quotas(aws, names).values(), default=None)
            except SmsweepError as err:
                unknown["quota"] = str(err)
            else:
                if quota is None:
                    unknown["quota"] = f"Service Quotas does not list {' or '.join(names) or 'the instances'}"
        return AccountFacts(
            region=aws.region, endpoint=emulator_url(environ), account=account, quota=quota, unknown=unknown
        )


def training_quotas(request: Mapping[str, Any]) -> list[str]:
    """Return the names of the quotas that limit the instances of a request, one for each instance type."""
    kind = "spot training job" if request.get("EnableManagedSpotTraining") else "training job"
    return [f"{name} for {kind} usage" for name in dict.fromkeys(machines(request))]


def warm_pool_quotas(request: Mapping[str, Any]) -> list[str]:
    """Return the names of the quotas that limit the warm pools of a request; [] without warm pools."""
    keeps = request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds")
    return [f"{name} for training warm pool usage" for name in dict.fromkeys(machines(request))] if keeps else []


def ask_quotas(aws: Aws, names: Collection[str]) -> dict[str, float]:
    """Return the values of quotas by name, without those that AWS does not list. Raises JobError.

    A quota that was never changed is only in the list of default values.
    """
    values: dict[str, float] = {}
    for page in (_quotas(aws, "list_service_quotas"), _quotas(aws, "list_aws_default_service_quotas")):
        for name, value in page:
            if name in names:
                values.setdefault(name, value)
            if len(values) == len(names):
                return values
    return values


def _quotas(aws: Aws, operation: str) -> Iterator[tuple[str, float]]:
    token = ""  # of a page # nosec B105
    while True:
        more = {"NextToken": token} if token else {}
        try:
            answer = aws.translated("service-quotas", operation, ServiceCode=QUOTAS, MaxResults=PAGE, **more)
        except JobRejected:  # the region has no such list
            return
        for quota in answer.get("Quotas", ()):
            yield quota["QuotaName"], quota["Value"]
        token = answer.get("NextToken", "")
        if not token:
            return
