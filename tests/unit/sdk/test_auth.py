"""What is taken for a key of W&B's before it goes into AWS."""

from __future__ import annotations

import pytest

from smsweep.errors import UsageError
from smsweep.sdk import auth


@pytest.mark.parametrize("value", ["<my key>", "0123456789" * 3, f"local-{'k' * 39}", f"{'k' * 20} {'k' * 20}"])
def test_what_wandb_would_not_take_as_its_key_is_not_stored(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WANDB_API_KEY", value)
    with pytest.raises(UsageError, match="WANDB_API_KEY: this is no key of W&B's, which has 40 or more") as caught:
        auth.auth()
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["k" * 40, f"wandb_v1_{'K' * 77}", f"local-{'k' * 40}", "head.body-1.sign_2"])
def test_what_wandb_takes_is_taken(value: str) -> None:
    assert auth.WANDB_KEY_FORM.fullmatch(value)
