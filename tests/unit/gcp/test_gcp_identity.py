# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of identities on Google Cloud."""

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_identity as identity

FEDERATED = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/studio/subject/ws-01"


def test_names_of_accounts_are_ones_that_google_takes() -> None:
    names = ["a", "ws-01", "ws-1", "w" * 48, "w" * 47 + "x", "studio-lighting--workstation-01", "a-ca978112", "0"]
    made = [identity.account_id(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(6 <= len(name) <= 30 and name[0].isalpha() and "---" not in name for name in made)
    assert identity.account_id("ws-01") == "ws-ws-01-562a786e"


@pytest.mark.parametrize(
    ("text", "member", "project"),
    [
        ("ws@my-studio.iam.gserviceaccount.com", "serviceAccount:ws@my-studio.iam.gserviceaccount.com", "my-studio"),
        (
            "ws@studio.example.com.iam.gserviceaccount.com",
            "serviceAccount:ws@studio.example.com.iam.gserviceaccount.com",
            "example.com:studio",
        ),
        ("1-compute@developer.gserviceaccount.com", "serviceAccount:1-compute@developer.gserviceaccount.com", "-"),
        ("my-studio@appspot.gserviceaccount.com", "serviceAccount:my-studio@appspot.gserviceaccount.com", "-"),
        (FEDERATED, FEDERATED, None),
    ],
)
def test_principals_that_can_be_bound(text: str, member: str, project: str | None) -> None:
    found = identity._read_principal(text)
    assert (found.name, found.member, found.project) == (text, member, project)


@pytest.mark.parametrize(
    "text", ["", "ws-01", "user:a@b.example", "a@b.example", "principal://elsewhere/subject/a", f"{FEDERATED} x"]
)
def test_principals_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match="it must be the email of a service account"):
        identity._read_principal(text)


@pytest.mark.parametrize(
    ("role", "is_taken"),
    [
        ("roles/container.clusterViewer", True),
        ("projects/my-studio/roles/nimArtist", True),
        ("organizations/123456/roles/nim.artist", True),
        ("roles/container.developer", False),
        ("roles/owner", False),
        ("nimArtist", False),
    ],
)
def test_roles_that_reach_into_clusters_are_refused(role: str, is_taken: bool) -> None:
    if is_taken:
        assert identity._check_role(role) == role
        return
    with pytest.raises(ValueError, match=r"it must be roles/container\.clusterViewer"):
        identity._check_role(role)
