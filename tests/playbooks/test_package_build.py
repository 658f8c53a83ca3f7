# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What package_build refuses before it asks anybody. Packages that are built need an engine: tests/docker."""

from __future__ import annotations

from tests.playbooks.studio import Studio


def test_nodes_on_the_command_line_are_a_text_with_commas(studio: Studio) -> None:
    package = studio.folder / "nims.zip"
    run = studio.play("package_build", "-e", f"nim_package_path={package}", "-e", "nim_package_nodes=Phi-3,Phi-33")
    assert "nodes[1] (Phi-33): There is no node 'Phi-33'" in run.messages, run.printed
    run = studio.play("package_build", "-e", f"nim_package_path={package}", "-e", "nim_package_nodes=")
    assert "nim_package_nodes is empty" in run.messages, run.printed
    assert not package.exists()
