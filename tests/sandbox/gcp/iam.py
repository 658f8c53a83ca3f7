# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's IAM API: service accounts and their keys."""

from __future__ import annotations

import base64
import re

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.accounts import MOST_ACCOUNTS, MOST_KEYS, ServiceAccount, StoredKey, moment
from tests.sandbox.gcp.bodies import Json, check_fields, invalid, read_object
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, check_permission, google_error
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

ACCOUNTS = "/v1/projects/{project}/serviceAccounts"
ACCOUNT = ACCOUNTS + "/{account}"
KEYS = ACCOUNT + "/keys"
KEY = KEYS + "/{key}"

ACCOUNT_ID = re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])")
KEY_TYPES = ("USER_MANAGED", "SYSTEM_MANAGED")
ALGORITHM = "KEY_ALG_RSA_2048"
FILE_TYPE = "TYPE_GOOGLE_CREDENTIALS_FILE"
#: What Google answers where an organisation's policy forbids keys.
KEYS_FORBIDDEN = "Key creation is not allowed on this service account."
#: Stands for the project in a path where the account says it.
ANY_PROJECT = "-"

#: The permission of each operation.
PERMISSIONS = {
    "CreateServiceAccount": "iam.serviceAccounts.create",
    "ListServiceAccounts": "iam.serviceAccounts.list",
    "GetServiceAccount": "iam.serviceAccounts.get",
    "DeleteServiceAccount": "iam.serviceAccounts.delete",
    "UndeleteServiceAccount": "iam.serviceAccounts.undelete",
    "EnableServiceAccount": "iam.serviceAccounts.enable",
    "DisableServiceAccount": "iam.serviceAccounts.disable",
    "CreateServiceAccountKey": "iam.serviceAccountKeys.create",
    "ListServiceAccountKeys": "iam.serviceAccountKeys.list",
    "GetServiceAccountKey": "iam.serviceAccountKeys.get",
    "DeleteServiceAccountKey": "iam.serviceAccountKeys.delete",
    "EnableServiceAccountKey": "iam.serviceAccountKeys.enable",
    "DisableServiceAccountKey": "iam.serviceAccountKeys.disable",
}


