# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS part of the sandbox: moto with the patches, strict, logged, and open to faults."""

from __future__ import annotations

import html
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

# moto reads these when it makes its backends. Real accounts have the managed policies, and refuse unknown types.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"

from flask import Flask
from moto.core.base_backend import BackendDict
from moto.core.exceptions import ServiceException
from moto.core.model_instances import reset_model_data
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.ssm.models import ssm_backends
from werkzeug.exceptions import HTTPException
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request, Response

from tests.sandbox.aws_access.check import check_access
from tests.sandbox.aws_access.needs import UnknownNeedError
from tests.sandbox.aws_patches import install_patches
from tests.sandbox.calls import Call, CallLog, Interferences
from tests.sandbox.ecs_runtime import RUNTIME
from tests.sandbox.prices import PriceList
from tests.sandbox.rest import ApiError
from tests.sandbox.spend import CostExplorer, Ledger
from tests.sandbox.state import ACCOUNT_ID, STATE_LOCK

#: Signing names that differ from what boto3 calls the service.
CLIENT_NAMES = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch", "tagging": "resourcegroupstaggingapi"}
#: Services that take all requests at "/"; another path there is a mistake.
ROOT_PATH_ONLY = frozenset(
    ("autoscaling", "ce", "cloudwatch", "ec2", "ecs", "elbv2", "iam", "logs", "pricing", "secretsmanager", "ssm", "sts")
)
#: Answers of our Flask error handler carry the reason in this header.
REFUSED_HEADER = "X-Sandbox-Refused"
CREDENTIAL = re.compile(r"Credential=[^/,\s]+/\d+/([^/,\s]+)/([^/,\s]+)/aws4_request")


@dataclass(frozen=True)
class AwsRequest:
    """What a request is about, read from its signature and body."""

    service: str
    action: str
    region: str
    params: Any
    body: str
    #: json, query, ec2 or rest: how an error has to look.
    protocol: str


def read_request(request: Request) -> AwsRequest | None:
    """Service, action and parameters of a signed request; None if it is not signed."""
    match = CREDENTIAL.search(request.headers.get("Authorization", ""))
    if match is None:
        return None
    region, signing_name = match.groups()
    service = CLIENT_NAMES.get(signing_name, signing_name)
    body = request.get_data(cache=True).decode("utf-8", "replace")
    target = request.headers.get("X-Amz-Target")
    if target:
        return AwsRequest(service, target.rsplit(".", 1)[-1], region, _json_or_text(body), body, "json")
    params = dict(parse_qsl(body, keep_blank_values=True)) or request.args.to_dict()
    if "Action" in params:
        protocol = "ec2" if service == "ec2" else "query"
        # Readable for whoever looks for a text in it: the form encoding is taken off.
        text = "&".join(f"{name}={value}" for name, value in params.items())
        return AwsRequest(service, params["Action"], region, params, text, protocol)
    return AwsRequest(service, f"{request.method} {request.path}", region, _json_or_text(body), body, "rest")


def _json_or_text(body: str) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return body


def error_response(protocol: str, status: int, code: str, message: str) -> Response:
    """Return an AWS error in the form the service's protocol wants."""
    headers = {"x-amzn-RequestId": "00000000-0000-0000-0000-000000000000"}
    if protocol in ("json", "rest"):
        body = json.dumps({"__type": code, "message": message})
        headers["x-amzn-ErrorType"] = code
        return Response(body, status=status, headers=headers, content_type="application/x-amz-json-1.1")
    error = f"<Code>{html.escape(code)}</Code><Message>{html.escape(message)}</Message>"
    if protocol == "ec2":
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>sandbox</RequestID></Response>"
    else:
        body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>sandbox</RequestId></ErrorResponse>"
    return Response(body, status=status, headers=headers, content_type="text/xml")


class Dispatcher(DomainDispatcherApplication):
    """moto's choice of a service by host name, remembered: moto reads a folder on each request for it."""

    def __init__(self, create_app: Callable[[Any], Flask]) -> None:
        super().__init__(create_app)
        self._known: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the name of moto's service; None if there is no such service."""
        if host not in self._known:
            self._known[host] = super().get_backend_for_host(host)
        return self._known[host]


