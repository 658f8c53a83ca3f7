# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The identity of a workstation on Azure: an application with a service principal, or an identity that it has already.

It may do two things: fetch the address of one AKS cluster (an Azure role on the cluster), and look at and scale the
Deployments of one namespace (a RoleBinding in the cluster). Roles of Azure RBAC cannot tell a Deployment's scale from
its image, so the second is a Kubernetes Role. AKS knows service principals by their object ids
(azure.github.io/kubelogin/topics/sp.html), and evaluates RoleBindings also where Azure RBAC is on
(learn.microsoft.com/azure/aks/concepts-cluster-authorization).
"""

from __future__ import annotations

import abc
import functools
import hashlib
import re
import time
import typing as t
import uuid
from datetime import datetime, timedelta, timezone

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import CLUSTER_TAG, MANAGED_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IdentityProvider, Minted, Observed
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as kube_objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_graph import Graph, UncertainError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    AzureSession,
    NotFoundError,
    codes_of,
    status_of,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import AzureSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import ClusterView
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_artist import (
    ArtistBinding,
    ClusterClosedError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.azure import AzureCloud
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import Key

WORKSTATION_TAG = "budgetguard:workstation"
SUBSCRIPTION_TAG = "budgetguard:subscription"

CLUSTER_USER = "Azure Kubernetes Service Cluster User Role"
CLUSTER_USER_ID = "4abbcc35-e782-43d8-92c5-2d3f1bd2253f"
"""The built-in role that allows to list the credentials of a user of a cluster, and to read the cluster
(learn.microsoft.com/azure/role-based-access-control/built-in-roles/containers)."""

ROLES_API = "2022-04-01"
ROLES_FORBIDDEN = (
    "The deployer needs the role Role Based Access Control Administrator on the cluster; its condition may limit it to "
    f"assigning {CLUSTER_USER}."
)

SPREAD_SECONDS = 120.0
"""How long is waited until all of Entra and Azure knows what was just made. Half a minute is not unusual."""
SPREAD_INTERVAL = 3.0
LIST_SECONDS = 10.0
"""How long is waited until Entra shows what should be there, or no longer what was deleted."""
LIST_INTERVAL = 2.0

DEFAULT_LIFE_DAYS = 180
"""How long a secret lives where max_age_days says nothing. It is replaced two weeks before its end."""
GRACE_DAYS = 30
"""How much longer than max_age_days a secret lives, for workstations that were out of reach meanwhile."""
MOST_AGE_DAYS = 700
"""Entra's portal offers 24 months at most for a secret, and this together with the days of grace is just that."""

MINT_TRIES = 3

NOT_YET = frozenset({"NoBackingApplicationObject", "Request_ResourceNotFound", "ResourceNotFound"})
"""What Graph answers while an application that was just made is not known everywhere."""
NOT_YET_TEXT = "in the local tenant"
"""A part of Graph's refusal in the same case, where the deployer may work with its own applications only."""

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_NOBODY = "00000000-0000-0000-0000-000000000000"
"""Stands for a service principal that is yet to be made."""


def connect(options: t.Mapping[str, t.Any], workstation: str) -> IdentityProvider:
    """Log in. Raises ValueError for options that cannot be meant."""
    principal = options["principal"]
    return (
        AzureApplication(options, workstation) if principal is None else AzurePrincipal(options, workstation, principal)
    )


class _Cloud(AzureCloud):
    """The cluster, which is read once per look."""

    def __init__(self, session: AzureSession, settings: AzureSettings) -> None:
        super().__init__(session, settings)
        self._view: ClusterView | None = None

    def forget(self) -> None:
        """Read it anew the next time."""
        self._view = None

    def read(self) -> ClusterView:
        """Read the cluster."""
        if self._view is None:
            self._view = super().read()
        return self._view


