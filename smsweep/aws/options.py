"""Settings of the calls to AWS, from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from smsweep.errors import UsageError

EVENTS_QUEUE = "SMSWEEP_SAGEMAKER_EVENTS"
# Calls per second, well below the limits of AWS: CreateTrainingJob 1/s (quota L-21A1652A), ListTrainingJobs 2/s
# and FilterLogEvents 5/s (neither adjustable). AWS documents no limits for the others.
DEFAULT_RATES: Mapping[str, float] = {
    "CreateTrainingJob": 1.0,
    "ListTrainingJobs": 1.0,
    "DescribeTrainingJob": 4.0,
    "StopTrainingJob": 2.0,
    "FilterLogEvents": 4.0,
    "ReceiveMessage": 1.0,
}
SHORT = {name.removesuffix("TrainingJobs").removesuffix("TrainingJob").lower(): name for name in DEFAULT_RATES}
SHORT["logs"] = SHORT.pop("filterlogevents")
SHORT["events"] = SHORT.pop("receivemessage")


@dataclass(frozen=True, kw_only=True, slots=True)
class SageMakerOptions:
    """Settings of the SageMaker backend. A comment names the environment variable of each."""

    poll_s: float = 5.0  # SMSWEEP_SAGEMAKER_POLL_S: seconds between two polls of all jobs, and of their logs
    log_lag_s: float = 30.0  # SMSWEEP_SAGEMAKER_LOG_LAG_S: the longest delay of a job's last lines in CloudWatch
    rates: Mapping[str, float] = field(default_factory=lambda: DEFAULT_RATES)
    # SMSWEEP_SAGEMAKER_RATES: calls per second, such as create=2,list=1,describe=4,stop=2,logs=4
    events_queue: str = ""  # SMSWEEP_SAGEMAKER_EVENTS: URL of an SQS queue that receives the state changes of jobs

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> SageMakerOptions:
        """Read the settings. Raises UsageError for an invalid value; the message names the variable."""
        options = cls(rates={**DEFAULT_RATES, **_rates(environ)}, events_queue=environ.get(EVENTS_QUEUE, ""))
        for name in ("poll_s", "log_lag_s"):
            variable = f"SMSWEEP_SAGEMAKER_{name.upper()}"
            if environ.get(variable):
                options = replace(options, **{name: _number(variable, environ[variable], least=0)})  # type: ignore[arg-type]  # both are floats
        return options


def endpoint_url(service: str, environ: Mapping[str, str]) -> str:
    """Return the URL that replaces a service's endpoint: `AWS_ENDPOINT_URL_SERVICE`, `AWS_ENDPOINT_URL`, or ""."""
    name = service.upper().replace("-", "_")
    return environ.get(f"AWS_ENDPOINT_URL_{name}") or environ.get("AWS_ENDPOINT_URL") or ""


def emulator_url(environ: Mapping[str, str]) -> str:
    """Return the endpoint of SageMaker if jobs start on this machine, where they cost nothing; else ""."""
    urls = [endpoint_url(service, environ) for service in ("sagemaker", "batch")]  # each of them starts jobs
    return urls[0] if all(map(_is_loopback, urls)) else ""


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # not a URL, or the name of a host
        return False


def _rates(environ: Mapping[str, str]) -> dict[str, float]:
    variable = "SMSWEEP_SAGEMAKER_RATES"
    rates = {}
    for item in filter(None, environ.get(variable, "").split(",")):
        name, _, text = item.partition("=")
        if name.strip() not in SHORT:
            raise UsageError(f"{variable}: {item!r}; expected NAME=NUMBER with {', '.join(sorted(SHORT))}")
        rates[SHORT[name.strip()]] = _number(variable, text, least=0.01)
    return rates


def _number(variable: str, text: str, *, least: float) -> float:
    try:
        number = float(text)
    except ValueError as err:
        raise UsageError(f"{variable}: expected a number, got {text!r}") from err
    if not least <= number < float("inf"):
        raise UsageError(f"{variable}: expected a number of at least {least:g}, got {text!r}")
    return number
