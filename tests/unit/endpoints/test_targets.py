# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which provider a target has."""

from __future__ import annotations

import pytest

from ansible_collections.budgetguard.techops.plugins.plugin_utils._targets import describe


@pytest.mark.parametrize(
    ("groups", "error"),
    [
        pytest.param(["aws", "aws_europe", "nim_providers"], None, id="one"),
        pytest.param(["aws", "nim_providers", "nvidia"], "in the groups aws and nvidia", id="two"),
        pytest.param(["local", "nvidia"], "in the groups local and nvidia", id="a-docker-host-and-another"),
        pytest.param(["nim_providers"], "none of the groups aws, azure, gcp, local, nvidia", id="none"),
    ],
)
def test_the_group_says_it(groups: list[str], error: str | None) -> None:
    """It is one group, never the first that is found of several."""
    host = {"group_names": groups, "nim_target": {"region": "us-east-1"}}
    found = describe("target", {"hostvars": {"target": host}}, {})
    if error is None:
        assert (found["provider"], found["error"]) == ("aws", None)
    else:
        assert error in found["error"]
