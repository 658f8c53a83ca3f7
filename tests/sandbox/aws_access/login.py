# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out whose key has signed a request, and what policies they have. Reads moto's state: hold the lock."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core.exceptions import ServiceException
from moto.iam.models import IAMBackend, Policy, User, iam_backends
from moto.iam.utils import generate_access_key_id_from_account_id
from moto.sts.models import sts_backends
from werkzeug.wrappers import Request

from tests.sandbox.aws_patches.iam import boundary_of
from tests.sandbox.aws_patches.patching import aws_error
from tests.sandbox.state import ACCOUNT_ID

#: How all keys begin that the simulated IAM makes: the account is a part of them.
ISSUED = generate_access_key_id_from_account_id(ACCOUNT_ID, "AKIA")[:12]
#: How the keys of sessions begin, which come with a token and end.
SESSION = generate_access_key_id_from_account_id(ACCOUNT_ID, "ASIA")[:12]
AUTHORIZATION = re.compile(
    r"Credential=(?P<key>[^/]+)/(?P<date>\d+)/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True)
class Holdings:
    """All policies that say what somebody may do, and the one that limits it."""

    policies: tuple[Mapping[str, Any], ...]
    boundary: Mapping[str, Any] | None


@dataclass(frozen=True)
class Identity:
    """A user, or a session of a role, with everything that says what they may do."""

    arn: str
    holdings: Holdings


def identify(request: Request) -> Identity | None:
    """Return whose key has signed a request; None for a key that no simulated user ever had.

    Raises the error with which AWS refuses a deleted or switched-off key and a wrong secret.
    """
    found = AUTHORIZATION.search(request.headers.get("Authorization", ""))
    if found is not None and found["key"].startswith(SESSION):
        return _session(request, found)
    if found is None or not found["key"].startswith(ISSUED):
        return None
    backend = iam_backends[ACCOUNT_ID]["aws"]
    key = backend.access_keys.get(found["key"])
    if key is None or key.status != "Active" or key.user_name is None:
        raise refusal(
            found["service"], "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    _check_signature(request, found, key.secret_access_key)
    user = backend.get_user(key.user_name)
    return Identity(user.arn, holdings_of(backend, user))


def _session(request: Request, found: re.Match[str]) -> Identity | None:
    """Return the session of a role; None where the role was never made, for those who only want to be let in."""
    sessions = sts_backends[ACCOUNT_ID]["aws"].assumed_roles
    session = next((one for one in sessions if one.access_key_id == found["key"]), None)
    if session is None or request.headers.get("X-Amz-Security-Token") != session.session_token:
        raise refusal(
            found["service"], "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    _check_signature(request, found, session.secret_access_key)
    backend = iam_backends[ACCOUNT_ID]["aws"]
    role = next((one for one in backend.roles.values() if one.arn == session.role_arn), None)
    return None if role is None else Identity(session.arn, holdings_of(backend, role))


def _check_signature(request: Request, found: re.Match[str], secret: str) -> None:
    if _signature(request, found, secret) != found["signature"]:
        message = "The request signature we calculated does not match the signature you provided."
        raise refusal(found["service"], "SignatureDoesNotMatch", message)


def refusal(service: str, code: str, message: str) -> ServiceException:
    """Return the error for a key that is no good, under the name that the service has for it."""
    names = {"ec2": {"InvalidClientTokenId": "AuthFailure", "SignatureDoesNotMatch": "AuthFailure"}}
    json_names = {
        "InvalidClientTokenId": "UnrecognizedClientException",
        "SignatureDoesNotMatch": "InvalidSignatureException",
    }
    for json_service in ("ecs", "logs", "secretsmanager", "ssm"):
        names[json_service] = json_names
    return aws_error(names.get(service, {}).get(code, code), message)


def _signature(request: Request, found: re.Match[str], secret: str) -> str:
    """Sign the request once more, as the client should have done it."""
    names = found["headers"].split(";")
    headers = {name: value for name, value in request.headers.items() if name.lower() in names}
    auth = SigV4Auth(Credentials(found["key"], secret), found["service"], found["region"])
    copy = AWSRequest(method=request.method, url=request.url, data=request.get_data(cache=True), headers=headers)
    copy.context["timestamp"] = request.headers["X-Amz-Date"]
    signature: str = auth.signature(auth.string_to_sign(copy, auth.canonical_request(copy)), copy)
    return signature


def holdings_of(backend: IAMBackend, owner: Any) -> Holdings:
    """Return what a user, with the user's groups, or a role may do."""
    owners: list[Any] = [owner, *(backend.get_groups_for_user(owner.name) if isinstance(owner, User) else ())]
    limit = boundary_of(owner)
    return Holdings(
        (
            *(_document(policy) for item in owners for policy in item.managed_policies.values()),
            *(json.loads(text) for item in owners for text in item.policies.values()),
        ),
        None if limit is None else _document(limit),
    )


def _document(policy: Policy) -> Mapping[str, Any]:
    text = next(version.document for version in policy.versions if version.is_default)
    document: dict[str, Any] = json.loads(text)
    return document
