# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Ask IAM which of the rights that are needed the caller has, without using them (iam:SimulatePrincipalPolicy)."""

from __future__ import annotations

import itertools
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import Findings, Gap
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ConflictError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _aws_rights as rights
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_policies import ArtistNames
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._aws_session import AwsSession

EXAMPLE = "permissions-check"
"""What stands for a name that is not known yet."""

NOTE = (
    "IAM's simulation knows policies, permissions boundaries and the organization's policies without conditions. "
    "Conditions in the organization's policies (SCP, RCP) and session policies of an assumed role are not in it."
)

_DENIED = ("AccessDenied", "AccessDeniedException")
_CALLER = re.compile(
    r"arn:(?P<partition>[a-z-]+):(?P<service>iam|sts)::(?P<account>\d{12}):(?P<kind>root|user|assumed-role|federated-user)"
    r"(?:/(?P<rest>.+))?"
)


def look(options: t.Mapping[str, t.Any], roles: t.Sequence[str]) -> Findings:
    """Return what the caller lacks for these roles. Raises ProviderError, ValueError for a wrong cluster name."""
    session = AwsSession(options)
    caller = session.call("sts", "get_caller_identity", "ask AWS who the caller is")
    names = ArtistNames(session.partition, caller["Account"], options["cluster"])
    needed = list(dict.fromkeys(grant for role in roles for grant in rights.grants_of(role, names)))
    try:
        source = _source(session, caller["Arn"])
        gaps = [gap for grant in needed for gap in _gaps(session, source, grant)]
    except _CannotTellError as exc:
        return Findings(caller["Arn"], unchecked=(str(exc),), notes=(NOTE,))
    return Findings(caller["Arn"], checked=_count(needed), missing=tuple(dict.fromkeys(gaps)), notes=(NOTE,))


class _CannotTellError(Exception):
    """IAM cannot be asked about this caller. The text says why, and what would help."""


def _count(grants: t.Iterable[rights.Grant]) -> int:
    return len({(action, resource) for grant in grants for action in grant.actions for resource in grant.resources})


# ---- who is asked about ---------------------------------------------------------------------------------------------


def _source(session: AwsSession, caller: str) -> str:
    """Return the ARN whose policies count for a caller. Raises _CannotTellError where there is none."""
    found = _CALLER.fullmatch(caller)
    if found is None or (found["kind"] == "user" and found["service"] == "sts"):
        raise _CannotTellError(f"nothing was checked: IAM cannot be asked about {caller}")
    if found["kind"] == "root":
        raise _CannotTellError(
            f"nothing was checked: {caller} is the account's root user, about whom IAM cannot be asked; "
            "use a role or a user with the policies of the collection instead"
        )
    if found["kind"] == "federated-user":
        raise _CannotTellError(
            f"nothing was checked: {caller} has the rights of a user within a session policy, about which IAM cannot "
            "be asked"
        )
    if found["kind"] == "user":
        return caller
    return _role_of(session, found)


def _role_of(session: AwsSession, caller: re.Match[str]) -> str:
    """Return the ARN of an assumed role. The session's own ARN does not tell the role's path, so IAM is asked."""
    name = caller["rest"].partition("/")[0]
    try:
        answer = session.call("iam", "get_role", f"read the role {name}", ("NoSuchEntity",), _DENIED, RoleName=name)
    except ConflictError:
        answer = None
    if answer is not None:
        return str(answer["Role"]["Arn"])
    return f"arn:{caller['partition']}:iam::{caller['account']}:role/{name}"


# ---- what is asked --------------------------------------------------------------------------------------------------


def _gaps(session: AwsSession, source: str, grant: rights.Grant) -> t.Iterator[Gap]:
    patterns = {_example(pattern, session.region): pattern for pattern in grant.resources}
    for context in _contexts(grant.condition, session.region):
        for result in _simulate(session, source, grant.actions, list(patterns), context):
            for resource, decision in _decisions(result):
                if decision["EvalDecision" if "EvalDecision" in decision else "EvalResourceDecision"] == "allowed":
                    continue
                where = _in_region(patterns.get(resource, resource), session.region)
                reason = "; ".join(filter(None, (_reason(decision, result), _told(context))))
                yield Gap(result["EvalActionName"], where, grant.purpose, reason or None)


def _simulate(
    session: AwsSession, source: str, actions: t.Sequence[str], resources: t.Sequence[str], context: t.Mapping[str, str]
) -> t.Iterator[dict[str, t.Any]]:
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    page: dict[str, t.Any] = {}
    while True:
        try:
            answer = session.call(
                "iam",
                "simulate_principal_policy",
                f"ask IAM what {source} may do",
                ("NoSuchEntity",),
                _DENIED,
                PolicySourceArn=source,
                ActionNames=sorted(actions),
                ResourceArns=sorted(resources),
                ContextEntries=entries,
                **page,
            )
        except ConflictError as exc:
            raise _CannotTellError(
                f"nothing was checked: the caller may not ask what it may do. Give it "
                f"policies/aws/permissions_check.json, or let somebody run this who has it ({exc})"
            ) from exc
        if answer is None:
            raise _CannotTellError(
                f"nothing was checked: IAM knows no {source}. A role with a path is found only with iam:GetRole, "
                "which is in policies/aws/permissions_check.json"
            )
        yield from answer["EvaluationResults"]
        if not answer.get("IsTruncated"):
            return
        page = {"Marker": answer["Marker"]}


def _decisions(result: t.Mapping[str, t.Any]) -> list[tuple[str, t.Mapping[str, t.Any]]]:
    """Return resource and decision of an action: those of single resources where IAM tells them."""
    single = result.get("ResourceSpecificResults") or ()
    if single:
        return [(item["EvalResourceName"], item) for item in single]
    return [(result.get("EvalResourceName", "*"), result)]


def _reason(decision: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any]) -> str | None:
    if (result.get("OrganizationsDecisionDetail") or {}).get("AllowedByOrganizations") is False:
        return "a policy of the organization does not allow it"
    for place in (decision, result):
        if (place.get("PermissionsBoundaryDecisionDetail") or {}).get("AllowedByPermissionsBoundary") is False:
            return "the permissions boundary does not allow it"
    told = decision.get("EvalDecision", decision.get("EvalResourceDecision"))
    return "a policy denies it" if told == "explicitDeny" else None


def _told(context: t.Mapping[str, str]) -> str | None:
    return f"with {', '.join(f'{key}={value}' for key, value in context.items())}" if context else None


def _contexts(condition: rights.Condition, region: str) -> t.Iterator[dict[str, str]]:
    """Return what the condition keys of a request may be, one dictionary for each combination."""
    keys = {key: values for named in condition.values() for key, values in named.items()}
    for chosen in itertools.product(*keys.values()):
        yield {key: _example(value, region) for key, value in zip(keys, chosen)}


def _in_region(pattern: str, region: str) -> str:
    parts = pattern.split(":", 5)
    return ":".join([*parts[:3], region, *parts[4:]]) if len(parts) == 6 and parts[3] == "*" else pattern


def _example(pattern: str, region: str) -> str:
    """Return an ARN that a pattern means. Anything else, such as C(*), is returned as it is."""
    where = _in_region(pattern, region)
    return where.replace("*", EXAMPLE) if where.startswith("arn:") else where
