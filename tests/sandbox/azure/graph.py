# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Graph: applications, service principals, client secrets and deleted items of the tenant."""

from __future__ import annotations

import datetime
import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.azure.directory import Application, Directory, Password, Principal, now
from tests.sandbox.azure.entra import Entra
from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, bearer_token, json_response

Json = dict[str, Any]

PREFIX = "/v1.0/"
#: The audience of its tokens in the public cloud.
AUDIENCE = "https://graph.microsoft.com"
#: The most objects of a page.
PAGE = 100

APPLICATION, PRINCIPAL = "microsoft.graph.application", "microsoft.graph.servicePrincipal"
APPLICATION_FIELDS: dict[str, type] = {
    "description": str,
    "displayName": str,
    "notes": str,
    "signInAudience": str,
    "tags": list,
}
PRINCIPAL_FIELDS: dict[str, type] = {
    "accountEnabled": bool,
    "displayName": str,
    "notes": str,
    "tags": list,
}
PASSWORD_FIELDS: dict[str, type] = {"displayName": str, "endDateTime": str, "startDateTime": str}
LENGTHS = {"description": 1024, "displayName": 256, "notes": 1024}
AUDIENCES = ("AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
#: A secret may not live longer than to this year.
MOST_YEARS = 100

READABLE: dict[type, tuple[str, ...]] = {
    Application: tuple(Application({"displayName": ""}).render()),
    Principal: tuple(Principal("", "", "", {}).render()),
}

TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,7})?Z")
EQUALS = re.compile(r"(appId|displayName|uniqueName|id) eq '((?:[^']|'')*)'")
TAGGED = re.compile(r"tags/any\((\w+):\1 eq '((?:[^']|'')*)'\)")

WHERE_IS = {
    "id": "/{id}",
    "appId": r"\(appId='{app_id}'\)",
    "uniqueName": r"\(uniqueName='{unique_name}'\)",
}
"""How an object is addressed, by the field that is its key."""


class GraphError(ApiError):
    """Graph says no. The telling code is often one of the details."""

    def __init__(self, status: int, code: str, message: str, detail: str | None = None) -> None:
        super().__init__(status, code, message)
        self.detail = detail


