"""Calls of IAM about a job's role: each role exists and has all permissions.

SageMaker SDK 3.x makes these calls before it starts a job. moto does not simulate policies, and knows only roles
that a client has created.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl
from xml.etree import ElementTree  # writes XML only # nosec B405

from werkzeug.wrappers import Request, Response

from smsweep.emulator.jobs.moto_services import MotoServices

NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
ACTION_NAMES = "ActionNames.member."


def answer(request: Request, moto_services: MotoServices) -> Response | None:
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
    found = ElementTree.SubElement(root, "SimulatePrincipalPolicyResult")
    results = ElementTree.SubElement(found, "EvaluationResults")
    for name, action in form.items():
        if name.startswith(ACTION_NAMES):
            member = ElementTree.SubElement(results, "member")
            ElementTree.SubElement(member, "EvalActionName").text = action
            ElementTree.SubElement(member, "EvalDecision").text = "allowed"
    ElementTree.SubElement(found, "IsTruncated").text = "false"
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data
