"""GetProducts of the AWS price list, which moto does not emulate. Each instance costs one dollar per hour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PER_HOUR = "1.0000000000"
COMPONENTS = {"Training": PER_HOUR, "Hosting": "2.0000000000"}  # two prices per instance, as in the real list


def get_products(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the products for the instance type in the filters; none for services other than SageMaker."""
    filters = {entry["Field"]: entry["Value"] for entry in request.get("Filters", ())}
    instance_type = filters.get("instanceName", "")
    is_known = request.get("ServiceCode") == "AmazonSageMaker" and instance_type.startswith("ml.")
    products = (
        [_product(instance_type, filters, part, price) for part, price in COMPONENTS.items()] if is_known else []
    )
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products]}


def _product(instance_type: str, filters: Mapping[str, str], part: str, price: str) -> dict[str, Any]:
    attributes = {
        "regionCode": filters.get("regionCode", ""),
        "instanceName": instance_type,
        "component": part,
        "instanceType": f"{instance_type}-{part}",
        "servicecode": "AmazonSageMaker",
    }
    dimension = {
        "unit": "Hrs",
        "pricePerUnit": {"USD": price},
        "description": f"${price} per {instance_type} hour",
    }
    sku = f"{part}-{instance_type}"
    return {
        "product": {"productFamily": "ML Instance", "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {sku: {"priceDimensions": {sku: dimension}}}},
    }