class _Artist(IdentityProvider):
    """What both kinds of identity have in common: what they may do."""

    most_keys = 3
    """Entra has no such limit. It leaves room for one secret that was lost, besides the new and the old one."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str) -> None:
        settings = AzureSettings.from_options(options)
        kube_settings = kube_objects.KubeSettings(namespace=options["namespace"])
        self._settings = settings
        self._present = options["state"] == "present"
        self._workstation = workstation
        self._actions: dict[str, t.Callable[[], object]] = {}
        self._warnings: list[str] = []
        self.session = AzureSession(options)
        self._cloud = _Cloud(self.session, settings)
        self._binding = ArtistBinding(self._cloud, kube_settings, f"ws-{workstation}")
        self._bind_step = f"bind Role {kube_objects.ARTISTS_ROLE} of namespace {kube_settings.namespace} to workstation"
        self._unbind_step = f"unbind Role {kube_objects.ARTISTS_ROLE} of namespace {kube_settings.namespace}"
        self._scope = (
            f"/subscriptions/{self.session.subscription}/resourceGroups/{settings.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{settings.cluster}"
        )

    @abc.abstractmethod
    def _object_id(self) -> str:
        """Return the object id of the service principal, once there is one."""

    @abc.abstractmethod
    def _identity(self) -> str:
        """Return its name in the cloud, once it is there."""

    def _plan(self, step: str, action: t.Callable[..., object], *arguments: t.Any) -> None:
        """Remember how a step is carried out."""
        self._actions[step] = functools.partial(action, *arguments)

    def settle(self, seen: Observed) -> str:
        """Make what is missing, in the order in which one needs the other."""
        self._carry_out(seen.lacks)
        return self._identity()

    def remove(self, seen: Observed) -> None:
        """Remove everything that is the workstation's own."""
        self._carry_out(seen.leftovers)

    def _carry_out(self, steps: t.Iterable[str]) -> None:
        for step in steps:
            self._actions[step]()
            self.done = (*self.done, step)

    def _begin(self) -> None:
        self.done = ()
        self._actions = {}
        self._warnings = []
        self._cloud.forget()

    # ---- the rights ------------------------------------------------------------------------------------------------

    def _look_at_rights(self, object_id: str | None) -> None:
        """Plan what is missing of the rights. A cluster that cannot be asked is no reason not to make a key."""
        cluster = self._settings.cluster
        if self._cloud.read().exists and not (object_id and self._assignments(object_id, inherited=True)):
            self._plan(f"assign {CLUSTER_USER} on AKS cluster {cluster}", self._assign)
        try:
            if not self._binding.is_bound([object_id or _NOBODY]):
                self._plan(self._bind_step, self._bind)
        except ClusterClosedError as exc:
            self._warnings.append(
                f"the workstation may not start and stop NIMs of the AKS cluster {cluster} yet, or this was not looked "
                f"at: {exc}. Run again when that has changed"
            )

    def _look_at_leftover_rights(self, object_id: str | None) -> None:
        """Plan to take the rights away. Raises ProviderError where it cannot be seen that all of them will be gone."""
        if not self._cloud.read().exists:
            return
        for name in self._assignments(object_id, inherited=False) if object_id else ():
            step = f"remove {CLUSTER_USER} from AKS cluster {self._settings.cluster}"
            self._plan(step if step not in self._actions else f"{step} ({name})", self._unassign, name)
        try:
            if self._binding.exists():
                self._plan(self._unbind_step, self._binding.remove)
        except ClusterClosedError as exc:
            where = f"{self._binding.name} in the AKS cluster {self._settings.cluster}"
            raise ProviderError(f"cannot look for the RoleBinding {where}: {exc}") from exc

    def _assignments(self, object_id: str, inherited: bool) -> list[str]:
        """Return the names of the assignments of the role, on the cluster alone or also on what it is in."""
        cluster = self._settings.cluster
        found = self.session.rest_list(
            f"read who has the role {CLUSTER_USER} on the AKS cluster {cluster}",
            f"{self._below_subscription()}/providers/Microsoft.Authorization/roleAssignments",
            ROLES_API,
            f"principalId eq '{object_id}'",
            ROLES_FORBIDDEN,
        )
        return [
            item["name"]
            for item in found
            if item["properties"]["roleDefinitionId"].lower().endswith(f"/{CLUSTER_USER_ID}")
            and _covers(item["properties"]["scope"], self._scope, inherited)
        ]

    def _below_subscription(self) -> str:
        return self._scope.split("/", 3)[3]

    def _assign(self) -> None:
        """Assign the role. Its name is made of what it says, so that two runs cannot make two."""
        object_id = self._object_id()
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._scope}/{object_id}/{CLUSTER_USER_ID}".lower())
        role = f"/subscriptions/{self.session.subscription}/providers/Microsoft.Authorization/roleDefinitions"
        body = {
            "properties": {
                "roleDefinitionId": f"{role}/{CLUSTER_USER_ID}",
                "principalId": object_id,
                # With the type, Azure does not refuse one that it has not heard of yet.
                "principalType": "ServicePrincipal",
                "description": f"BudgetGuard: workstation {self._workstation}",
            }
        }
        path = f"{self._below_subscription()}/providers/Microsoft.Authorization/roleAssignments/{name}"
        doing = f"assign the role {CLUSTER_USER} on the AKS cluster {self._settings.cluster} to {object_id}"
        self._when_known(
            lambda: self.session.rest(doing, "PUT", path, ROLES_API, body, ROLES_FORBIDDEN),
            lambda exc: "PrincipalNotFound" in codes_of(exc),
        )

    def _unassign(self, name: str) -> None:
        path = f"{self._below_subscription()}/providers/Microsoft.Authorization/roleAssignments/{name}"
        doing = f"take the role {CLUSTER_USER} on the AKS cluster {self._settings.cluster} away"
        try:
            self.session.rest(doing, "DELETE", path, ROLES_API, forbidden=ROLES_FORBIDDEN)
        except NotFoundError:
            return

    def _bind(self) -> None:
        """Bind the Role. Where the cluster has gone to sleep since it was read, the next run does it."""
        try:
            self._binding.bind([self._object_id()])
        except ClusterClosedError as exc:
            raise ConflictError(f"cannot bind the Role {kube_objects.ARTISTS_ROLE}: {exc}") from exc

    def _when_known(self, call: t.Callable[[], t.Any], is_passing: t.Callable[[ProviderError], bool]) -> t.Any:
        """Make a call, again while Azure does not know yet what it needs for it."""
        deadline = time.monotonic() + SPREAD_SECONDS
        while True:
            try:
                return call()
            except ProviderError as exc:
                if not is_passing(exc) or time.monotonic() > deadline:
                    raise
            time.sleep(SPREAD_INTERVAL)


