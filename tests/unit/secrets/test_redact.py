import json
import random
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.secrets.redact import environment_secrets, redact

RNG = random.Random(7)
TOKEN = "".join(RNG.choices(string.ascii_letters + string.digits, k=34))


def test_only_variables_with_secret_names_are_masked() -> None:
    environ = {
        "WANDB_API_KEY": "a" * 20 + TOKEN,
        "HF_TOKEN": TOKEN,
        "AWS_SECRET_ACCESS_KEY": TOKEN[:20],
        "AWS_ACCESS_KEY_ID": TOKEN[5:25],
        "DB_PASSWORD": TOKEN[:12],
        "PWD": "/home/someone/project",
        "TOKENIZERS_PARALLELISM": "false-or-true",
        "KEYBOARD_LAYOUT": "german-nodeadkeys",
        "SSH_AUTH_SOCK": "/tmp/ssh-agent.socket",
        "GIT_TOKEN": "short",
        "OTHER_KEY": "<your-key-here>",
        "SORT_KEY": "validation_loss",
    }
    assert environment_secrets(environ) == (
        "a" * 20 + TOKEN,
        TOKEN,
        *sorted([TOKEN[:20], TOKEN[5:25]]),
        TOKEN[:12],
    )


def test_password_in_a_url_is_masked() -> None:
    assert environment_secrets({"DATABASE": f"postgresql://me:{TOKEN[:10]}@db.corp/x"}) == (TOKEN[:10],)


def test_known_secret_can_be_short() -> None:
    assert environment_secrets({"A": "hunter2", "B": "abc"}, also=["hunter2", "abc"]) == ("hunter2",)


def test_numeric_secret_is_not_masked_inside_another_number() -> None:
    message = 'pin 20261124, loss 0.20261124, {"x": 20261124.5, "n": 120261124}'
    assert redact(message, ("20261124",)) == message.replace("pin 20261124", "pin ***")


def test_megabyte_of_log_is_masked_quickly() -> None:
    line = "step 12: loss=0.25 https://wandb.ai/me/p/runs/x 3f786850e387550fdab836ed7e6dc881de23001b hf_x sk-\n"
    text = line * (2**20 // len(line))
    started = time.process_time()
    assert redact(text, (TOKEN, f"{TOKEN}xyz")) == text
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "piece",
    [
        "-eyJ",
        "-eyJ.eyJ",
        "-eyJaaaaaaaaaaaa.eyJaaaaaaaaaaaaa",
        "-sk-ant-",
        "-xoxb-1234567890-",
        "-----BEGIN PRIVATE " + "KEY-----\n",
        "a: -----BEGIN PRIVATE " + "KEY-----\n",
        "Authorization: Bearer ",
        "://a:b",
        "?sig=%",
        "AKIA" + "2B7DEFGHIJ3KLMNO ",
        f"hf_{TOKEN} ",
        f"eyJ{TOKEN}.eyJ{TOKEN}.{TOKEN} ",
    ],
    ids=lambda piece: piece[:16],
)
def test_hostile_megabyte_of_log_is_masked_in_two_seconds(piece: str) -> None:
    text = piece * (2**20 // len(piece))
    started = time.process_time()
    redact(text, (f"{TOKEN}xyz",))
    assert time.process_time() - started < 2


def test_json_web_token_of_any_length_is_masked() -> None:
    for before in ("", "-", "token-", "x=", "é"):
        for length in (20, 12_000):
            token = ".".join("eyJ" + (TOKEN * length)[:length] for _ in range(3))
            assert redact(f"{before}{token} end") == f"{before}*** end"


def test_token_next_to_a_lone_surrogate_is_masked() -> None:
    assert redact(f"\ud800 eyJ{TOKEN}.eyJ{TOKEN}.{TOKEN}") == "\ud800 ***"


def test_secret_with_another_secret_as_prefix_is_masked() -> None:
    assert redact(f"a {TOKEN} b {TOKEN}xyz c", (TOKEN, f"{TOKEN}xyz")) == "a *** b *** c"


def test_values_with_the_form_of_a_secret_are_masked() -> None:
    assert redact(f"logged in with hf_{TOKEN}!") == "logged in with ***!"


def test_ordinary_log_line_is_not_changed() -> None:
    line = "epoch 3: loss=0.123 lr=1e-3 tokens/s=12345 commit 3f786850e387550fdab836ed7e6dc881de23001b"
    assert redact(line, ("another secret",)) == line


def test_masking_keeps_the_number_of_lines() -> None:
    pem = "-----BEGIN PRIVATE " + "KEY-----\n" + f"{TOKEN}{TOKEN}\n" * 3 + "-----END"
    masked = redact(f"a\n{pem}\nb")
    assert TOKEN not in masked
    assert masked.count("\n") == f"a\n{pem}\nb".count("\n")


@given(secret=st.text(min_size=8, max_size=30), before=st.text(max_size=20), after=st.text(max_size=20))
def test_known_secret_is_masked_in_all_notations(secret: str, before: str, after: str) -> None:
    for spelling in (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
    ):
        masked = redact(f"{before}<{spelling}>{after}", (secret,))
        assert f"<{spelling}>" not in masked
