"""Tests that a job's output contains none of its secrets, for any chunk size."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from smsweep.runtime.job.output_pump import Masker
from smsweep.runtime.job.secrets import known_secrets

texts = st.text("abc1.", max_size=12)
secret_texts = st.text("abc1.", min_size=8, max_size=12)


def masked(secrets: list[str], *chunks: bytes) -> bytes:
    masker = Masker(secrets)
    return b"".join([*map(masker.mask, chunks), masker.rest()])


def test_output_without_secrets_is_not_held_back() -> None:
    assert Masker().mask(b"loss=1") == b"loss=1"


def test_only_possible_start_of_a_secret_is_held_back() -> None:
    masker = Masker(["s3cr3t-w0rd"])
    assert [masker.mask(b"a s3c"), masker.mask(b"r3"), masker.mask(b"mony"), masker.rest()] == [
        b"a ",
        b"",
        b"s3cr3mony",
        b"",
    ]


def test_secret_in_json_notation_is_masked() -> None:
    assert masked(['pass"w\u00f6rd'], json.dumps({"x": 'pass"w\u00f6rd'}).encode()) == b'{"x": "***"}'


def test_secret_is_masked_stripped_and_line_by_line() -> None:
    assert masked(["s3cr3t-w0rd\n"], b"key s3cr3t-w0rd.") == b"key ***."
    assert masked(["first-line\nsecond-line\n"], b"1 first-line\n2 second-line\n") == b"1 ***\n2 ***\n"
    assert masked(["first-line\nof"], b"a list of first-line") == b"a list of ***"


def test_numeric_secret_is_not_masked_inside_a_metric() -> None:
    assert masked(["20261124"], b'pin 20261124 {"loss": 0.20261124}') == b'pin *** {"loss": 0.20261124}'


@given(
    secret=secret_texts.filter(lambda text: text.strip("1.") != ""),
    parts=st.lists(texts, max_size=4),
    cuts=st.lists(st.integers(0, 60)),
)
def test_secrets_are_masked_for_any_chunk_size(secret: str, parts: list[str], cuts: list[int]) -> None:
    stream = f"<{secret}>".join(["", *parts, ""]).encode()
    places = [0, *sorted(cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert secret.encode() not in masked([secret], *chunks)


def test_known_secrets_are_those_of_the_request_and_the_wandb_key() -> None:
    before = {"SMSWEEP_SECRET_DB": "arn:x", "WANDB_API_KEY": "k" * 40, "PATH": "/bin", "DB": ""}
    assert known_secrets(before, {**before, "DB": "fetched"}) == ["fetched", "k" * 40]