class AzureApplication(_Artist):
    """An application that is made for one workstation."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str) -> None:
        age = options["max_age_days"]
        if age is not None and age > MOST_AGE_DAYS:
            raise ValueError(f"max_age_days is {age}; on Azure it must be {MOST_AGE_DAYS} or less")
        super().__init__(options, workstation)
        self._lifetime = timedelta(days=DEFAULT_LIFE_DAYS if age is None else age + GRACE_DAYS)
        self._stored: str | None = options["key_id"]
        self._name = unique_name(self.session.subscription, self._settings.cluster, workstation)
        self._title = f"BudgetGuard workstation {workstation} ({self._settings.cluster})"
        self._tags = [
            f"{MANAGED_TAG}=true",
            f"{SUBSCRIPTION_TAG}={self.session.subscription.lower()}",
            f"{CLUSTER_TAG}={self._settings.cluster.lower()}",
            f"{WORKSTATION_TAG}={workstation}",
        ]
        self._graph = Graph(self.session, options["graph_endpoint"])
        self._app_id = ""
        self._principal: dict[str, t.Any] = {}

    def _object_id(self) -> str:
        return str(self._principal["id"])

    def _identity(self) -> str:
        return self._app_id

    # ---- what there is ---------------------------------------------------------------------------------------------

    def observe(self) -> Observed:
        """Read it: six calls for one that is as it should be."""
        self._begin()
        self._principal = {}
        application = self._read_application()
        if application is not None:
            self._app_id = application["appId"]
            self._principal = self._graph.principal(self._app_id) or {}
        if not self._present:
            return self._observe_for_removal(application)
        if application is None:
            self._plan(f"create application {self._name}", self._create_application)
        if not self._principal:
            self._plan(f"create service principal of {self._name}", self._create_principal)
        elif not self._principal.get("accountEnabled", True):
            self._warnings.append(f"the service principal of {self._name} was disabled, so nobody can log in with it")
        self._look_at_rights(self._principal.get("id"))
        lacks, warnings = tuple(self._actions), tuple(self._warnings)
        if application is None:
            return Observed(None, lacks=lacks, warnings=warnings)
        return Observed(self._app_id, _keys(application), lacks, warnings=warnings)

    def _read_application(self) -> dict[str, t.Any] | None:
        """Read the application. A read may be older than what was just made, so a stored secret is looked for again.

        One of this name that is not ours is refused, whatever should be done with it.
        """
        deadline = time.monotonic() + LIST_SECONDS
        while True:
            found = self._graph.application(self._name)
            has_stored = found is not None and any(key.id == self._stored for key in _keys(found))
            if has_stored or self._stored is None or not self._present or time.monotonic() > deadline:
                break
            time.sleep(LIST_INTERVAL)
        if found is not None and not set(self._tags) <= set(found.get("tags") or ()):
            raise ProviderError(
                f"the application {found['appId']} has the unique name {self._name}, but not the tags of one that was "
                f"made here for this workstation ({', '.join(self._tags)}), so it is not touched; put them back or "
                "remove it"
            )
        return found

    def _observe_for_removal(self, application: dict[str, t.Any] | None) -> Observed:
        try:
            self._look_at_leftover_rights(self._principal.get("id"))
        except ProviderError as exc:
            # Whatever is left names nobody once the service principal is gone, and a lost laptop cannot wait.
            self._warnings.append(f"{exc}. What is left of its rights is void; a later run tidies it up")
        if self._principal:
            self._plan(f"delete service principal of {self._name}", self._graph.delete_principal, self._app_id)
        if application is not None:
            self._plan(f"delete application {self._name}", self._delete_application)
        leftovers, warnings = tuple(self._actions), tuple(self._warnings)
        if application is None:
            return Observed(None, leftovers=leftovers, warnings=warnings)
        return Observed(self._app_id, _keys(application), leftovers=leftovers, warnings=warnings)

    # ---- changes ---------------------------------------------------------------------------------------------------

    def _create_application(self) -> None:
        body = {
            "displayName": self._title,
            "signInAudience": "AzureADMyOrg",
            "tags": self._tags,
            "notes": "Made by budgetguard.techops. Starts and stops NIMs for one workstation, and may do nothing else.",
        }
        try:
            made = self._graph.make_application(self._name, body)
        except ConflictError as exc:
            raise ConflictError(
                f"{exc}. If an application of this name was deleted in the last 30 days, remove it for good in the "
                "Entra admin center under App registrations, Deleted applications"
            ) from exc
        self._app_id = (made or self._wait_for(lambda: self._graph.application(self._name), "the application"))["appId"]

    def _create_principal(self) -> None:
        made = self._when_known(
            lambda: self._graph.make_principal(self._app_id, {"tags": [f"{MANAGED_TAG}=true", "HideApp"]}),
            lambda exc: bool(codes_of(exc) & NOT_YET) or NOT_YET_TEXT in str(exc),
        )
        self._principal = made or self._wait_for(
            lambda: self._graph.principal(self._app_id), "the service principal of the application"
        )

    def _wait_for(self, read: t.Callable[[], dict[str, t.Any] | None], what: str) -> dict[str, t.Any]:
        """Read something that another run has just made."""
        deadline = time.monotonic() + SPREAD_SECONDS
        while True:
            found = read()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise ProviderError(f"another run has made {what} {self._name}, but Microsoft Graph does not show it")
            time.sleep(SPREAD_INTERVAL)

    def _delete_application(self) -> None:
        """Delete it, and wait a moment until reads no longer show it."""
        self._graph.delete_application(self._app_id)
        deadline = time.monotonic() + LIST_SECONDS
        while self._graph.application(self._name) is not None and time.monotonic() < deadline:
            time.sleep(LIST_INTERVAL)

    def mint(self, identity: str) -> Minted:
        """Make a secret. Where an answer was lost, what it may have made is removed before the next try."""
        end = (datetime.now(timezone.utc) + self._lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"budgetguard {uuid.uuid4().hex[:12]}"
        rest = MINT_TRIES
        while True:
            rest -= 1
            try:
                made = self._when_known(
                    lambda: self._graph.add_password(identity, name, end), lambda exc: isinstance(exc, NotFoundError)
                )
            except UncertainError:
                self._remove_lost(identity, name)
                if not rest:
                    raise
            else:
                return Minted(_key(made), self._fields(identity, made["secretText"]))

    def _remove_lost(self, identity: str, name: str) -> None:
        """Remove secrets that were made without anybody getting to know them."""
        time.sleep(LIST_INTERVAL)
        application = self._graph.application(self._name) or {}
        for item in application.get("passwordCredentials") or ():
            if item.get("displayName") == name:
                self.delete_key(identity, item["keyId"])

    def _fields(self, app_id: str, secret: str) -> dict[str, str]:
        """Return the fields of the workstation's config."""
        fields = {
            "Subscription ID": self.session.subscription,
            "Tenant ID": str(self._principal["appOwnerOrganizationId"]),
            "Client ID (Application ID)": app_id,
            "Client Secret": secret,
            "Resource Group": self._settings.resource_group,
        }
        region = self._settings.region or self._cloud.read().location
        return {**fields, "Region": region} if region else fields

    def delete_key(self, identity: str, key_id: str) -> None:
        """Remove a secret. Graph answers 400 for one that is not there, so then it is looked for."""
        try:
            self._graph.remove_password(identity, key_id)
        except NotFoundError:
            return
        except ProviderError as exc:
            if status_of(exc) != 400:
                raise
            application = self._graph.application(self._name)
            if application is not None and any(key.id == key_id for key in _keys(application)):
                raise


