"""The prices of instances, from AWS's price list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from smsweep.aws.client import Aws
from smsweep.aws.image_uris import machines
from smsweep.core.job import JobTemplate, Price
from smsweep.errors import NotFound

SERVICE = "AmazonSageMaker"
PART = "train"  # in the attributes of a price for training; for other purposes the instance has other prices
HOUR = "Hrs"


def ask_price(template: JobTemplate, environ: Mapping[str, str]) -> Price:
    """Return the on-demand price of each instance type of a template, in dollars per hour.

    The price of a spot job's billable second is the same, but the job has fewer billable seconds.

    Raises:
        NotFound: If the list has no price in dollars.
        JobError: If AWS does not return the list.
    """
    aws = Aws(environ)
    try:
        found = {name: _per_hour(aws, name) for name in dict.fromkeys(machines(template.request))}
    finally:
        aws.close()
    if not found:
        raise NotFound("the job has no instance_type, so it has no price")
    return Price(per_hour=max(found.values()), by_type=found)


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
