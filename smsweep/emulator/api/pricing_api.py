"""GetProducts of AWS's price list, which moto does not play: here every machine costs a dollar an hour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PER_HOUR = "1.0000000000"
COMPONENTS = {"Training": PER_HOUR, "Hosting": "2.0000000000"}  # a client has to choose


def get_products(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for the machine that the filters name; nothing for another service, or without one."""
    named = {entry["Field"]: entry["Value"] for entry in request.get("Filters", ())}
    machine = named.get("instanceName", "")
    is_known = request.get("ServiceCode") == "AmazonSageMaker" and machine.startswith("ml.")
    products = [_product(machine, named, part, price) for part, price in COMPONENTS.items()] if is_known else []
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products]}


def _product(machine: str, named: Mapping[str, str], part: str, price: str) -> dict[str, Any]:
    attributes = {
        "regionCode": named.get("regionCode", ""),
        "instanceName": machine,
        "component": part,
        "instanceType": f"{machine}-{part}",
        "servicecode": "AmazonSageMaker",
    }
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}, "description": f"${price} per {machine} hour"}
    sku = f"{part}-{machine}"
    return {
        "product": {"productFamily": "ML Instance", "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {sku: {"priceDimensions": {sku: dimension}}}},
    }
