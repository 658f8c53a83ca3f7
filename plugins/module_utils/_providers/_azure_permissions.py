# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Ask Azure what the caller may do, without doing it (Microsoft.Authorization/permissions)."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._permissions import Findings, Gap, split_optional
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _azure_rights as rights
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_graph import scope_of
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_session import (
    AzureSession,
    NotFoundError,
)

API = "2022-04-01"
PATH = "providers/Microsoft.Authorization/permissions"

NOTE = (
    "Deny assignments, Azure Policy and conditions of role assignments are not in Azure's answer. In a cluster without "
    "Azure RBAC, Kubernetes' own roles decide what is allowed inside it, and they were not looked at."
)

Permissions = t.Sequence[t.Mapping[str, t.Any]]


def look(options: t.Mapping[str, t.Any], roles: t.Sequence[str]) -> Findings:
    """Return what the caller lacks for these roles. Raises ProviderError, ValueError for options that are wrong."""
    session = AzureSession(options)
    group = options["resource_group"]
    where, held = _on_group(session, group)
    needed = [right for role in roles for right in rights.RIGHTS[role]]
    found = split_optional(needed, lambda right: rights.holds(held, right), where)
    if "deployer" in roles:
        found = _with_quotas(session, found)
    if "identities" in roles:
        found = _with_graph(session, found, scope_of(options.get("graph_endpoint")))
    return dataclasses.replace(found, identity=session.identity, notes=(*found.notes, NOTE))


def _on_group(session: AzureSession, group: str) -> tuple[str, Permissions]:
    """Return what may be done on the resource group, or else on the subscription in which it has to be made."""
    try:
        found = session.rest_list(f"ask what may be done in {group}", f"resourceGroups/{group}/{PATH}", API)
    except NotFoundError:
        return f"the subscription (there is no resource group {group} yet)", _on_subscription(session)
    return f"the resource group {group}", found


def _on_subscription(session: AzureSession) -> Permissions:
    return session.rest_list(f"ask what may be done in the subscription {session.subscription}", PATH, API)


def _with_quotas(session: AzureSession, found: Findings) -> Findings:
    """Add what only some deployers need, in the subscription."""
    (right,) = rights.ELSEWHERE["deployer_quotas"]
    held: Permissions
    try:
        held = _on_subscription(session)
    except ProviderError:
        # Who has nothing in the subscription may not even ask about it.
        held = ()
    extra = split_optional([right], lambda item: rights.holds(held, item), "the subscription")
    return dataclasses.replace(found, checked=found.checked + extra.checked, notes=(*found.notes, *extra.notes))


def _with_graph(session: AzureSession, found: Findings, scope: str) -> Findings:
    """Add the permission of Microsoft Graph, which Azure Resource Manager does not know."""
    where = "Microsoft Graph"
    try:
        held = rights.graph_permissions(session.token(scope, f"log in to {where}"))
    except ProviderError as exc:
        return dataclasses.replace(found, unchecked=(*found.unchecked, f"{rights.GRAPH_PERMISSION} on {where}: {exc}"))
    if not held:
        # A person's or a managed identity's token may carry directory roles instead.
        text = f"{rights.GRAPH_PERMISSION} on {where}: the caller's token does not tell its permissions"
        return dataclasses.replace(found, unchecked=(*found.unchecked, text))
    gap = Gap(rights.GRAPH_PERMISSION, where, rights.GRAPH_PURPOSE)
    enough = {rights.GRAPH_PERMISSION, "Application.ReadWrite.All"} & held
    return dataclasses.replace(
        found, checked=found.checked + 1, missing=found.missing if enough else (*found.missing, gap)
    )
