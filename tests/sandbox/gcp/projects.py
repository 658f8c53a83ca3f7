# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's Resource Manager, as far as the policy of a project goes."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.bodies import check_fields, invalid, read_object
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, check_permission, google_error
from tests.sandbox.gcp.policy import PolicyError
from tests.sandbox.gcp.quotas import check_project
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

PROJECT = "/v3/projects/{project}"
VERSIONS = (0, 1, 3)
#: What is written where nobody says what.
DEFAULT_MASK = "bindings,etag"

POLICY_FIELDS: dict[str, type] = {"version": int, "etag": str, "bindings": list, "auditConfigs": list}
BINDING_FIELDS: dict[str, type] = {"role": str, "members": list, "condition": dict}
CONDITION_FIELDS: dict[str, type] = {"title": str, "description": str, "expression": str, "location": str}


class ResourceManager(RestService):
    """Answers below ``/v3/projects``."""

    def __init__(
        self, account: GoogleAccount, oauth: GoogleOauth, calls: CallLog, interferences: Interferences
    ) -> None:
        self._account = account
        self._oauth = oauth
        super().__init__("google-resource-manager", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [
            Route("POST", PROJECT + ":getIamPolicy", "GetIamPolicy", self._get_policy),
            Route("POST", PROJECT + ":setIamPolicy", "SetIamPolicy", self._set_policy),
            Route("POST", PROJECT + ":testIamPermissions", "TestIamPermissions", self._test_permissions),
        ]

    def handles(self, request: Request) -> bool:
        """Whether the path is below ``/v3/projects``, known or not."""
        return request.path.startswith("/v3/projects/")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's, without the right, and about other projects."""
        who = self._oauth.check_google(request)
        verb = request.path.rpartition(":")[2]
        check_project(self._account, values, f"resourcemanager.projects.{verb}")
        if verb in ("getIamPolicy", "setIamPolicy"):
            place = f"projects/{self._account.project}"
            check_permission(self._account, who, f"resourcemanager.projects.{verb}", place)

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return google_error(error)

    def _get_policy(self, request: Request, _values: PathValues) -> Response:
        options = read_object(request, {"options": dict}).get("options", {})
        check_fields("options", options, {"requestedPolicyVersion": int})
        version = options.get("requestedPolicyVersion", 0)
        if version not in VERSIONS:
            raise invalid(f"Invalid policy version {version}.")
        return json_response(self._account.policy.shown(version))

    def _set_policy(self, request: Request, _values: PathValues) -> Response:
        body = read_object(request, {"policy": dict, "updateMask": str})
        policy = body.get("policy", {})
        check_fields("policy", policy, POLICY_FIELDS)
        for number, binding in enumerate(policy.get("bindings", [])):
            _check_binding(f"policy.bindings[{number}]", binding)
        if not policy.get("etag"):
            # Google writes over whatever is there. Nobody here can mean that.
            message = "The sandbox wants an etag: without one, what others have changed meanwhile is lost."
            raise ApiError(400, "INVALID_ARGUMENT", message, refused=True)
        fields = tuple(body.get("updateMask", DEFAULT_MASK).split(","))
        try:
            self._account.policy.replace(policy, fields)
        except PolicyError as error:
            if error.conflict:
                raise ApiError(409, "ABORTED", error.message) from error
            raise invalid(error.message) from error
        return json_response(self._account.policy.shown(3))

    def _test_permissions(self, request: Request, _values: PathValues) -> Response:
        asked = read_object(request, {"permissions": list}).get("permissions", [])
        if not all(isinstance(name, str) and "*" not in name for name in asked):
            raise invalid("Permissions must be names without wildcards.")
        email = self._oauth.check_google(request).email
        held = [name for name in asked if self._account.policy.allows(email, name)]
        return json_response({"permissions": held} if held else {})


def _check_binding(place: str, binding: Any) -> None:
    check_fields(place, binding, BINDING_FIELDS)
    if not binding.get("role") or not all(isinstance(member, str) for member in binding.get("members", [])):
        raise invalid(f"Invalid value at '{place}': a role and members are needed.")
    if "condition" in binding:
        check_fields(f"{place}.condition", binding["condition"], CONDITION_FIELDS)
