# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a project's IAM policy."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_policy as policies

ROLE = "roles/container.clusterViewer"
EMAIL = "ws-ws-01-562a786e@my-studio.iam.gserviceaccount.com"
ME = f"serviceAccount:{EMAIL}"
LEFTOVER = f"deleted:{ME}?uid=100000000000000000001"
OTHER = "user:lead@studio.example"
CONDITION = {"title": "day", "expression": "request.time.getHours() < 18"}


def policy(*bindings: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "version": 3,
        "etag": "BwX=",
        "auditConfigs": [{"service": "allServices"}],
        "bindings": [{"role": "roles/owner", "members": [OTHER]}, *bindings],
    }


def binding(*members: str, role: str = ROLE, **more: t.Any) -> dict[str, t.Any]:
    return {"role": role, "members": list(members), **more}


CASES = [
    pytest.param([], [binding(ME)], id="first"),
    pytest.param([binding(OTHER)], [binding(OTHER, ME)], id="beside-others"),
    pytest.param([binding(OTHER, ME)], [binding(OTHER, ME)], id="there-already"),
    pytest.param([binding(ME, condition=CONDITION)], [binding(ME, condition=CONDITION), binding(ME)], id="condition"),
    pytest.param([binding(LEFTOVER)], [binding(ME)], id="leftover-alone"),
    pytest.param([binding(LEFTOVER, OTHER, ME)], [binding(OTHER, ME)], id="leftover-beside"),
    pytest.param(
        [binding(LEFTOVER, role="roles/viewer")],
        [binding(LEFTOVER, role="roles/viewer"), binding(ME)],
        id="leftover-elsewhere",
    ),
]


@pytest.mark.parametrize(("before", "after"), CASES)
def test_grant_adds_one_member_and_keeps_the_rest(before: list[t.Any], after: list[t.Any]) -> None:
    given = policy(*before)
    kept = copy.deepcopy(given)
    result = policies.grant(given, ROLE, ME)
    assert result == policy(*after)
    assert given == kept
    assert policies.grant(result, ROLE, ME) == result


def test_grant_in_a_policy_without_bindings() -> None:
    assert policies.grant({"etag": "BwX="}, ROLE, ME) == {"etag": "BwX=", "bindings": [binding(ME)]}


def test_revoke_takes_one_role_without_condition() -> None:
    given = policy(binding(ME, OTHER), binding(ME, condition=CONDITION), binding(ME, role="roles/viewer"))
    after = policy(binding(OTHER), binding(ME, condition=CONDITION), binding(ME, role="roles/viewer"))
    assert policies.revoke(given, ROLE, ME) == after
    assert policies.revoke(after, ROLE, ME) == after
    assert policies.revoke({"etag": "BwX="}, ROLE, ME) == {"etag": "BwX="}


def test_forget_leaves_no_trace_of_one_and_all_of_others() -> None:
    namesake = f"deleted:serviceAccount:x{EMAIL}?uid=1"
    given = policy(
        binding(ME, LEFTOVER), binding(ME, OTHER, condition=CONDITION), binding(LEFTOVER, namesake, role="roles/viewer")
    )
    assert policies.forget(given, ME) == policy(
        binding(OTHER, condition=CONDITION), binding(namesake, role="roles/viewer")
    )


def test_roles_are_those_of_the_member_itself() -> None:
    given = policy(binding(ME), binding(ME, OTHER, role="roles/viewer"), binding(LEFTOVER, role="roles/editor"))
    assert policies.roles(given, ME) == [ROLE, "roles/viewer"]
    assert policies.roles({}, ME) == []
