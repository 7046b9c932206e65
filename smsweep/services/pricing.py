"""The price of a sweep's machines, from AWS's own list where job.yaml says so; kept with the sweep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from smsweep.backends.registry import backend_spec
from smsweep.core.job import JobTemplate, Price
from smsweep.core.json_documents import PriceDocument
from smsweep.errors import ConfigError, SmsweepError
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)


def with_price(
    template: JobTemplate, backend: str, store: Store, sweep_id: str, environ: Mapping[str, str], now: datetime
) -> JobTemplate:
    """Return a template with the price of its machines, asked for where it wants that.

    Raises ConfigError where a budget of dollars could not be held without it.
    """
    if not template.asks_price:
        return template
    ask_price = backend_spec(backend).ask_price
    if ask_price is None:
        return replace(template, budget={name: cap for name, cap in template.budget.items() if name != "usd"})

    try:
        price = ask_price(template, environ)
    except SmsweepError as err:
        if "usd" in template.budget:
            raise ConfigError(
                f"budget.usd: no price to hold it by: {err}\ngive price_per_hour in dollars in job.yaml"
            ) from err
        log.warning("sweep %s: nobody knows what it costs: %s", sweep_id, err)
        return template
    notes.PRICE.put(store, sweep_id, price_data(price, now))
    return replace(template, price=price)


def known_price(template: JobTemplate, note: PriceDocument | None) -> JobTemplate:
    """Return a template with the last known price, if job.yaml asks for it."""
    if not template.asks_price or not note:
        return template
    return replace(template, price=Price(per_hour=note["per_hour"], by_type=note["by_type"]))


def price_data(price: Price, now: datetime) -> PriceDocument:
    return {"per_hour": price.per_hour, "by_type": dict(price.by_type), "asked_at": now.isoformat()}
