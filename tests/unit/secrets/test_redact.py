import json
import random
import string
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.secrets.redact import (
    environment_secrets,
    make_redact,
    mask_named,
    names_secret,
    redact,
    redact_assigned,
)

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


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:***@host/x",
        "https://me:***@localhost:80",
        "mysql://root:***@127.0.0.1",
        "https://***@git.corp/x",
        "redis://:***@cache",
    ],
)
def test_login_in_a_url_is_masked_in_output(text: str) -> None:
    for secret in ("x8Fj29sKd0qLmZ72hQwe", *([] if "//***" in text else ["pw", "password", "aaaa"])):
        assert redact(text.replace("***", secret)) == text
    assert redact("ssh://git@github.com:22 http://a:80/x@y file:///a:b s3://b/k:v") == (
        "ssh://git@github.com:22 http://a:80/x@y file:///a:b s3://b/k:v"
    )


def test_all_passwords_of_netrc_are_masked(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(
        "machine db.corp login me password " + "ntr-Vc81-kLw\nmachine ftp.corp login anonymous password guest\n"
    )
    masked = make_redact({"HOME": str(tmp_path)})
    assert masked("as guest with ntr-Vc81-kLw") == "as guest with ***"
    (tmp_path / ".netrc").write_text("machine")
    assert make_redact({"HOME": str(tmp_path)})("x") == "x"


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("api_token", "tok-Xk3v-QpL", True),
        ("--hf-token", "abc12345", True),
        ("parameters.client_secret.values", "sec-A1b2", True),
        ("db_password", "hunter", True),
        ("max_tokens", "51200000", False),
        ("tokenizer", "bert-base-2", False),
        ("token_pooling", "last_hidden", False),
        ("pad_token", "<pad_token_0>", False),
        ("password", "${DB_PASSWORD}", False),
        ("lr", "tok-Xk3v-QpL", False),
    ],
)
def test_value_is_a_secret_by_its_name(name: str, value: str, is_secret: bool) -> None:
    assert names_secret(name, value) == is_secret
    found: set[str] = set()
    for data in ({name: value}, {name: {"values": [value]}}, [{"name": name, "a": value}]):
        assert (mask_named(data, found) == data) != is_secret
    assert found == ({value} if is_secret and len(value) >= 8 else set())
    if len(value) >= 8:
        assert (
            redact_assigned(f'run "{name}={value}" {name}: {value}') == f'run "{name}=***" {name}: ***'
        ) == is_secret


def test_code_and_counts_are_not_masked_by_name() -> None:
    for text in (
        'token = os.environ["X"]',
        "tokens=12345678 max_tokens: 512",
        "num_tokens = compute_tokens(batch)",
    ):
        assert redact_assigned(text) == text


def test_hostile_megabyte_is_masked_by_name_in_two_seconds() -> None:
    for piece in ("token", "secret=", "token.", "password: ", "a-", "tok"):
        text = piece * (2**20 // len(piece))
        started = time.process_time()
        redact_assigned(text)
        assert time.process_time() - started < 2


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
        "://a:",
        "://a",
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