class Iam(RestService):
    """Answers below ``/v1/projects/PROJECT/serviceAccounts``."""

    def __init__(
        self, account: GoogleAccount, oauth: GoogleOauth, calls: CallLog, interferences: Interferences
    ) -> None:
        self._account = account
        self._oauth = oauth
        super().__init__("google-iam", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations, named as the methods of the IAM service."""
        return [
            Route("POST", ACCOUNTS, "CreateServiceAccount", self._create),
            Route("GET", ACCOUNTS, "ListServiceAccounts", self._list),
            Route("GET", ACCOUNT, "GetServiceAccount", self._get),
            Route("DELETE", ACCOUNT, "DeleteServiceAccount", self._delete),
            Route("POST", ACCOUNT + ":undelete", "UndeleteServiceAccount", self._undelete),
            Route("POST", ACCOUNT + ":enable", "EnableServiceAccount", self._enable),
            Route("POST", ACCOUNT + ":disable", "DisableServiceAccount", self._disable),
            Route("POST", KEYS, "CreateServiceAccountKey", self._create_key),
            Route("GET", KEYS, "ListServiceAccountKeys", self._list_keys),
            Route("GET", KEY, "GetServiceAccountKey", self._get_key),
            Route("DELETE", KEY, "DeleteServiceAccountKey", self._delete_key),
            Route("POST", KEY + ":enable", "EnableServiceAccountKey", self._enable_key),
            Route("POST", KEY + ":disable", "DisableServiceAccountKey", self._disable_key),
        ]

    def handles(self, request: Request) -> bool:
        """Whether the path is one of service accounts, known or not."""
        return re.match(r"/v1/projects/[^/]+/serviceAccounts(?:/|$)", request.path) is not None

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's, without the right, and about other projects."""
        who = self._oauth.check_google(request)
        for route in self._routes:
            if route.method == request.method and route.match(request.path) is not None:
                permission = PERMISSIONS[route.action]
                if values["project"] not in (ANY_PROJECT, self._account.project):
                    raise _denied(permission)
                check_permission(self._account, who, permission, request.path.removeprefix("/v1/").partition(":")[0])

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it, and with the constraint where a policy forbids keys."""
        response = google_error(error)
        if error.message != KEYS_FORBIDDEN:
            return response
        violation = {"type": "constraints/iam.disableServiceAccountKeyCreation", "description": error.message}
        detail = {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [violation]}
        body: Json = {"code": error.status, "message": error.message, "status": error.code, "details": [detail]}
        return json_response({"error": body}, error.status)

    def resources(self) -> dict[str, list[str]]:
        """Return the emails of all accounts but the deployer's, and the ids of their keys."""
        accounts = [item for item in self._account.accounts.living() if item.email != self._account.email]
        return {
            "service_accounts": sorted(item.email for item in accounts),
            "service_account_keys": sorted(f"{item.email}/{key}" for item in accounts for key in item.keys),
        }

    # -- accounts ----------------------------------------------------------------------------------------------------

    def _found(self, values: PathValues) -> ServiceAccount:
        account = self._account.accounts.find(values["account"])
        if account is None and values["project"] == ANY_PROJECT:
            raise _denied("iam.serviceAccounts.get")
        if account is None:
            raise ApiError(404, "NOT_FOUND", "Unknown service account")
        return account

    def _shown(self, account: ServiceAccount) -> Json:
        project = self._account.project
        shown: Json = {
            "name": f"projects/{project}/serviceAccounts/{account.email}",
            "projectId": project,
            "uniqueId": account.unique_id,
            "email": account.email,
            "etag": "MDEwMjE5MjA=",
            "oauth2ClientId": account.unique_id,
        }
        if account.display_name:
            shown["displayName"] = account.display_name
        if account.description:
            shown["description"] = account.description
        if account.disabled:
            shown["disabled"] = True
        return shown

    def _create(self, request: Request, _values: PathValues) -> Response:
        body = read_object(request, {"accountId": str, "serviceAccount": dict})
        wanted = body.get("serviceAccount", {})
        _check_texts(wanted, {"displayName": 100, "description": 256})
        name = body.get("accountId", "")
        if not ACCOUNT_ID.fullmatch(name):
            raise invalid(
                f'Invalid service account ID "{name}": 6 to 30 characters of the form [a-z][-a-z0-9]*[a-z0-9].'
            )
        accounts = self._account.accounts
        email = f"{name}@{self._account.project}.iam.gserviceaccount.com"
        if accounts.find(email) is not None:
            raise ApiError(
                409,
                "ALREADY_EXISTS",
                f"Service account {name} already exists within project projects/{self._account.project}.",
            )
        if len(accounts.living()) >= MOST_ACCOUNTS:
            raise ApiError(429, "RESOURCE_EXHAUSTED", "Maximum number of service accounts on project reached.")
        account = accounts.add(name, wanted.get("displayName", ""), wanted.get("description", ""))
        return json_response(self._shown(account))

    def _list(self, _request: Request, _values: PathValues) -> Response:
        return json_response({"accounts": [self._shown(item) for item in self._account.accounts.living()]})

    def _get(self, _request: Request, values: PathValues) -> Response:
        return json_response(self._shown(self._found(values)))

    def _delete(self, _request: Request, values: PathValues) -> Response:
        account = self._found(values)
        account.deleted = True
        self._account.policy.note_deleted(account)
        return json_response({})

    def _undelete(self, request: Request, values: PathValues) -> Response:
        """Bring back an account, which is named by its number."""
        read_object(request, {})
        number = values["account"]
        found = next((item for item in self._account.accounts.all if item.unique_id == number and item.deleted), None)
        if found is None:
            raise ApiError(404, "NOT_FOUND", f"Service account {number} does not exist.")
        if self._account.accounts.find(found.email) is not None:
            raise ApiError(409, "ALREADY_EXISTS", f"There is a service account {found.email} again.")
        found.deleted = False
        self._account.policy.note_restored(found)
        return json_response({"restoredAccount": self._shown(found)})

    def _enable(self, request: Request, values: PathValues) -> Response:
        return self._switch(request, values, disabled=False)

    def _disable(self, request: Request, values: PathValues) -> Response:
        return self._switch(request, values, disabled=True)

    def _switch(self, request: Request, values: PathValues, *, disabled: bool) -> Response:
        read_object(request, {})
        self._found(values).disabled = disabled
        return json_response({})

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _shown_key(self, account: ServiceAccount, key: StoredKey, kind: str = "USER_MANAGED") -> Json:
        shown: Json = {
            "name": f"projects/{self._account.project}/serviceAccounts/{account.email}/keys/{key.id}",
            "validAfterTime": moment(key.made),
            "validBeforeTime": moment(key.ends),
            "keyAlgorithm": ALGORITHM,
            "keyOrigin": "GOOGLE_PROVIDED",
            "keyType": kind,
        }
        return {**shown, "disabled": True} if key.disabled else shown

    def _key(self, values: PathValues) -> tuple[ServiceAccount, StoredKey]:
        account = self._found(values)
        key = account.keys.get(values["key"])
        if key is None:
            raise ApiError(404, "NOT_FOUND", f"Service account key {values['key']} does not exist.")
        return account, key

    def _create_key(self, request: Request, values: PathValues) -> Response:
        body = read_object(request, {"privateKeyType": str, "keyAlgorithm": str})
        if body.get("privateKeyType", FILE_TYPE) != FILE_TYPE or body.get("keyAlgorithm", ALGORITHM) != ALGORITHM:
            message = f"The sandbox makes keys of {FILE_TYPE} and {ALGORITHM} only."
            raise ApiError(400, "INVALID_ARGUMENT", message, refused=True)
        account = self._found(values)
        if len(account.keys) >= MOST_KEYS:
            raise ApiError(400, "FAILED_PRECONDITION", "Precondition check failed.")
        key = account.new_key()
        content = account.key_file(key, self._account.project, request.host_url.rstrip("/"))
        data = base64.b64encode(content.encode()).decode()
        return json_response({**self._shown_key(account, key), "privateKeyType": FILE_TYPE, "privateKeyData": data})

    def _list_keys(self, request: Request, values: PathValues) -> Response:
        """List keys. Where nobody says which, those that Google uses itself are among them."""
        wanted = request.args.getlist("keyTypes")
        for kind in wanted:
            if kind not in KEY_TYPES:
                raise invalid(f"Invalid value at 'key_types' (type.googleapis.com/...KeyType), \"{kind}\"")
        account = self._found(values)
        keys = []
        if not wanted or "USER_MANAGED" in wanted:
            keys += [self._shown_key(account, key) for key in account.keys.values()]
        if not wanted or "SYSTEM_MANAGED" in wanted:
            own = StoredKey(next(iter(self._account.accounts.all[0].keys.values())).pair, id="0" * 40)
            keys.append(self._shown_key(account, own, "SYSTEM_MANAGED"))
        return json_response({"keys": keys} if keys else {})

    def _get_key(self, _request: Request, values: PathValues) -> Response:
        return json_response(self._shown_key(*self._key(values)))

    def _delete_key(self, _request: Request, values: PathValues) -> Response:
        account, key = self._key(values)
        del account.keys[key.id]
        return json_response({})

    def _enable_key(self, request: Request, values: PathValues) -> Response:
        return self._switch_key(request, values, disabled=False)

    def _disable_key(self, request: Request, values: PathValues) -> Response:
        return self._switch_key(request, values, disabled=True)

    def _switch_key(self, request: Request, values: PathValues, *, disabled: bool) -> Response:
        read_object(request, {})
        self._key(values)[1].disabled = disabled
        return json_response({})


def _check_texts(wanted: Json, longest: dict[str, int]) -> None:
    check_fields("service_account", wanted, dict.fromkeys(longest, str))
    for name, value in wanted.items():
        if len(value.encode()) > longest[name]:
            raise invalid(f"The {name} must be a text of at most {longest[name]} bytes.")


def _denied(permission: str) -> ApiError:
    return ApiError(403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource (or it may not exist).")