class AzurePrincipal(_Artist):
    """A managed identity, or another service principal, that the workstation has already. It gets the rights alone."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str, principal: str) -> None:
        if not _GUID.fullmatch(principal):
            raise ValueError(
                f"principal is {principal!r}; it must be the object id (principal id) of a managed identity or service "
                "principal, for example 11111111-2222-3333-4444-555555555555"
            )
        super().__init__(options, workstation)
        self._principal_id = principal.lower()

    def _object_id(self) -> str:
        return self._principal_id

    def _identity(self) -> str:
        return self._principal_id

    def observe(self) -> Observed:
        """Read the rights: four calls where they are as they should be."""
        self._begin()
        if self._present:
            self._look_at_rights(self._principal_id)
            return Observed(self._principal_id, lacks=tuple(self._actions), warnings=tuple(self._warnings))
        self._look_at_leftover_rights(self._principal_id)
        return Observed(self._principal_id, leftovers=tuple(self._actions), warnings=tuple(self._warnings))

    def mint(self, identity: str) -> Minted:
        """Refuse: such an identity has its own way to log in."""
        raise ProviderError(f"{identity} is not one that secrets are made for")

    def delete_key(self, identity: str, key_id: str) -> None:
        """Refuse: its keys are somebody else's."""
        raise ProviderError(f"the secrets of {identity} are not managed here")


def unique_name(subscription: str, cluster: str, workstation: str) -> str:
    """Return the name by which an application is found again. A tenant may hold several studios' subscriptions."""
    place = hashlib.sha256(f"{subscription.lower()}/{cluster.lower()}".encode()).hexdigest()[:12]
    return f"budgetguard-ws-{workstation}-{place}"


def _covers(scope: str, cluster: str, inherited: bool) -> bool:
    """Say whether an assignment at a scope is one on the cluster; ``inherited`` takes those on what it is in, too."""
    found, wanted = scope.lower().rstrip("/"), cluster.lower()
    return found == wanted or (inherited and wanted.startswith(f"{found}/"))


def _keys(application: t.Mapping[str, t.Any]) -> tuple[Key, ...]:
    return tuple(_key(item) for item in application.get("passwordCredentials") or ())


def _key(item: t.Mapping[str, t.Any]) -> Key:
    return Key(item["keyId"], _time(item["startDateTime"]), expires=_time(item["endDateTime"]))


def _time(text: str) -> datetime:
    """Read a time of Graph, whose fractions of a second may have seven digits."""
    whole = text.partition(".")[0].rstrip("Z")
    return datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
