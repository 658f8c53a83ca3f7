# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The identity of a workstation on AWS: an IAM user in the artists' group, or a role or user that it has already."""

from __future__ import annotations

import abc
import dataclasses
import functools
import re
import time
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import CLUSTER_TAG, MANAGED_TAG
from ansible_collections.budgetguard.techops.plugins.module_utils._identity import IdentityProvider, Minted, Observed
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError, ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_policies import (
    PATH,
    ArtistNames,
    artist_policy,
    policy_text,
    source_networks,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession
from ansible_collections.budgetguard.techops.plugins.module_utils._workstation_key import Key

WORKSTATION_TAG = "budgetguard:workstation"
MOST_VERSIONS = 5
"""How many versions of a managed policy IAM keeps."""

SPREAD_SECONDS = 30
"""How long is waited until all of IAM knows what was just made."""
LIST_SECONDS = 10
"""How long is waited until a key that should be there is listed."""
LIST_INTERVAL = 2.0

GONE = ("NoSuchEntity",)
NOT_YET = (*GONE, "EntityTemporarilyUnmodifiable", "ConcurrentModification")
"""What IAM answers while something new has not spread, or while others change the same thing."""

_PRINCIPAL = re.compile(
    r"arn:[a-z-]+:iam::(?P<account>\d{12}):(?P<kind>role|user)/(?P<path>(?:[^\s/]+/)*)(?P<name>[^\s/]+)"
)
_AWS_OWN_PATHS = ("aws-reserved/", "aws-service-role/")


def connect(options: t.Mapping[str, t.Any], workstation: str) -> IdentityProvider:
    """Open the account. Raises ValueError for options that cannot be meant."""
    principal = options["principal"]
    return AwsUser(options, workstation) if principal is None else AwsPrincipal(options, principal)


class _Artist(IdentityProvider):
    """What users and other principals have in common: one policy."""

    most_keys = 2

    def __init__(self, options: t.Mapping[str, t.Any]) -> None:
        self._cluster = objects.Names(options["cluster"], options["region"]).cluster
        self._present = options["state"] == "present"
        self._cidrs = source_networks(options["allowed_source_cidrs"])
        policy_text(artist_policy(ArtistNames("aws-us-gov", "0" * 12, self._cluster), self._cidrs))
        self._actions: dict[str, t.Callable[[], object]] = {}
        self.session = AwsSession(options)

    def _names(self, account: str) -> ArtistNames:
        return ArtistNames(self.session.partition, account, self._cluster)

    def _plan(self, step: str, action: t.Callable[..., object], *arguments: t.Any) -> None:
        """Remember how a step is carried out."""
        self._actions[step] = functools.partial(action, *arguments)

    def settle(self, seen: Observed) -> str:
        """Make what is missing, in the order in which one needs the other."""
        for step in seen.lacks:
            self._actions[step]()
        return self._identity()

    def remove(self, seen: Observed) -> None:
        """Remove everything but what others share."""
        for step in seen.leftovers:
            self._actions[step]()

    @abc.abstractmethod
    def _identity(self) -> str:
        """Return its name in the cloud, once it is there."""

    def _look_at_policy(self, names: ArtistNames) -> None:
        wanted = artist_policy(names, self._cidrs)
        doing = f"read the policy {names.policy}"
        answer = self.session.call("iam", "get_policy", doing, GONE, PolicyArn=names.policy_arn)
        if answer is None:
            self._plan(f"create policy {PATH}{names.policy}", self._create_policy, names)
            return
        version = answer["Policy"]["DefaultVersionId"]
        found = self.session.call(
            "iam", "get_policy_version", doing, GONE, PolicyArn=names.policy_arn, VersionId=version
        )
        if found is None or found["PolicyVersion"]["Document"] != wanted:
            self._plan(f"update policy {PATH}{names.policy}", self._update_policy, names)

    def _create_policy(self, names: ArtistNames) -> None:
        doing = f"create the policy {names.policy}"
        made = self._unless_there(
            doing,
            "create_policy",
            PolicyName=names.policy,
            Path=PATH,
            PolicyDocument=policy_text(artist_policy(names, self._cidrs)),
            Description=f"What workstations may do in the cluster {names.cluster}: start and stop NIMs.",
            Tags=objects.upper_tags({MANAGED_TAG: "true", CLUSTER_TAG: names.cluster}),
        )
        if not made:
            self._wait_for(f"{doing}, whose name is taken", "get_policy", PolicyArn=names.policy_arn)

    def _update_policy(self, names: ArtistNames) -> None:
        """Make the wanted text the policy's newest version. IAM keeps five; the oldest makes room."""
        doing = f"update the policy {names.policy}"
        policy = {"PolicyArn": names.policy_arn}
        versions = self.session.pages("iam", "list_policy_versions", doing, "Versions", **policy)
        spare = sorted((item for item in versions if not item["IsDefaultVersion"]), key=_age)
        for version in spare[: max(0, len(versions) - (MOST_VERSIONS - 1))]:
            self._change(doing, "delete_policy_version", GONE, **policy, VersionId=version["VersionId"])
        self.session.call(
            "iam",
            "create_policy_version",
            doing,
            conflicts=[*NOT_YET, "LimitExceeded"],
            **policy,
            PolicyDocument=policy_text(artist_policy(names, self._cidrs)),
            SetAsDefault=True,
        )

    def _attached(self, kind: str, name: str) -> list[str] | None:
        """Return the policies attached to a group, role or user; None if it is not there."""
        request = {f"{kind.title()}Name": name}
        doing = f"read the policies of the {kind} {name}"
        found: list[str] = []
        while True:
            answer = self.session.call("iam", f"list_attached_{kind}_policies", doing, GONE, **request)
            if answer is None:
                return None
            found += [item["PolicyArn"] for item in answer["AttachedPolicies"]]
            if not answer.get("IsTruncated"):
                return found
            request["Marker"] = answer["Marker"]

    def _attach(self, kind: str, name: str, names: ArtistNames) -> None:
        doing = f"attach the policy {names.policy} to the {kind} {name}"
        request = {f"{kind.title()}Name": name, "PolicyArn": names.policy_arn}
        self._change(doing, f"attach_{kind}_policy", **request)

    def _detach(self, kind: str, name: str, names: ArtistNames) -> None:
        doing = f"detach the policy {names.policy} from the {kind} {name}"
        request = {f"{kind.title()}Name": name, "PolicyArn": names.policy_arn}
        self._change(doing, f"detach_{kind}_policy", GONE, **request)

    def _change(self, doing: str, operation: str, missing: t.Sequence[str] = (), **request: t.Any) -> t.Any:
        """Change something, again while IAM does not know yet what it needs for it."""
        passing = [code for code in NOT_YET if code not in missing]
        return self.session.call_until(
            SPREAD_SECONDS, "iam", operation, doing, passing=passing, missing=missing, **request
        )

    def _unless_there(self, doing: str, operation: str, **request: t.Any) -> bool:
        """Make something that all share; return False if another run has made it meanwhile."""
        return self._change(doing, operation, ["EntityAlreadyExists"], **request) is not None

    def _wait_for(self, doing: str, operation: str, **request: t.Any) -> t.Any:
        """Read something that another run has just made."""
        try:
            return self._change(doing, operation, **request)
        except ConflictError as exc:
            raise ProviderError(str(exc)) from exc


class AwsUser(_Artist):
    """A user that is made for one workstation."""

    def __init__(self, options: t.Mapping[str, t.Any], workstation: str) -> None:
        super().__init__(options)
        self._workstation = workstation
        self._user = f"ws-{workstation}"
        self._stored: str | None = options["key_id"]
        self._account = ""

    def _identity(self) -> str:
        return f"arn:{self.session.partition}:iam::{self._account}:user{PATH}{self._user}"

    # ---- what there is -------------------------------------------------------------------------------------------

    def observe(self) -> Observed:
        """Read it: six calls for a user that is as it should be, one where there is none and none is wanted."""
        self._actions = {}
        user = self._read_user()
        if user is None and not self._present:
            return Observed(None)
        groups = [] if user is None else self._groups()
        if user is not None and not self._present:
            return self._observe_for_removal(user, groups)
        self._account = self._account_of(user)
        names = self._names(self._account)
        self._look_at_policy(names)
        self._look_at_group(names, groups)
        self._look_at_user(names, user, groups)
        lacks = tuple(self._actions)
        return Observed(None, lacks=lacks) if user is None else Observed(user["Arn"], self._keys(), lacks)

    def _account_of(self, user: t.Mapping[str, t.Any] | None) -> str:
        if user is not None:
            return str(user["Arn"].split(":")[4])
        return str(self.session.call("sts", "get_caller_identity", "ask which account this is")["Account"])

    def _read_user(self) -> dict[str, t.Any] | None:
        """Read the user. One of this name that is not ours is refused, whatever should be done with it."""
        answer = self.session.call("iam", "get_user", f"read the user {self._user}", GONE, UserName=self._user)
        if answer is None:
            return None
        user: dict[str, t.Any] = answer["User"]
        tags = objects.read_tags(user.get("Tags"))
        if (user["Path"], tags.get(MANAGED_TAG), tags.get(WORKSTATION_TAG)) != (PATH, "true", self._workstation):
            raise ProviderError(
                f"the user {user['Arn']} was not made here for this workstation, so it is not touched; "
                "remove it, or give the workstation another name"
            )
        if tags.get(CLUSTER_TAG) != self._cluster:
            raise ProviderError(
                f"the user {user['Arn']} belongs to the cluster {tags.get(CLUSTER_TAG)}; a workstation has one "
                "identity in an account, so remove that one first"
            )
        return user

    def _groups(self) -> list[dict[str, t.Any]]:
        doing = f"read the groups of the user {self._user}"
        return self.session.pages("iam", "list_groups_for_user", doing, "Groups", UserName=self._user)

    def _keys(self) -> tuple[Key, ...]:
        """Read the keys. A list may be older than a key that was just made, so a stored one is looked for again."""
        doing = f"read the keys of the user {self._user}"
        deadline = time.monotonic() + LIST_SECONDS
        while True:
            found = self.session.pages("iam", "list_access_keys", doing, "AccessKeyMetadata", UserName=self._user)
            keys = tuple(_key(item) for item in found)
            as_expected = self._stored is None or any(key.id == self._stored for key in keys)
            if as_expected or not self._present or time.monotonic() > deadline:
                return keys
            time.sleep(LIST_INTERVAL)

    def _look_at_group(self, names: ArtistNames, groups: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        attached = self._attached("group", names.group)
        if attached is None:
            self._plan(f"create group {PATH}{names.group}", self._create_group, names)
        else:
            joined = next((group for group in groups if group["GroupName"] == names.group), None)
            _refuse_foreign_group(joined or self._read_group(names))
        if names.policy_arn not in (attached or ()):
            step = f"attach policy {names.policy} to group {names.group}"
            self._plan(step, self._attach, "group", names.group, names)

    def _look_at_user(
        self,
        names: ArtistNames,
        user: t.Mapping[str, t.Any] | None,
        groups: t.Sequence[t.Mapping[str, t.Any]],
    ) -> None:
        if user is None:
            self._plan(f"create user {PATH}{self._user}", self._create_user, names)
        elif user.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") != names.policy_arn:
            self._plan(f"limit user {self._user} to policy {names.policy}", self._limit_user, names)
        if all(group["GroupName"] != names.group for group in groups):
            self._plan(f"put user {self._user} into group {names.group}", self._join, names)

    def _observe_for_removal(self, user: t.Mapping[str, t.Any], groups: t.Sequence[t.Mapping[str, t.Any]]) -> Observed:
        for name in sorted(group["GroupName"] for group in groups):
            self._plan(f"take user {self._user} out of group {name}", self._leave, name)
        self._plan(f"delete user {PATH}{self._user}", self._delete_user)
        return Observed(user["Arn"], self._keys(), leftovers=tuple(self._actions))

    # ---- changes ---------------------------------------------------------------------------------------------------

    def _read_group(self, names: ArtistNames) -> dict[str, t.Any]:
        doing = f"read the group {names.group}"
        group: dict[str, t.Any] = self._wait_for(doing, "get_group", GroupName=names.group, MaxItems=1)["Group"]
        return group

    def _create_group(self, names: ArtistNames) -> None:
        doing = f"create the group {names.group}"
        if not self._unless_there(doing, "create_group", GroupName=names.group, Path=PATH):
            _refuse_foreign_group(self._read_group(names))

    def _create_user(self, names: ArtistNames) -> None:
        tags = {MANAGED_TAG: "true", CLUSTER_TAG: names.cluster, WORKSTATION_TAG: self._workstation}
        self.session.call_until(
            SPREAD_SECONDS,
            "iam",
            "create_user",
            f"create the user {self._user}",
            passing=NOT_YET,
            conflicts=["EntityAlreadyExists"],
            UserName=self._user,
            Path=PATH,
            PermissionsBoundary=names.policy_arn,
            Tags=objects.upper_tags(tags),
        )

    def _limit_user(self, names: ArtistNames) -> None:
        self._change(
            f"limit the user {self._user} to the policy {names.policy}",
            "put_user_permissions_boundary",
            UserName=self._user,
            PermissionsBoundary=names.policy_arn,
        )

    def _join(self, names: ArtistNames) -> None:
        doing = f"put the user {self._user} into the group {names.group}"
        self._change(doing, "add_user_to_group", GroupName=names.group, UserName=self._user)

    def _leave(self, group: str) -> None:
        doing = f"take the user {self._user} out of the group {group}"
        self._change(doing, "remove_user_from_group", GONE, GroupName=group, UserName=self._user)

    def _delete_user(self) -> None:
        self.session.call(
            "iam",
            "delete_user",
            f"delete the user {self._user}",
            GONE,
            conflicts=["DeleteConflict", *NOT_YET],
            UserName=self._user,
        )

    def mint(self, identity: str) -> Minted:
        """Make a key. Where the answer to an earlier try was lost, its key is in the way: that is a conflict."""
        answer = self.session.call_until(
            SPREAD_SECONDS,
            "iam",
            "create_access_key",
            f"create a key for the user {self._user}",
            passing=NOT_YET,
            conflicts=["LimitExceeded"],
            UserName=self._user,
        )["AccessKey"]
        fields = {"Access Key ID": answer["AccessKeyId"], "Secret Access Key": answer["SecretAccessKey"]}
        return Minted(_key(answer), fields)

    def delete_key(self, identity: str, key_id: str) -> None:
        """Delete a key."""
        doing = f"delete the key {key_id} of the user {self._user}"
        self._change(doing, "delete_access_key", GONE, UserName=self._user, AccessKeyId=key_id)


@dataclasses.dataclass(frozen=True)
class _Principal:
    arn: str
    account: str
    kind: str
    name: str


class AwsPrincipal(_Artist):
    """A role or user that the workstation has already. It gets the policy and nothing else."""

    def __init__(self, options: t.Mapping[str, t.Any], principal: str) -> None:
        self._principal = _read_principal(principal, options["cluster"])
        super().__init__(options)

    def _identity(self) -> str:
        return self._principal.arn

    def observe(self) -> Observed:
        """Read it: four calls for one that is as it should be."""
        self._actions = {}
        mine = self._principal
        names = self._names(mine.account)
        if not self._is_there():
            return Observed(None)
        attached = names.policy_arn in (self._attached(mine.kind, mine.name) or ())
        if not self._present:
            if attached:
                step = f"detach policy {names.policy} from {mine.kind} {mine.name}"
                self._plan(step, self._detach, mine.kind, mine.name, names)
            return Observed(mine.arn, leftovers=tuple(self._actions))
        self._look_at_policy(names)
        if not attached:
            step = f"attach policy {names.policy} to {mine.kind} {mine.name}"
            self._plan(step, self._attach, mine.kind, mine.name, names)
        return Observed(mine.arn, lacks=tuple(self._actions))

    def _is_there(self) -> bool:
        """Read the principal. IAM is asked by name, so another path or account would not be noticed otherwise."""
        mine = self._principal
        request = {f"{mine.kind.title()}Name": mine.name}
        answer = self.session.call("iam", f"get_{mine.kind}", f"read the {mine.kind} {mine.name}", GONE, **request)
        if answer is None:
            if self._present:
                raise ProviderError(f"principal is {mine.arn}, but there is no {mine.kind} {mine.name} in this account")
            return False
        found = answer[mine.kind.title()]["Arn"]
        if found != mine.arn:
            raise ProviderError(f"principal is {mine.arn}, but the {mine.kind} {mine.name} of this account is {found}")
        return True

    def mint(self, identity: str) -> Minted:
        """Refuse: such an identity has its own way to log in."""
        raise ProviderError(f"{identity} is not one that keys are made for")

    def delete_key(self, identity: str, key_id: str) -> None:
        """Refuse: its keys are somebody else's."""
        raise ProviderError(f"the keys of {identity} are not managed here")


def _read_principal(arn: str, cluster: str) -> _Principal:
    found = _PRINCIPAL.fullmatch(arn)
    if found is None:
        raise ValueError(
            f"principal is {arn!r}; it must be the ARN of a role or user, for example "
            "arn:aws:iam::111122223333:role/studio/ws-01"
        )
    if found["path"].startswith(_AWS_OWN_PATHS):
        raise ValueError(
            f"principal is {arn!r}, a role that only AWS changes; for IAM Identity Center name the policy "
            f"{PATH}{cluster}-artist as a customer managed policy in the permission set instead"
        )
    return _Principal(arn, found["account"], found["kind"], found["name"])


def _refuse_foreign_group(group: t.Mapping[str, t.Any]) -> None:
    if group["Path"] != PATH:
        raise ProviderError(
            f"the group {group['Arn']} was not made here, so nobody is put into it; rename or remove it"
        )


def _key(item: t.Mapping[str, t.Any]) -> Key:
    return Key(item["AccessKeyId"], item["CreateDate"], item["Status"] == "Active")


def _age(version: t.Mapping[str, t.Any]) -> int:
    """Return the number in a version's name; times may be the same."""
    return int(version["VersionId"].removeprefix("v"))
