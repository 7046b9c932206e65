"""What a sweep has used of money and machines, as a line of text."""

from __future__ import annotations

from typing import Any

from smsweep.cli.text import clean

Data = dict[str, Any]


def used(usage: Data) -> str:
    """Say what a sweep's jobs have used, of which budget, and what is set aside; "" where nobody counts."""
    budget, aside = usage["budget"], usage["set_aside"]
    if not budget and (not usage["jobs"] or usage["usd"] is None):
        return ""
    of_hours = f" of {budget['hours']:g}" if "hours" in budget else ""
    of_usd = f" of ${budget['usd']:g}" if "usd" in budget else ""
    cost = f", ${usage['usd'] or 0:.2f}{of_usd}" if usage["usd"] is not None or of_usd else ""
    parts = [f"${aside['usd']:.2f}"] if aside.get("usd") else []
    parts += [f"{aside['hours']:.2f} hours"] if aside.get("hours") else []
    kept = f"; {' and '.join(parts)} set aside for running trials" if parts else ""
    return f"{usage['jobs']} jobs, {usage['hours']:.2f}{of_hours} instance hours{cost}{kept}"


def capped(usage: Data) -> str:
    """Say how many trials the budget allows; "" where it does not."""
    cap = usage["budget"].get("trials")
    return "" if cap is None else f"; at most {cap:g} by the budget"


def priced(price: Data | None) -> str:
    """Say what AWS's list has told, and when."""
    if price is None:
        return ""
    each = ", ".join(f"{clean(name)} ${usd:g}" for name, usd in price["by_type"].items())
    return f"{each} an hour, by AWS's price list of {price['asked_at'][:10]}"
