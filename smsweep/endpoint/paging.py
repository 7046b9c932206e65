"""Pages, and tokens that say where the next one begins."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from smsweep.endpoint import api_error
from smsweep.endpoint.api_error import ApiError

T = TypeVar("T")


def make_token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def read_token(token: str | None) -> Any:
    """Return what make_token was given; None for no token. Raises ApiError for one that is not ours."""
    if not token:
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as err:
        raise _foreign() from err


def read_place(token: str | None) -> tuple[int, int]:
    """Return the two numbers that make_token was given; without a token what is before all. Raises ApiError."""
    place = read_token(token) or [-1, -1]
    if isinstance(place, list) and [type(part) for part in place] == [int, int]:
        return place[0], place[1]
    raise _foreign()


def _foreign() -> ApiError:
    return api_error.invalid("Invalid pagination token")


def page(
    items: Sequence[T], key: Callable[[T], tuple[Any, ...]], token: str | None, size: int, *, is_reverse: bool
) -> tuple[list[T], str | None]:
    """Sort items by key, a unique one, and return those behind the token, with a token if there are more.

    Raises ApiError for a token that is not ours, or that belongs to another order.
    """
    ordered = sorted(items, key=key, reverse=is_reverse)
    after = read_token(token)
    if after is not None:
        try:
            last = tuple(after)
            ordered = [item for item in ordered if (key(item) < last if is_reverse else key(item) > last)]
        except TypeError as err:
            raise _foreign() from err
    shown = ordered[:size]
    return shown, make_token(key(shown[-1])) if len(ordered) > size else None
