# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What a run can know about AWX around it.

A job that is sliced becomes a workflow job with one job for each slice, and each of them gets every n-th host of the
inventory and no others (AWX's docs/job_slicing.md; Inventory.get_script_data in awx/main/models/inventory.py). AWX does
not tell a job that it is a slice. But it tells the name of the workflow job around it, and the workflow job of a slice
has the name of the job template itself (UnifiedJobTemplate.create_unified_job copies it).
"""

from __future__ import annotations

import typing as t


def is_slice(variables: t.Mapping[str, t.Any]) -> bool:
    """Say whether this run is one slice of a job, so that hosts of the inventory are missing."""
    workflow = variables.get("awx_workflow_job_name")
    return bool(workflow) and workflow == variables.get("awx_job_template_name")
