# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of looks at workstations, as workstation_info returns them. Nobody was looked at."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _audit, _audit_report

NOW = datetime.datetime(2026, 11, 28, 18, 0, tzinfo=datetime.timezone.utc)
GIB = 2**30

Look = dict[str, t.Any]


def look(**changes: t.Any) -> Look:
    """Return the look at a workstation with which all is well, with some of it changed."""
    config = {
        "status": "ok",
        "problem": None,
        "path": "/home/artist/ComfyUI/budgetguard/budgetguard_backend_config.json",
        "mode": "workstation:ws-1",
        "encryption_version": 2,
        "key_file": "current",
        "key_id": "8a1c891326b63c0d",
        "fingerprint": "36b4e7435742bf9ba35fbdc47cdb7e46",
        "installed_at": "2026-11-27T18:00:00Z",
        "credentials_status": {"aws": True},
        "endpoint_counts": {"endpoints": 5},
        "file_mode": "0600",
    }
    probe = {
        "python": {"version": "3.11.2", "executable": "/usr/bin/python3"},
        "system": {"name": "Rocky Linux 9.4"},
        "disk": {"free_bytes": 200 * GIB, "total_bytes": 500 * GIB, "path": "/home/artist/ComfyUI"},
        "gpu": {"gpus": [{"name": "NVIDIA GeForce RTX 4090", "memory_mib": 24564, "driver": "570.86.15"}]},
        "comfyui": {"version": "0.8.0", "commit": None},
        "companion": {"installed": False, "version": None},
        "nodes": {"installed": [{"node": "FLUX Dev", "container": "nim-flux-dev-rtx-4090"}]},
        "containers": {"containers": [{"name": "nim-flux-dev-rtx-4090", "state": "exited"}]},
    }
    return {
        "config": {**config, **changes.pop("config", {})},
        "wanted_mode": "workstation:ws-1",
        "endpoints": {"state": "same", "missing": [], "gone": [], "changed": [], "unread": []},
        "credentials": {"aws": {"state": "same", "key_id": "AKIA1", "created": "2026-11-01T08:00:00Z"}},
        "credentials_problem": None,
        "probe": {**probe, **changes.pop("probe", {})},
        "probe_problem": None,
        "clock_seconds": 0.0,
        **changes,
    }


def unreachable(message: str = "ssh: connect to host ws port 22: Connection timed out") -> Look:
    """Return the result of a task that did not reach a workstation."""
    return {"unreachable": True, "msg": f"Failed to connect to the host via ssh: {message}", "changed": False}


def kinds(result: t.Any, **limits: t.Any) -> list[str]:
    """Return the names of what is found in one look."""
    row = _audit.row_of("ws-1", result, NOW, _audit.Limits(**limits), {})
    return [finding["id"] for finding in row["findings"]]


def audit(looks: dict[str, Look], **options: t.Any) -> dict[str, t.Any]:
    """Return an audit."""
    return _audit_report.audit(looks, **{"now": NOW, "limits": _audit.Limits(), **options})
