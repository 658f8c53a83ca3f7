# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook permissions: what a person reads, and the exit status."""

from __future__ import annotations

from pathlib import Path

from tests.permissions.holder import Holder
from tests.playbooks.studio import Studio
from tests.sandbox import Sandbox


def test_each_target_says_what_is_missing_and_the_run_fails(running_sandbox: Sandbox, tmp_path: Path) -> None:
    running_sandbox.control.reset()
    holder = Holder(running_sandbox, "permissions_check", "readonly")
    studio = Studio(tmp_path, running_sandbox)
    studio.use_three_clouds()
    studio.use_nvidia()
    studio.targets["aws-us-east-1"].update(holder.options)
    before = running_sandbox.control.resources()

    lacking = studio.play("permissions", "-e", '{"nim_permissions_for": ["deployer", "identities"]}')
    assert (lacking.code, lacking.failed) == (2, ["aws-us-east-1", "azure-eastus"])
    line = "missing: ecs:CreateService on arn:aws:ecs:us-east-1:123456789012:service/budgetguard/*: one ECS service"
    assert line in lacking.messages
    assert "cannot be checked: Application.ReadWrite.OwnedBy on Microsoft Graph" in lacking.messages
    assert "0 missing, 0 that cannot be checked" in lacking.messages
    assert "what the keys may do is looked at by deploy" in lacking.messages
    assert holder.options["secret_key"] not in lacking.printed

    reading = studio.play("permissions", "-e", "nim_permissions_for=readonly").ok()
    assert set(reading.changed.values()) == {0}

    allowed = ("-e", "nim_permissions_allow_unchecked=true")
    studio.play("permissions", "-e", "nim_permissions_for=identities", "--limit", "azure", *allowed).ok()

    assert running_sandbox.control.resources() == before
