# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tenant of Entra holds: applications with their secrets, service principals, and both after their deletion.

Something new is there at once for whoever would make it twice, and after `Defaults.directory_seconds` for all others.
"""

from __future__ import annotations

import datetime
import secrets
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.state import DEFAULTS, clock

Json = dict[str, Any]

SECRET_LENGTH = 40
SECRET_CHARACTERS = string.ascii_letters + string.digits + "-_.~"


def now() -> datetime.datetime:
    """Return the present time."""
    return datetime.datetime.now(datetime.timezone.utc)


def timestamp(moment: datetime.datetime) -> str:
    """Return a time as Microsoft Graph writes most of them."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class _Made:
    """Something that is not known everywhere from the start."""

    made: float = field(default_factory=clock, kw_only=True)

    @property
    def is_known(self) -> bool:
        """Whether all of Entra knows it by now."""
        return clock() - self.made >= DEFAULTS.directory_seconds


@dataclass
class Password(_Made):
    """A client secret."""

    display_name: str | None
    start: datetime.datetime
    end: datetime.datetime
    key_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(
        default_factory=lambda: "".join(secrets.choice(SECRET_CHARACTERS) for _number in range(SECRET_LENGTH)),
        repr=False,
    )

    def render(self) -> Json:
        """Return what can be read of it later."""
        return {
            "customKeyIdentifier": None,
            "displayName": self.display_name,
            "endDateTime": timestamp(self.end),
            "hint": self.secret[:3],
            "keyId": self.key_id,
            "secretText": None,
            # Graph tells this time with all that it has.
            "startDateTime": self.start.strftime("%Y-%m-%dT%H:%M:%S.%f") + "1Z",
        }


@dataclass
class Application(_Made):
    """An application. `body` are the fields that its owner has set."""

    body: Json
    unique_name: str | None = None
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    app_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime.datetime = field(default_factory=now)
    deleted: datetime.datetime | None = None
    passwords: list[Password] = field(default_factory=list)

    def render(self) -> Json:
        """Return all of its fields."""
        return {
            "id": self.object_id,
            "appId": self.app_id,
            "uniqueName": self.unique_name,
            "createdDateTime": timestamp(self.created),
            "deletedDateTime": timestamp(self.deleted) if self.deleted else None,
            "displayName": self.body["displayName"],
            "description": self.body.get("description"),
            "notes": self.body.get("notes"),
            "signInAudience": self.body.get("signInAudience", "AzureADMyOrg"),
            "tags": list(self.body.get("tags") or ()),
            "keyCredentials": [],
            "passwordCredentials": [item.render() for item in self.passwords if item.is_known],
        }


@dataclass
class Principal(_Made):
    """A service principal."""

    app_id: str
    display_name: str
    tenant_id: str
    body: Json
    object_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deleted: datetime.datetime | None = None

    @property
    def enabled(self) -> bool:
        """Whether anybody may log in with it."""
        return bool(self.body.get("accountEnabled", True))

    def render(self) -> Json:
        """Return all of its fields."""
        return {
            "id": self.object_id,
            "appId": self.app_id,
            "appDisplayName": self.display_name,
            "appOwnerOrganizationId": self.tenant_id,
            "accountEnabled": self.enabled,
            "deletedDateTime": timestamp(self.deleted) if self.deleted else None,
            "displayName": self.body.get("displayName") or self.display_name,
            "notes": self.body.get("notes"),
            "servicePrincipalType": "Application",
            "tags": list(self.body.get("tags") or ()),
        }


class Directory:
    """One tenant. Needs STATE_LOCK held."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.applications: dict[str, Application] = {}
        self.principals: dict[str, Principal] = {}
        #: By object id, for 30 days on a real tenant and until the reset here.
        self.deleted: dict[str, Application | Principal] = {}

    def application(self, **keys: str) -> Application | None:
        """Return the application with this id, app_id or unique_name, known everywhere or not."""
        return next((item for item in self.applications.values() if _matches(item, keys)), None)

    def principal(self, **keys: str) -> Principal | None:
        """Return the service principal with this id or app_id, known everywhere or not."""
        return next((item for item in self.principals.values() if _matches(item, keys)), None)

    def add_application(self, body: Json, unique_name: str | None) -> Application:
        """Make an application."""
        made = Application(body, unique_name)
        self.applications[made.object_id] = made
        return made

    def add_principal(self, application: Application, body: Json) -> Principal:
        """Make the service principal of an application."""
        made = Principal(application.app_id, application.body["displayName"], self.tenant_id, body)
        self.principals[made.object_id] = made
        return made

    def delete(self, item: Application | Principal) -> None:
        """Move something to the deleted items; an application takes its service principal along."""
        item.deleted = now()
        self.deleted[item.object_id] = item
        self.applications.pop(item.object_id, None)
        self.principals.pop(item.object_id, None)
        principal = self.principal(app_id=item.app_id) if isinstance(item, Application) else None
        if principal is not None:
            self.delete(principal)

    def restore(self, item: Application | Principal) -> None:
        """Take something back from the deleted items."""
        del self.deleted[item.object_id]
        item.deleted = None
        if isinstance(item, Application):
            self.applications[item.object_id] = item
        else:
            self.principals[item.object_id] = item

    def resources(self) -> dict[str, list[str]]:
        """Return the names of what exists."""
        names = {item.app_id: _name(item) for item in self.applications.values()}
        return {
            "applications": sorted(names.values()),
            "service_principals": sorted(names.get(item.app_id, item.app_id) for item in self.principals.values()),
            "client_secrets": sorted(
                f"{_name(item)}/{password.key_id}" for item in self.applications.values() for password in item.passwords
            ),
            "deleted_applications": sorted(
                _name(item) for item in self.deleted.values() if isinstance(item, Application)
            ),
        }


def _name(application: Application) -> str:
    return application.unique_name or str(application.body["displayName"])


def _matches(item: object, keys: Mapping[str, str]) -> bool:
    return all(str(getattr(item, name)).lower() == value.lower() for name, value in keys.items())
