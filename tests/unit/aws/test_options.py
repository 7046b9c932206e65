"""Settings of the calls to AWS."""

from __future__ import annotations

import pytest

from smsweep.aws.options import emulator_url

LOCAL, REMOTE = "http://127.0.0.1:8471", "https://api.sagemaker.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ""),
        ({"AWS_ENDPOINT_URL": LOCAL}, LOCAL),
        ({"AWS_ENDPOINT_URL": "http://localhost:1"}, "http://localhost:1"),
        ({"AWS_ENDPOINT_URL": "http://[::1]:1"}, "http://[::1]:1"),
        ({"AWS_ENDPOINT_URL": "http://localhost.example.com:1"}, ""),
        ({"AWS_ENDPOINT_URL": "127.0.0.1"}, ""),
        ({"AWS_ENDPOINT_URL": REMOTE}, ""),
        ({"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_SAGEMAKER": REMOTE}, ""),
        ({"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_BATCH": REMOTE}, ""),
        ({"AWS_ENDPOINT_URL_S3": LOCAL}, ""),
    ],
)
def test_emulator_is_recognized_by_the_endpoints_that_start_jobs(environ: dict[str, str], expected: str) -> None:
    assert emulator_url(environ) == expected
