"""Format of a W&B API key."""

from __future__ import annotations

import pytest

from smsweep.secrets.redact import WANDB_KEY_FORM


@pytest.mark.parametrize("value", ["<my key>", "0123456789" * 3, f"local-{'k' * 39}", f"{'k' * 20} {'k' * 20}"])
def test_invalid_wandb_key_is_rejected(value: str) -> None:
    assert not WANDB_KEY_FORM.fullmatch(value)


@pytest.mark.parametrize("value", ["k" * 40, f"wandb_v1_{'K' * 77}", f"local-{'k' * 40}", "head.body-1.sign_2"])
def test_valid_wandb_key_is_accepted(value: str) -> None:
    assert WANDB_KEY_FORM.fullmatch(value)