class AwsApplication:
    """Answers AWS requests. Werkzeug request in, Werkzeug response out."""

    def __init__(self, ledger: Ledger, calls: CallLog, interferences: Interferences) -> None:
        install_patches()
        self._calls = calls
        self._interferences = interferences
        self._moto = Dispatcher(_strict_backend_app)
        # Of these two services moto has nothing, or nothing that is strict.
        self._money: dict[str, PriceList | CostExplorer] = {"pricing": PriceList(), "ce": CostExplorer(ledger)}

    def __call__(self, request: Request) -> Response:
        """Log, delay, perhaps fail, else let moto answer."""
        aws = read_request(request)
        if aws is None:
            return self._refuse_unsigned(request)
        call = self._calls.start(
            service=aws.service,
            action=aws.action,
            region=aws.region,
            method=request.method,
            path=request.full_path.rstrip("?"),
            params=aws.params,
            body=aws.body,
        )
        fault = self._interferences.apply(aws.service, aws.action, aws.body, "before")
        if fault is not None:
            response = error_response(aws.protocol, fault.status, fault.code or "", fault.message)
            response.headers.update(fault.headers)
        else:
            response = self._handle(request, aws, call)
            late_fault = self._interferences.apply(aws.service, aws.action, aws.body, "after")
            if late_fault is not None:
                response = error_response(aws.protocol, late_fault.status, late_fault.code or "", late_fault.message)
                response.headers.update(late_fault.headers)
        call.refused = response.headers.pop(REFUSED_HEADER, None)
        call.status = response.status_code
        return response

    def warm_up(self, region: str) -> None:
        """Make the backends that read large files, so that a first call is not slow."""
        with STATE_LOCK:
            _made = iam_backends[ACCOUNT_ID]["aws"]
            _made_too = ec2_backends[ACCOUNT_ID][region]
            ssm_backends[ACCOUNT_ID][region].get_parameter(
                "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
            )

    def reset(self) -> None:
        """Forget all resources of all regions."""
        with STATE_LOCK:
            # moto's own reset builds every backend anew before it drops it.
            used: list[dict[str, Any]] = vars(BackendDict)["_instances"]
            for backends in used:
                backends.clear()
            used.clear()
            reset_model_data()
            RUNTIME.reset()

    def _refuse_unsigned(self, request: Request) -> Response:
        call = self._calls.start(
            service="unknown",
            action=f"{request.method} {request.path}",
            region="",
            method=request.method,
            path=request.full_path.rstrip("?"),
            params=request.args.to_dict(),
            body=request.get_data(as_text=True),
        )
        call.status = 404
        call.refused = "no AWS signature, and no path of the sandbox"
        return Response(f"The sandbox has nothing at {request.path}\n", status=404)

    def _handle(self, request: Request, aws: AwsRequest, call: Call) -> Response:
        if aws.service in ROOT_PATH_ONLY and request.path != "/":
            response = error_response(aws.protocol, 404, "UnknownPath", f"{aws.service} has nothing at {request.path}")
            response.headers[REFUSED_HEADER] = "unknown path"
            return response
        with STATE_LOCK:
            RUNTIME.advance()
            refused = _refused_access(request, aws, call)
            response = refused or (self._price(aws) if aws.service in self._money else self._ask_moto(request))
        reason = response.headers.get(REFUSED_HEADER)
        if reason is not None:
            refusal = error_response(aws.protocol, 400, "NotImplementedBySandbox", reason)
            refusal.headers[REFUSED_HEADER] = reason
            return refusal
        return response

    def _price(self, aws: AwsRequest) -> Response:
        """Answer for the Price List API and Cost Explorer."""
        try:
            answer = self._money[aws.service].answer(aws.action, aws.region, aws.params)
        except ApiError as error:
            if error.refused:
                return _refusal(error.message)
            return error_response("json", error.status, error.code, error.message)
        return Response(json.dumps(answer), content_type="application/x-amz-json-1.1")

    def _ask_moto(self, request: Request) -> Response:
        environ = dict(request.environ)
        # moto looks at the body of some requests before Flask does, so it gets a stream of its own.
        environ["wsgi.input"] = io.BytesIO(request.get_data(cache=True))
        host = self._moto.infer_service_region_host(environ, request.path)
        if self._moto.get_backend_for_host(host) is None:
            return _refusal("moto has no such service")
        body, status, headers = run_wsgi_app(self._moto.get_application(environ), environ, buffered=True)
        return Response(b"".join(body), status=status, headers=headers)


def _refused_access(request: Request, aws: AwsRequest, call: Call) -> Response | None:
    """Return the answer to a user who may not do this; None if the request may go on."""
    try:
        check_access(request, aws.service, aws.action, aws.region, aws.params, call.needs)
    except UnknownNeedError as error:
        return _refusal(str(error))
    except ServiceException as error:
        return error_response(aws.protocol, 400 if aws.protocol == "json" else 403, str(error.code), error.message)
    return None


def _refusal(reason: str) -> Response:
    # A header holds one line of Latin-1.
    line = " ".join(reason.split())[:500].encode("ascii", "replace").decode("ascii")
    return Response("", status=400, headers={REFUSED_HEADER: line})


def _strict_backend_app(service: Any) -> Flask:
    """Return moto's application for a service, with what it cannot do as a clear refusal.

    By itself it answers 500, which SDKs take for a passing fault and try again.
    """
    app: Flask = create_backend_app(service)
    handlers: dict[type[Exception], Callable[[Any], Any]] = {
        NotImplementedError: lambda error: _refusal(f"moto does not implement this: {error}"),
        Exception: _explain_crash,
    }
    for kind, handler in handlers.items():
        app.register_error_handler(kind, handler)
    return app


def _explain_crash(error: Exception) -> Any:
    if isinstance(error, HTTPException):
        return error
    return _refusal(f"moto failed on this request: {type(error).__name__}: {error}")
