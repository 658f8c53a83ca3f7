# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files go that playbooks write on the controller."""

from __future__ import annotations

import pytest

from tests.playbooks.studio import Studio


@pytest.mark.parametrize(
    ("playbook", "variable", "name"),
    [
        ("audit", "audit_json_file", "audit.json"),
        ("board", "nim_report_file", "report.html"),
        ("costs", "costs_report_file", "report.html"),
        ("deploy", "nim_report_file", "report.html"),
        ("health", "health_json_file", "health.json"),
        ("prices", "prices_csv_file", "prices.csv"),
        ("usage", "usage_json_file", "usage.json"),
    ],
)
def test_a_relative_path_starts_where_the_command_is_run(
    studio: Studio, playbook: str, variable: str, name: str
) -> None:
    """Ansible would start at the folder of the playbook, which is that of the collection."""
    run = studio.play(playbook, "-e", f"{variable}={name}")
    assert (studio.folder / name).is_file(), run.printed
    assert "Unable to find" not in run.printed