class Graph(RestService):
    """Answers below ``/v1.0/``."""

    def __init__(self, directory: Directory, entra: Entra, calls: CallLog, interferences: Interferences) -> None:
        self._directory = directory
        self._entra = entra
        super().__init__("graph", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        table: list[tuple[str, str, str, Callable[[Request, PathValues], Response]]] = [
            ("GET", "applications", "ListApplications", self._list_applications),
            ("POST", "applications", "CreateApplication", self._create_application),
            ("GET", "servicePrincipals", "ListServicePrincipals", self._list_principals),
            ("POST", "servicePrincipals", "CreateServicePrincipal", self._create_principal),
            ("GET", "directory/deletedItems/{kind}", "ListDeletedItems", self._list_deleted),
            ("DELETE", "directory/deletedItems/{id}", "DeleteDeletedItem", self._purge),
            ("POST", "directory/deletedItems/{id}/restore", "RestoreDeletedItem", self._restore),
        ]
        for key, where in WHERE_IS.items():
            table += [
                ("GET", f"applications{where}", "GetApplication", self._get_application),
                ("PATCH", f"applications{where}", "UpsertApplication", self._patch_application),
                ("DELETE", f"applications{where}", "DeleteApplication", self._delete_application),
                ("POST", f"applications{where}/addPassword", "AddPassword", self._add_password),
                ("POST", f"applications{where}/removePassword", "RemovePassword", self._remove_password),
            ]
            if key != "uniqueName":
                table += [
                    ("GET", f"servicePrincipals{where}", "GetServicePrincipal", self._get_principal),
                    ("PATCH", f"servicePrincipals{where}", "UpsertServicePrincipal", self._patch_principal),
                    ("DELETE", f"servicePrincipals{where}", "DeleteServicePrincipal", self._delete_principal),
                ]
        return [Route(method, f"{PREFIX}{path}", action, handler) for method, path, action, handler in table]

    def handles(self, request: Request) -> bool:
        """Whether the path is below the prefix, known or not."""
        return request.path.startswith(PREFIX)

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token for Microsoft Graph, and everything that artists ask for."""
        token = self._entra.find(bearer_token(request))
        if token is None:
            raise GraphError(401, "InvalidAuthenticationToken", "Access token is empty, invalid or expired.")
        if token.audience.rstrip("/") not in (AUDIENCE, request.host_url.rstrip("/")):
            raise GraphError(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
        if token.principal is not None:
            raise GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Graph wants it."""
        inner = {"date": now().strftime("%Y-%m-%dT%H:%M:%S"), "request-id": str(uuid.uuid4())}
        body: Json = {"code": error.code, "message": error.message, "innerError": inner}
        if isinstance(error, GraphError) and error.detail:
            body["details"] = [{"code": error.detail, "message": error.message, "target": None}]
        return json_response({"error": body}, error.status)

    # -- applications ------------------------------------------------------------------------------------------------

    def _list_applications(self, request: Request, _values: PathValues) -> Response:
        return _listed(request, self._directory.applications.values(), Application)

    def _create_application(self, request: Request, _values: PathValues) -> Response:
        _check_query(request)
        body = _body(request, APPLICATION_FIELDS)
        return json_response(self._directory.add_application(_with_name(body), None).render(), 201)

    def _application(self, values: PathValues, *, known: bool = True) -> Application | None:
        keys = {"id": "object_id"}
        found = self._directory.application(**{keys.get(name, name): value for name, value in values.items()})
        return None if found is None or (known and not found.is_known) else found

    def _existing_application(self, values: PathValues) -> Application:
        found = self._application(values)
        if found is None:
            raise _not_found(values)
        return found

    def _get_application(self, request: Request, values: PathValues) -> Response:
        return _shown(request, self._existing_application(values).render())

    def _patch_application(self, request: Request, values: PathValues) -> Response:
        _check_query(request)
        body = _body(request, APPLICATION_FIELDS)
        found = self._application(values, known=False)
        if found is not None:
            found.body.update(body)
            return Response(status=204)
        name = values.get("unique_name")
        if name is None or request.headers.get("Prefer") != "create-if-missing":
            raise _not_found(values)
        return json_response(self._directory.add_application(_with_name(body), name).render(), 201)

    def _delete_application(self, _request: Request, values: PathValues) -> Response:
        self._directory.delete(self._existing_application(values))
        return Response(status=204)

    # -- secrets -----------------------------------------------------------------------------------------------------

    def _add_password(self, request: Request, values: PathValues) -> Response:
        _check_query(request)
        body = _body(request, {"passwordCredential": dict})
        wish = _checked(body.get("passwordCredential") or {}, PASSWORD_FIELDS)
        start = _time("startDateTime", wish["startDateTime"]) if "startDateTime" in wish else now()
        end = _time("endDateTime", wish["endDateTime"]) if "endDateTime" in wish else _years_after(start, 2)
        if end <= max(start, now()):
            raise _bad("The end date of the credential must be after its start date and in the future.")
        if end > _years_after(start, MOST_YEARS):
            raise _bad("The lifetime of the credential is too long.")
        password = Password(wish.get("displayName"), start, end)
        self._existing_application(values).passwords.append(password)
        return json_response({**password.render(), "secretText": password.secret})

    def _remove_password(self, request: Request, values: PathValues) -> Response:
        _check_query(request)
        key_id = _body(request, {"keyId": str}).get("keyId")
        application = self._existing_application(values)
        kept = [item for item in application.passwords if item.key_id != key_id]
        if len(kept) == len(application.passwords):
            raise _bad(f"No password credential found with keyId '{key_id}'.")
        application.passwords = kept
        return Response(status=204)

    # -- service principals ------------------------------------------------------------------------------------------

    def _list_principals(self, request: Request, _values: PathValues) -> Response:
        return _listed(request, self._directory.principals.values(), Principal)

    def _create_principal(self, request: Request, _values: PathValues) -> Response:
        _check_query(request)
        body = _body(request, {**PRINCIPAL_FIELDS, "appId": str})
        app_id = body.pop("appId", "")
        if self._directory.principal(app_id=app_id) is not None:
            text = f"The service principal cannot be created because the appId {app_id} is in use."
            raise GraphError(409, "Request_MultipleObjectsWithSameKeyValue", text)
        return self._made_principal(app_id, body)

    def _made_principal(self, app_id: str, body: Json) -> Response:
        application = self._directory.application(app_id=app_id)
        if application is None or not application.is_known:
            raise GraphError(
                400,
                "Request_BadRequest",
                f"The appId '{app_id}' of the service principal does not reference a valid application object.",
                "NoBackingApplicationObject",
            )
        return json_response(self._directory.add_principal(application, body).render(), 201)

    def _principal(self, values: PathValues, *, known: bool = True) -> Principal | None:
        keys = {"id": "object_id"}
        found = self._directory.principal(**{keys.get(name, name): value for name, value in values.items()})
        return None if found is None or (known and not found.is_known) else found

    def _existing_principal(self, values: PathValues) -> Principal:
        found = self._principal(values)
        if found is None:
            raise _not_found(values)
        return found

    def _get_principal(self, request: Request, values: PathValues) -> Response:
        return _shown(request, self._existing_principal(values).render())

    def _patch_principal(self, request: Request, values: PathValues) -> Response:
        _check_query(request)
        body = _body(request, PRINCIPAL_FIELDS)
        found = self._principal(values, known=False)
        if found is not None:
            found.body.update(body)
            return Response(status=204)
        if "app_id" not in values or request.headers.get("Prefer") != "create-if-missing":
            raise _not_found(values)
        return self._made_principal(values["app_id"], body)

    def _delete_principal(self, _request: Request, values: PathValues) -> Response:
        self._directory.delete(self._existing_principal(values))
        return Response(status=204)

    # -- deleted items -----------------------------------------------------------------------------------------------

    def _list_deleted(self, request: Request, values: PathValues) -> Response:
        kinds: dict[str, type] = {APPLICATION: Application, PRINCIPAL: Principal}
        kind = kinds.get(values["kind"])
        if kind is None:
            raise _bad(f"The kind of deleted items '{values['kind']}' is none of {', '.join(kinds)}.")
        found = [item for item in self._directory.deleted.values() if isinstance(item, kind)]
        return _listed(request, found, kind)

    def _deleted(self, values: PathValues) -> Application | Principal:
        found = self._directory.deleted.get(values["id"])
        if found is None:
            raise _not_found(values)
        return found

    def _purge(self, _request: Request, values: PathValues) -> Response:
        del self._directory.deleted[self._deleted(values).object_id]
        return Response(status=204)

    def _restore(self, _request: Request, values: PathValues) -> Response:
        found = self._deleted(values)
        self._directory.restore(found)
        kind = APPLICATION if isinstance(found, Application) else PRINCIPAL
        return json_response({"@odata.type": f"#{kind}", **found.render()})


# -- bodies ------------------------------------------------------------------------------------------------------------


def _bad(message: str) -> GraphError:
    return GraphError(400, "Request_BadRequest", message)


def _not_found(values: PathValues) -> GraphError:
    name = next(iter(values.values()))
    text = f"Resource '{name}' does not exist or one of its queried reference-property objects are not present."
    return GraphError(404, "Request_ResourceNotFound", text)


def _body(request: Request, fields: dict[str, type]) -> Json:
    if request.mimetype != "application/json":
        raise _bad("Write requests (excluding DELETE) must contain the Content-Type header declaration.")
    try:
        value = json.loads(request.get_data(as_text=True))
    except ValueError as error:
        raise _bad("Unable to read JSON request payload.") from error
    if not isinstance(value, dict):
        raise _bad("Unable to read JSON request payload: it must be an object.")
    return _checked(value, fields)


def _checked(value: Json, fields: dict[str, type]) -> Json:
    """Compare with the fields that may be written, strictly."""
    for name, item in value.items():
        kind = fields.get(name)
        if kind is None:
            raise _bad(f"Invalid property '{name}'.")
        if not isinstance(item, kind):
            raise _bad(f"The property '{name}' must be of the type {kind.__name__}.")
        if isinstance(item, str) and len(item) > LENGTHS.get(name, len(item)):
            raise _bad(f"Invalid value specified for property '{name}': it is too long.")
    if value.get("signInAudience", AUDIENCES[0]) not in AUDIENCES:
        raise _bad("Invalid value specified for property 'signInAudience'.")
    tags = value.get("tags") or []
    if not all(isinstance(tag, str) and 0 < len(tag) <= 256 for tag in tags) or len(set(tags)) != len(tags):
        raise _bad("Invalid value specified for property 'tags'.")
    return value


def _with_name(body: Json) -> Json:
    if not body.get("displayName"):
        raise _bad("A value is required for property 'displayName' of resource 'Application'.")
    return body


def _time(name: str, text: str) -> datetime.datetime:
    found = TIME.fullmatch(text)
    if found is None:
        raise _bad(f"Cannot convert the literal '{text}' of '{name}' to the expected type 'Edm.DateTimeOffset'.")
    return datetime.datetime.fromisoformat(found.group(1)).replace(tzinfo=datetime.timezone.utc)


def _years_after(start: datetime.datetime, years: int) -> datetime.datetime:
    return start + datetime.timedelta(days=365 * years + years // 4)


# -- queries -----------------------------------------------------------------------------------------------------------


def _check_query(request: Request, *allowed: str) -> None:
    unknown = sorted(set(request.args) - set(allowed))
    if unknown:
        raise _bad(f"The query parameter '{unknown[0]}' is not supported here.")


def _shown(request: Request, item: Json) -> Response:
    _check_query(request, "$select")
    return json_response(_selected(request, item))


def _selected(request: Request, item: Json) -> Json:
    wanted = request.args.get("$select")
    if wanted is None:
        return item
    names = wanted.split(",")
    unknown = [name for name in names if name not in item]
    if unknown:
        raise _bad(f"Could not find a property named '{unknown[0]}'.")
    return {name: item[name] for name in names}


def _listed(request: Request, items: Iterable[Application | Principal], kind: type) -> Response:
    _check_query(request, "$select", "$filter", "$top", "$skiptoken")
    _selected(request, dict.fromkeys(READABLE[kind]))
    fits = _filter(request.args.get("$filter"))
    found = [body for item in items if item.is_known for body in [item.render()] if fits(body)]
    top, start = request.args.get("$top", str(PAGE)), request.args.get("$skiptoken", "0")
    if not top.isdigit() or not 1 <= int(top) <= 999:
        raise _bad("Invalid page size specified. Must be between 1 and 999 inclusive.")
    if not start.isdigit():
        raise _bad("The skip token is malformed.")
    end = int(start) + int(top)
    body: Json = {"value": [_selected(request, item) for item in found[int(start) : end]]}
    if end < len(found):
        others = [f"{name}={value}" for name, value in request.args.items() if name != "$skiptoken"]
        query = "&".join([*others, f"$skiptoken={end}"])
        body["@odata.nextLink"] = f"{request.host_url.rstrip('/')}{request.path}?{query}"
    return json_response(body)


def _filter(text: str | None) -> Callable[[Json], bool]:
    """Return the filter that a query means: one comparison, as much as the collection and its tests need."""
    if text is None:
        return lambda _item: True
    equals, tagged = EQUALS.fullmatch(text), TAGGED.fullmatch(text)
    if equals is not None:
        name, value = equals.group(1), equals.group(2).replace("''", "'")
        return lambda item: bool(item.get(name) == value)
    if tagged is not None:
        tag = tagged.group(2).replace("''", "'")
        return lambda item: tag in item["tags"]
    raise _bad(f"Invalid filter clause: '{text}'.")
