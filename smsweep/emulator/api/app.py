"""WSGI application of the emulator. Training jobs and faults are its own; moto handles all other calls.

It also answers the calls of IAM about a job's role (each role exists and has all permissions), which SageMaker
SDK 3.x makes before it starts a job, GetProducts of the AWS price list (each instance costs one dollar per hour),
and the lists of Service Quotas (the fault `quota`). Routes below /_smsweep/ inject faults and show the call log;
they need the token.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.loaders import Loader
from werkzeug.wrappers import Request, Response

from smsweep.emulator import api_error
from smsweep.emulator.api import paging, protocol, validation
from smsweep.emulator.api.access import Access
from smsweep.emulator.api.batch_api import PATHS, ServiceJobs
from smsweep.emulator.api.documents import GET_METRICS, get_metrics
from smsweep.emulator.api.protocol import Call, refusal
from smsweep.emulator.api.signatures import read_signature
from smsweep.emulator.api.training_jobs import SageMakerApi, subject
from smsweep.emulator.api_error import ACCOUNT, FORBIDDEN, ApiError, job_arn
from smsweep.emulator.faults import CallLog, FaultInjector
from smsweep.emulator.jobs.moto_services import LOOPBACK, MotoServices, filter_log_events

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl
from xml.etree import ElementTree  # writes XML only # nosec B405

from smsweep.errors import UsageError
from smsweep.util.local_requests import is_same_secret

log = logging.getLogger(__name__)

# moto responds with a key that is the same on all machines. The emulator must not accept that key.
FIXED_KEYS = ("GetSessionToken", "GetFederationToken")
ADDRESS = re.compile(r"[\d.]+(:\d+)?")  # IPv4 address, with or without a port
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
ACTION_NAMES = "ActionNames.member."
PER_HOUR = "1.0000000000"
COMPONENTS = {"Training": PER_HOUR, "Hosting": "2.0000000000"}  # two prices per instance, as in the real list
BUCKET_OWNER = "x-amz-expected-bucket-owner"  # header of S3: the account that must own the bucket
QUOTA_GETS = ("GetServiceQuota", "GetAWSDefaultServiceQuota")
QUOTA_LISTS = ("ListServiceQuotas", "ListAWSDefaultServiceQuotas")
MARKETS = ("training job", "spot training job", "training warm pool")  # of one instance type, with a quota each
PUT_METRICS = "/BatchPutMetrics"  # of SageMaker Metrics; moto keeps the values
PREFIX = "/_smsweep/"
TOKEN_HEADER = "X-Smsweep-Token"  # noqa: S105 - the header's name # nosec B105


class Admin:
    """Handles requests below /_smsweep/.

    Args:
        faults: Faults that the user can change.
        ledger: The call log.
        token: Secret that requests send in the header TOKEN_HEADER.
    """

    def __init__(self, faults: FaultInjector, ledger: CallLog, token: str) -> None:
        self._faults = faults
        self._ledger = ledger
        self._token = token

    def serves(self, request: Request) -> bool:
        """Return True if the path is below PREFIX."""
        return request.path.startswith(PREFIX)

    def answer(self, request: Request) -> Response:
        """Return the response to a request, as JSON."""
        if not is_same_secret(request.headers.get(TOKEN_HEADER, ""), self._token):
            return _json(
                {"error": f"wrong token; send the token that the emulator printed in the header {TOKEN_HEADER}"},
                403,
            )
        route = (request.method, request.path.removeprefix(PREFIX))
        if route == ("GET", "ledger"):
            return _json(self._ledger.read())
        if route == ("DELETE", "faults"):
            self._faults.clear()
        elif route == ("POST", "faults"):
            try:
                self._faults.set(_mapping(request.get_data()))
            except (ValueError, RecursionError, UsageError) as err:
                return _json({"error": str(err)}, 400)
        elif route != ("GET", "faults"):
            return _json(
                {"error": f"unknown route; use {PREFIX}faults (GET, POST, DELETE) or {PREFIX}ledger (GET)"}, 404
            )
        return _json(self._faults.now.model_dump())


def _mapping(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a request body. Raises ValueError, RecursionError or UsageError."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise UsageError('faults: expected a mapping such as {"quota": 3}')
    return document


def _json(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status=status, content_type="application/json")


class App:
    """The WSGI application.

    Args:
        access: Decides which requests are accepted.
        internal_key: Access key id of the emulator's own calls to its S3.
        api: Handles calls about training jobs.
        service_jobs: Handles calls of AWS Batch.
        moto_services: Access to the logs and roles that moto keeps.
        admin: Handles requests below /_smsweep/.
        faults: Faults that hit calls.
        ledger: The call log.
        moto: Handles all other calls.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        access: Access,
        internal_key: str,
        api: SageMakerApi,
        service_jobs: ServiceJobs,
        moto_services: MotoServices,
        admin: Admin,
        faults: FaultInjector,
        ledger: CallLog,
        moto: WSGIApplication,
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._internal_key = internal_key
        self._api = api
        self._service_jobs = service_jobs
        self._moto_services = moto_services
        self._admin = admin
        self._faults = faults
        self._ledger = ledger
        self._moto = moto
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        signature = read_signature(request)
        call = protocol.read_call(request, signature)
        try:
            self._access.check_source(request)
            if self._admin.serves(request):  # these routes check the token instead of a signature
                return self._admin.answer(request)(environ, start_response)
            self._access.check_key(request, signature)
        except ApiError as err:
            return refusal(call, err)(environ, start_response)
        if ADDRESS.fullmatch(environ["HTTP_HOST"]):
            environ["HTTP_HOST"] = LOOPBACK  # moto takes any other address for the name of a bucket
        if call.service == "batch" and request.path in PATHS:
            call = replace(call, action=PATHS[request.path])
        if call.service == "sagemaker" and request.path == f"/{GET_METRICS}":  # of the service SageMaker Metrics
            call = replace(call, action=GET_METRICS)
        if call.caller == self._internal_key:
            return self._moto(environ, start_response)
        time.sleep(self._faults.now.latency_of(call.action))
        if call.action or (call.service == "sagemaker" and request.path == "/"):
            return self._json(call, request)(environ, start_response)
        entry = self._entry(call, action=f"{request.method} {request.path}")
        # Calls to endpoints and feature stores have their own paths. moto invents the predictions of endpoints.
        if call.service == "sagemaker" and request.path != PUT_METRICS:
            return self._not_served(replace(call, action=entry["action"]), entry)(environ, start_response)
        if call.service == "sts" and request.values.get("Action") in FIXED_KEYS:
            return self._not_served(replace(call, action=request.values["Action"]), entry)(environ, start_response)
        if (
            call.service == "s3" and request.headers.get(BUCKET_OWNER, ACCOUNT) != ACCOUNT
        ):  # moto ignores the owner
            self._write(entry, FORBIDDEN, code="AccessDenied")
            return refusal(call, ApiError("AccessDenied", "Access Denied", FORBIDDEN))(environ, start_response)
        if call.service == "iam":
            response = answer_iam(request, self._moto_services)
            if response is not None:
                self._write(entry, 200)
                return response(environ, start_response)
        return self._pass_on(call, entry, environ, start_response)

    def _json(self, call: Call, request: Request) -> WSGIApplication:
        """Return the response to a call whose action is known, or pass the call to moto."""
        body: dict[str, Any] = {}
        try:
            body = protocol.read_body(request)
            self._let_fail(call, body)
            response = self._own_answer(call, body)
        except ApiError as err:
            self._write(self._entry(call, subject=subject(body)), err.status, code=err.code)
            return refusal(call, err)
        except Exception:  # the client must get a response that botocore can parse
            log.exception("%s %s", call.service, call.action)
            self._write(self._entry(call, subject=subject(body)), 500, code="InternalFailure")
            return refusal(call, api_error.internal())
        digest = hashlib.sha256(request.get_data()).hexdigest()
        entry = self._entry(call, subject=subject(body), body_sha256=digest)
        if response is None:
            request.environ["wsgi.input"] = io.BytesIO(request.get_data())  # rewind the body
            return lambda environ, start_response: self._pass_on(call, entry, environ, start_response)
        is_lost = self._faults.take("lose_response", _target(call, body)) is not None
        self._write(entry, 200, is_lost=is_lost)
        return _hang_up if is_lost else response

    def _let_fail(self, call: Call, body: dict[str, Any]) -> None:
        """Raise ApiError if a fault makes this call fail."""
        faults = self._faults.now
        if faults.expired:
            raise api_error.expired()
        if self._faults.is_throttled(call.action):
            raise api_error.throttled()
        if call.action in faults.deny:
            name = body.get("TrainingJobName")
            resource = job_arn(call.region, name) if isinstance(name, str) else str(body.get("ResourceArn", "*"))
            raise api_error.denied(f"{call.service}:{call.action}", resource)
        if self._faults.take("fail_call", _target(call, body)):
            raise api_error.internal()

    def _own_answer(self, call: Call, body: dict[str, Any]) -> Response | None:
        if call.service == "sagemaker" and call.action == GET_METRICS:
            validation.check(call.action, body)
            points = self._moto_services.metric_values
            return protocol.answer(call, get_metrics(protocol.without_nulls(body), self._api.find_job, points))
        if call.service == "sagemaker":
            self._api.check(call, body)
        if self._api.serves(call, body):
            return self._api.answer(call, body)
        parameters = protocol.without_nulls(body)
        if call.service == "batch" and call.action in PATHS.values():
            return protocol.answer(call, self._service_jobs.answer(call.action, parameters, call.region))
        if call.service == "logs" and call.action == "FilterLogEvents":
            group = str(parameters.get("logGroupName") or parameters.get("logGroupIdentifier") or "")
            group = group.rpartition(":log-group:")[2].removesuffix(":*")  # an identifier can be an ARN
            return protocol.answer(
                call, filter_log_events(self._moto_services.log_group(call.region, group), parameters)
            )
        if call.service == "pricing" and call.action == "GetProducts":
            return protocol.answer(call, get_products(parameters))
        if call.service == "servicequotas" and call.action in QUOTA_GETS and _is_sagemaker(parameters):
            return protocol.answer(
                call, get_quota(parameters, self._faults.now.quota, self._faults.now.warm_pool_quota)
            )
        if call.service == "servicequotas" and call.action in QUOTA_LISTS:
            return protocol.answer(
                call, list_quotas(parameters, self._faults.now.quota, self._faults.now.warm_pool_quota)
            )
        return None

    def _pass_on(
        self, call: Call, entry: dict[str, Any], environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        def noting(status: str, *rest: Any) -> Any:
            self._write(entry, int(status.split()[0]))
            return start_response(status, *rest)

        try:
            return self._moto(environ, noting)
        except NotImplementedError:
            pass
        except Exception:  # moto does not know the service, or cannot read the request
            log.warning("%s %s: moto failed", call.service, call.action, exc_info=True)
        return self._not_served(call, entry)(environ, start_response)

    def _not_served(self, call: Call, entry: dict[str, Any]) -> Response:
        refused = api_error.not_served(call.service, call.action)
        self._write(entry, refused.status, code=refused.code)
        return refusal(call, refused)

    def _entry(self, call: Call, **more: str) -> dict[str, Any]:
        return {
            "request_id": call.request_id,
            "service": call.service,
            "action": call.action,
            "region": call.region,
            **more,
        }

    def _write(self, entry: dict[str, Any], status: int, **more: Any) -> None:
        outcome = "accepted" if status < 400 else "refused"
        self._ledger.write({"at": self._clock(), **entry, "outcome": outcome, "status": status, **more})


def _target(call: Call, body: dict[str, Any]) -> dict[str, str]:
    return {"action": call.action, "job": str(body.get("TrainingJobName", "")), "region": call.region}


def _hang_up(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Close the connection without a response, like a network failure."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("a fault: the response is lost")


def answer_iam(request: Request, moto_services: MotoServices) -> Response | None:
    """Return the response to SimulatePrincipalPolicy; None for other calls, which moto handles.

    Before GetRole, the role is created.
    """
    form = dict(parse_qsl(request.get_data(as_text=True)))
    if form.get("Action") == "SimulatePrincipalPolicy":
        return Response(_allowed(form), content_type="text/xml")
    if form.get("Action") == "GetRole":
        moto_services.ensure_role(form.get("RoleName", ""))
    return None


def _allowed(form: Mapping[str, str]) -> bytes:
    root = ElementTree.Element("SimulatePrincipalPolicyResponse", xmlns=NAMESPACE)
    result = ElementTree.SubElement(root, "SimulatePrincipalPolicyResult")
    results = ElementTree.SubElement(result, "EvaluationResults")
    for name, action in form.items():
        if name.startswith(ACTION_NAMES):
            member = ElementTree.SubElement(results, "member")
            ElementTree.SubElement(member, "EvalActionName").text = action
            ElementTree.SubElement(member, "EvalDecision").text = "allowed"
    ElementTree.SubElement(result, "IsTruncated").text = "false"
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def get_products(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the products for the instance type in the filters; none for services other than SageMaker."""
    filters = {entry["Field"]: entry["Value"] for entry in request.get("Filters", ())}
    instance_type = filters.get("instanceName", "")
    is_known = request.get("ServiceCode") == "AmazonSageMaker" and instance_type.startswith("ml.")
    products = (
        [_product(instance_type, filters, part, price) for part, price in COMPONENTS.items()] if is_known else []
    )
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products]}


def _product(instance_type: str, filters: Mapping[str, str], part: str, price: str) -> dict[str, Any]:
    attributes = {
        "regionCode": filters.get("regionCode", ""),
        "instanceName": instance_type,
        "component": part,
        "instanceType": f"{instance_type}-{part}",
        "servicecode": "AmazonSageMaker",
    }
    dimension = {
        "unit": "Hrs",
        "pricePerUnit": {"USD": price},
        "description": f"${price} per {instance_type} hour",
    }
    sku = f"{part}-{instance_type}"
    return {
        "product": {"productFamily": "ML Instance", "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {sku: {"priceDimensions": {sku: dimension}}}},
    }


def list_quotas(request: Mapping[str, Any], limit: int | None, warm_pool: int | None = None) -> dict[str, Any]:
    """Return a page of the quotas of training jobs.

    Args:
        request: Parameters of the call.
        limit: The value of each quota; None without a limit, which has no quotas.
        warm_pool: The value of the quotas of warm pools; None for `limit`.

    Raises:
        ApiError: If the token is not valid.
    """
    quotas = _quotas(limit, warm_pool) if _is_sagemaker(request) else []
    start = paging.read_token(request.get("NextToken")) or 0
    end = start + request.get("MaxResults", 100)
    token = {"NextToken": paging.make_token(end)} if end < len(quotas) else {}
    return {"Quotas": quotas[start:end], **token}


def get_quota(request: Mapping[str, Any], limit: int | None, warm_pool: int | None = None) -> dict[str, Any]:
    """Return one quota of training jobs. Arguments and exceptions are those of `list_quotas`."""
    code = request.get("QuotaCode")
    for quota in _quotas(limit, warm_pool):
        if quota["QuotaCode"] == code:
            return {"Quota": quota}
    raise ApiError(
        "NoSuchResourceException", f"The request failed because the specified quota {code} does not exist."
    )


def _is_sagemaker(request: Mapping[str, Any]) -> bool:
    return request.get("ServiceCode") == "sagemaker"


def _quotas(limit: int | None, warm_pool: int | None) -> list[dict[str, Any]]:
    if limit is None:
        return []
    names = [f"{name} for {kind} usage" for name in _instance_types() for kind in MARKETS]
    return [
        {
            "ServiceCode": "sagemaker",
            "QuotaCode": f"L-{n:08X}",
            "QuotaName": name,
            "Value": float(limit if warm_pool is None or "warm pool" not in name else warm_pool),
        }
        for n, name in enumerate(names)
    ]


@functools.cache
def _instance_types() -> Sequence[str]:
    shapes = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    types: Sequence[str] = shapes["TrainingInstanceType"]["enum"]
    return types
