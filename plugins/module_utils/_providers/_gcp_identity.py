# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The identity of a workstation on Google Cloud: a service account with a key, or a principal that it has already.

What it may do has two parts: a role in the project, which lets it log in to the cluster and no more, and a RoleBinding
in the cluster to the Role for artists. GKE asks Kubernetes' RBAC first and IAM second
(https://cloud.google.com/kubernetes-engine/docs/how-to/role-based-access-control), so the role in the project must be
one without rights inside of clusters.
"""

from __future__ import annotations

import abc
import base64
import dataclasses
import functools
import hashlib
import random
import re
import time
import typing as t
from datetime import datetime, timezone

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import GCP_IDENTITY
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IdentityProvider, Minted, Observed
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_policy as policies
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_artist import (
    ArtistBinding,
    ClusterClosedError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_objects import (
    ARTISTS_ROLE,
    KubeSettings,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import GcpCloud
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import Key

VIEWER: str = GCP_IDENTITY["project_role"]["default"]
"""The smallest of Google's roles with ``container.clusters.get``, without which GKE lets nobody in."""

SPREAD_SECONDS = 90.0
"""How long is waited until all of IAM knows what was just made. Google says that it is about a minute."""
POLICY_SECONDS = 240.0
"""How long is tried to change the project's policy while others change it, too: one of them gets through at a time."""
LIST_SECONDS = 10.0
"""How long is waited until a key that should be there is listed."""
LIST_INTERVAL = 2.0

_CUSTOM_ROLE = re.compile(r"(?:projects|organizations)/[A-Za-z0-9.:-]+/roles/[A-Za-z0-9_.]{3,64}")
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com")
_FEDERATED = re.compile(r"principal://iam\.googleapis\.com/[^\s?#]+/subject/[^\s?#]+")
_KEYS_FORBIDDEN = re.compile(r"constraints/iam\.[\w.]*ServiceAccountKeyCreation|Key creation is not allowed")
_TOO_MANY_KEYS = re.compile(r"Precondition check failed|Maximum number of keys")
_NO_SUCH_MEMBER = re.compile(r"does not exist", re.IGNORECASE)
_PROJECT_OF = re.compile(r".*@|(?:\.iam)?\.gserviceaccount\.com$")
"""What is around the project in the email of a service account."""
_GOOGLES_OWN = ("developer", "appspot")
"""Where the email of a service account says nothing about its project."""
_WITHOUT_END = "9999-"
"""How the end of a key begins that has none."""

_ADVICE = (
    "The account needs the roles Service Account Admin, Service Account Key Admin and Project IAM Admin in the project "
    "(roles/iam.serviceAccountAdmin, roles/iam.serviceAccountKeyAdmin, roles/resourcemanager.projectIamAdmin)"
)

Change = t.Callable[[policies.Policy], policies.Policy]
Result = t.TypeVar("Result")


def account_id(workstation: str) -> str:
    """Return the first part of a workstation's email: 14 to 29 characters, of which Google allows 6 to 30.

    A name may be too short or too long for that, so part of its hash is always there, which tells all of them apart.
    """
    return f"ws-{workstation[:17].rstrip('-')}-{_hash(workstation)}"


def connect(options: t.Mapping[str, t.Any], workstation: str) -> IdentityProvider:
    """Open the project. Raises ValueError for options that cannot be meant."""
    principal = options["principal"]
    return GcpAccount(options, workstation) if principal is None else GcpPrincipal(options, workstation, principal)


class _Artist(IdentityProvider):
    """What service accounts and other principals have in common: two rights."""

    most_keys = 10

    def __init__(self, options: t.Mapping[str, t.Any], binding: str) -> None:
        self.settings = GcpSettings.from_options(options)
        kube = KubeSettings.from_options(options)
        self._role = _check_role(options["project_role"])
        self._present = options["state"] == "present"
        self._place = f"{self.settings.location}/{self.settings.cluster}/{kube.namespace}"
        self._actions: dict[str, t.Callable[[], object]] = {}
        self._warnings: list[str] = []
        self.session = GcpSession(options)
        self._binding = ArtistBinding(GcpCloud(self.session, self.settings), kube, binding)
        self._policy_url = f"{self.session.resource_manager_url}/v3/projects/{self.session.project}"

    def settle(self, seen: Observed) -> str:
        """Make what is missing, in the order in which one needs the other."""
        for step in seen.lacks:
            self._actions[step]()
        return self._name()

    def remove(self, seen: Observed) -> None:
        """Remove the rights, then the identity itself if it was made here."""
        for step in seen.leftovers:
            self._actions[step]()

    @abc.abstractmethod
    def _name(self) -> str:
        """Return the email of the service account, or the principal."""

    @abc.abstractmethod
    def _member(self) -> str:
        """Return how the project's policy names it."""

    @abc.abstractmethod
    def _users(self) -> list[str]:
        """Return all names under which the cluster may know it."""

    def _plan(self, step: str, action: t.Callable[..., object], *arguments: t.Any) -> None:
        """Remember how a step is carried out."""
        self._actions[step] = functools.partial(action, *arguments)

    # ---- the cluster ---------------------------------------------------------------------------------------------

    def _look_at_cluster(self) -> None:
        """See whether the RoleBinding is there. A cluster that cannot be asked must not keep a key from being made."""
        step = f"bind {self._name()} to the Role {ARTISTS_ROLE} in the cluster {self._place}"
        try:
            if not self._binding.is_bound(self._users()):
                self._plan(step, lambda: self._binding.bind(self._users()))
        except ClusterClosedError as exc:
            self._warnings.append(
                f"{self._name()} could not be bound to the Role {ARTISTS_ROLE}, so it can start and stop no NIM until "
                f"another run has done that: the cluster {self._place} cannot be asked, for {exc}"
            )

    def _look_for_binding(self) -> None:
        try:
            if self._binding.exists():
                step = f"remove the RoleBinding {self._binding.name} from the cluster {self._place}"
                self._plan(step, self._binding.remove)
        except ClusterClosedError as exc:
            self._warnings.append(
                f"whether there is a RoleBinding {self._binding.name} is not known; it is of no use without the "
                f"identity, and another run removes it: the cluster {self._place} cannot be asked, for {exc}"
            )

    # ---- the project's policy ------------------------------------------------------------------------------------

    def _grant(self, policy: policies.Policy) -> policies.Policy:
        return policy if self._role is None else policies.grant(policy, self._role, self._member())

    def _look_at_policy(self) -> policies.Policy:
        """See whether the role in the project is there, and plan it otherwise. Returns the policy."""
        policy = self._read_policy()
        if self._grant(policy) != policy:
            step = f"give {self._name()} the role {self._role} in the project {self.session.project}"
            self._plan(step, self._change_policy, self._grant)
        return policy

    def _read_policy(self) -> policies.Policy:
        body = {"options": {"requestedPolicyVersion": policies.CONDITIONS_VERSION}}
        return self._call(
            f"read the IAM policy of {self.session.project}", "POST", f"{self._policy_url}:getIamPolicy", body
        )

    def _change_policy(self, change: Change) -> None:
        """Read the policy, change it, write it back with its etag; all of it again if somebody else was quicker."""
        doing = f"change the IAM policy of {self.session.project}"

        def read_and_write() -> None:
            policy = self._read_policy()
            wanted = change(policy)
            if wanted != policy:
                self._call(doing, "POST", f"{self._policy_url}:setIamPolicy", {"policy": dict(wanted)})

        def may_pass(exc: ProviderError) -> bool:
            # A new account is not known here at once.
            return isinstance(exc, ConflictError) or (_code(exc) == 400 and bool(_NO_SUCH_MEMBER.search(str(exc))))

        _again(POLICY_SECONDS, read_and_write, may_pass)

    # ---- calls ---------------------------------------------------------------------------------------------------

    def _call(self, doing: str, method: str, url: str, body: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        return self._ask(doing, method, url, body) or {}

    def _ask(
        self, doing: str, method: str, url: str, body: dict[str, t.Any] | None = None, missing: bool = False
    ) -> dict[str, t.Any] | None:
        """Make one call, None where ``missing`` is allowed and so it is. What is not allowed says who may."""
        try:
            return self.session.rest(doing, method, url, body, missing=missing)
        except ProviderError as exc:
            if _code(exc) == 403:
                raise ProviderError(f"{exc}. {_ADVICE}") from exc.__cause__
            raise

    def _read_account(self, email: str, project: str) -> dict[str, t.Any] | None:
        url = f"{self.session.iam_url}/v1/projects/{project}/serviceAccounts/{email}"
        return self._ask(f"read the service account {email}", "GET", url, missing=True)


class GcpAccount(_Artist):
    """A service account that is made for one workstation."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str) -> None:
        super().__init__(options, f"nim-artist-{workstation}")
        self._workstation = workstation
        self._stored: str | None = options["key_id"]
        project = self.session.project
        # Projects of an old form have a domain in their name, such as example.com:studio.
        domain, _colon, name = project.rpartition(":")
        self._email = f"{account_id(workstation)}@{f'{name}.{domain}' if domain else name}.iam.gserviceaccount.com"
        self._accounts_url = f"{self.session.iam_url}/v1/projects/{project}/serviceAccounts"
        self._mark = f"budgetguard:managed workstation={workstation} cluster={self._place}"
        self._unique_id = ""

    def _name(self) -> str:
        return self._email

    def _member(self) -> str:
        return policies.member_of(self._email)

    def _users(self) -> list[str]:
        """GKE knows it by its email, and by its number where a token was asked for without the scope userinfo.email.

        https://cloud.google.com/kubernetes-engine/docs/how-to/role-based-access-control#forbidden_error_for_service_accounts_on_vm_instances
        """
        return [self._email, self._unique_id]

    # ---- what there is -------------------------------------------------------------------------------------------

    def observe(self) -> Observed:
        """Read it: five calls for an account that is as it should be."""
        self._actions, self._warnings = {}, []
        account = self._own_account()
        self._unique_id = account["uniqueId"] if account else ""
        keys = self._keys() if account else ()
        name = self._email if account else None
        if not self._present:
            return self._observe_for_removal(name, keys)
        if account is None:
            step = f"create service account {self._email}"
            self._plan(step, self._create_account)
        self._warn_of_other_roles(self._look_at_policy())
        self._look_at_cluster()
        return Observed(name, keys, lacks=tuple(self._actions), warnings=tuple(self._warnings))

    def _own_account(self) -> dict[str, t.Any] | None:
        """Read the account. One of this name that is not ours is refused, whatever should be done with it."""
        account = self._read_account(self._email, self.session.project)
        if account is not None:
            self._check_account(account)
        return account

    def _check_account(self, account: t.Mapping[str, t.Any]) -> None:
        found = str(account.get("description", ""))
        ours = found.rpartition(" cluster=")[0]
        if ours != self._mark.rpartition(" cluster=")[0]:
            raise ProviderError(
                f"the service account {self._email} was not made here for this workstation, so it is not touched; "
                "remove it, or give the workstation another name"
            )
        if found != self._mark:
            raise ProviderError(
                f"the service account {self._email} belongs to the cluster {found.rpartition('=')[2]}, not to "
                f"{self._place}; a workstation has one identity in a project, so remove that one first"
            )
        if account.get("disabled") and self._present:
            raise ProviderError(
                f"somebody has switched the service account {self._email} off, so it is left as it is; switch it on "
                f"with `gcloud iam service-accounts enable {self._email}`, or remove it with state absent"
            )

    def _keys(self) -> tuple[Key, ...]:
        """Read the keys. A list may be older than a key that was just made, so a stored one is looked for again."""
        doing = f"read the keys of {self._email}"
        url = f"{self._accounts_url}/{self._email}/keys?keyTypes=USER_MANAGED"
        deadline = time.monotonic() + LIST_SECONDS
        while True:
            answer = self._ask(doing, "GET", url, missing=True) or {}
            keys = tuple(_key(item) for item in answer.get("keys", ()))
            as_expected = self._stored is None or any(key.id == self._stored for key in keys)
            if as_expected or not self._present or time.monotonic() > deadline:
                return keys
            time.sleep(LIST_INTERVAL)

    def _warn_of_other_roles(self, policy: policies.Policy) -> None:
        others = [role for role in policies.roles(policy, self._member()) if role != self._role]
        if others:
            self._warnings.append(
                f"{self._email} also has {', '.join(others)} in the project {self.session.project}. Every custom node "
                "in ComfyUI can use an artist's key, so take that away unless it is meant"
            )

    def _observe_for_removal(self, name: str | None, keys: tuple[Key, ...]) -> Observed:
        self._look_for_binding()
        policy = self._read_policy()
        if policies.forget(policy, self._member()) != policy:
            step = f"take all roles of {self._email} in the project {self.session.project} away"
            self._plan(step, self._change_policy, lambda found: policies.forget(found, self._member()))
        if name is not None:
            self._plan(f"delete service account {self._email}", self._delete_account)
        return Observed(name, keys, leftovers=tuple(self._actions), warnings=tuple(self._warnings))

    # ---- changes -------------------------------------------------------------------------------------------------

    def _create_account(self) -> None:
        doing = f"create the service account {self._email}"
        body = {
            "accountId": account_id(self._workstation),
            "serviceAccount": {"displayName": f"NIM workstation {self._workstation}", "description": self._mark},
        }
        try:
            account = self._call(doing, "POST", self._accounts_url, body)
        except ConflictError:
            account = self._account_of_others()
        self._unique_id = account["uniqueId"]

    def _account_of_others(self) -> dict[str, t.Any]:
        """Read the account that another run has just made. Google may say 403 before everybody knows of it."""

        def read() -> dict[str, t.Any]:
            url = f"{self._accounts_url}/{self._email}"
            return self._call(f"read the service account {self._email}", "GET", url)

        account = _again(SPREAD_SECONDS, read, lambda exc: _code(exc) in (403, 404))
        self._check_account(account)
        return account

    def _delete_account(self) -> None:
        doing = f"delete the service account {self._email}"
        self._ask(doing, "DELETE", f"{self._accounts_url}/{self._email}", missing=True)

    def mint(self, identity: str) -> Minted:
        """Make a key. Where answers to earlier tries were lost, their keys may be in the way: that is a conflict."""
        doing = f"create a key for {identity}"
        url = f"{self._accounts_url}/{identity}/keys"
        body = {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "keyAlgorithm": "KEY_ALG_RSA_2048"}
        try:
            answer = _again(SPREAD_SECONDS, lambda: self._call(doing, "POST", url, body), lambda exc: _code(exc) == 404)
        except ProviderError as exc:
            if _KEYS_FORBIDDEN.search(_said(exc)):
                raise ProviderError(_keys_forbidden(identity, exc)) from exc
            if _code(exc) in (400, 429) and _TOO_MANY_KEYS.search(str(exc)):
                raise ConflictError(f"{exc} (an account has {self.most_keys} keys at most)") from exc
            raise
        content = base64.b64decode(answer["privateKeyData"]).decode("utf-8")
        settings = self.settings
        fields = {
            "Project ID": self.session.project,
            "Service Account JSON": content,
            "Region": settings.region,
            "Zone": "" if settings.is_regional else settings.location,
        }
        return Minted(_key(answer), fields)

    def delete_key(self, identity: str, key_id: str) -> None:
        """Delete a key."""
        doing = f"delete the key {key_id} of {identity}"
        self._ask(doing, "DELETE", f"{self._accounts_url}/{identity}/keys/{key_id}", missing=True)


@dataclasses.dataclass(frozen=True)
class _Principal:
    name: str
    member: str
    project: str | None = None
    """Of a service account. Google says 403 instead of 404 where it is asked for one without its project."""


class GcpPrincipal(_Artist):
    """A service account or a federated identity that the workstation has already. It gets the rights, nothing else."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str, principal: str) -> None:
        self._principal = _read_principal(principal)
        super().__init__(options, f"nim-principal-{workstation}")
        self._unique_id: str | None = None

    def _name(self) -> str:
        return self._principal.name

    def _member(self) -> str:
        return self._principal.member

    def _users(self) -> list[str]:
        return [self._principal.name, *([self._unique_id] if self._unique_id else [])]

    def observe(self) -> Observed:
        """Read it: four calls at most for one that is as it should be."""
        self._actions, self._warnings = {}, []
        if not self._present:
            return self._observe_for_removal()
        if self._principal.project is not None:
            self._read_number(self._principal.project)
        self._look_at_policy()
        self._look_at_cluster()
        return Observed(self._name(), lacks=tuple(self._actions), warnings=tuple(self._warnings))

    def _read_number(self, project: str) -> None:
        """Read the number of a service account. In a project of somebody else that may not be allowed."""
        try:
            account = self._read_account(self._name(), project)
        except ProviderError as exc:
            if _code(exc) != 403:
                raise
            self._warnings.append(
                f"the number of {self._name()} may not be read, so it is bound by its email alone: what logs in with "
                "it has to ask for the scope https://www.googleapis.com/auth/userinfo.email"
            )
            return
        if account is None:
            raise ProviderError(f"principal is {self._name()}, but there is no such service account")
        self._unique_id = account["uniqueId"]

    def _observe_for_removal(self) -> Observed:
        self._look_for_binding()
        if self._role is not None and self._revoke(policy := self._read_policy()) != policy:
            step = f"take the role {self._role} in the project {self.session.project} from {self._name()}"
            self._plan(step, self._change_policy, self._revoke)
        return Observed(self._name(), leftovers=tuple(self._actions), warnings=tuple(self._warnings))

    def _revoke(self, policy: policies.Policy) -> policies.Policy:
        return policy if self._role is None else policies.revoke(policy, self._role, self._member())

    def mint(self, identity: str) -> Minted:
        """Refuse: such an identity has its own way to log in."""
        raise ProviderError(f"{identity} is not one that keys are made for")

    def delete_key(self, identity: str, key_id: str) -> None:
        """Refuse: its keys are somebody else's."""
        raise ProviderError(f"the keys of {identity} are not managed here")


def _read_principal(text: str) -> _Principal:
    if _ACCOUNT.fullmatch(text):
        name, _dot, domain = _PROJECT_OF.sub("", text).partition(".")
        project = f"{domain}:{name}" if domain else name
        return _Principal(text, policies.member_of(text), "-" if project in _GOOGLES_OWN else project)
    if _FEDERATED.fullmatch(text):
        return _Principal(text, text)
    raise ValueError(
        f"principal is {text!r}; it must be the email of a service account, for example "
        "ws-01@my-studio.iam.gserviceaccount.com, or a federated identity, for example "
        "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/studio/subject/ws-01"
    )


def _check_role(role: str | None) -> str | None:
    """Return the role to give in the project, None for none. Refuses Google's other ones: they reach into clusters."""
    if not role:
        return None
    if role != VIEWER and not _CUSTOM_ROLE.fullmatch(role):
        raise ValueError(
            f"project_role is {role!r}; it must be {VIEWER}, a role of your own such as "
            "projects/my-studio/roles/nimArtist with container.clusters.get and container.clusters.connect, or empty"
        )
    return role


def _keys_forbidden(identity: str, exc: ProviderError) -> str:
    constraint = re.search(r"constraints/iam\.[\w.]+", _said(exc))
    named = f" ({constraint[0]})" if constraint else ""
    return (
        f"an organisation policy forbids to make keys of service accounts{named}, so there is none for {identity}. "
        "Either set principal to an identity that the workstation has of its own, such as a service account of its "
        "Application Default Credentials or a subject of Workload Identity Federation, which needs no key; or have the "
        "administrators of the organisation except this project from the policy"
    )


def _again(seconds: float, action: t.Callable[[], Result], may_pass: t.Callable[[ProviderError], bool]) -> Result:
    """Do something, again for so many seconds while what stands in its way may pass, with longer and longer pauses."""
    deadline = time.monotonic() + seconds
    longest = 0.5
    while True:
        try:
            return action()
        except ProviderError as exc:
            if not may_pass(exc):
                raise
            if time.monotonic() > deadline:
                raise ProviderError(f"{exc}; tried for {seconds:.0f} s") from exc.__cause__
        time.sleep(random.uniform(0.1, longest))
        longest = min(longest * 1.5, 8.0)


def _code(exc: ProviderError) -> int | None:
    """Return the HTTP status of Google's answer; None where there was none."""
    return getattr(exc.__cause__, "code", None)


def _said(exc: ProviderError) -> str:
    """Return all that Google has answered, also what is not meant for people."""
    return f"{exc} {getattr(getattr(exc.__cause__, 'response', None), 'text', '')}"


def _key(item: t.Mapping[str, t.Any]) -> Key:
    end = str(item.get("validBeforeTime") or _WITHOUT_END)
    return Key(
        id=item["name"].rpartition("/")[2],
        created=_moment(item["validAfterTime"]),
        active=not item.get("disabled", False),
        expires=None if end.startswith(_WITHOUT_END) else _moment(end),
    )


def _moment(text: str) -> datetime:
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
