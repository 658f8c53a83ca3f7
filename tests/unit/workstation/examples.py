# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values that the tests of workstations share. None of the keys and credentials opens anything."""

from __future__ import annotations

import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _envelope, _workstation

STUDIO_KEY = "Zk3v9Qw1-LmN8xTy7Rp5Ua2Sd4Fg6Hj0Kc_Bv"
OTHER_STUDIO_KEY = "nT7_yWq2Xe5Rb8Uv1Io4Pa6Ls9Dk3Fj0Gh-Zc"

KEY = _envelope.workstation_key(STUDIO_KEY, "ws-1")
PREVIOUS_KEY = _envelope.workstation_key(OTHER_STUDIO_KEY, "ws-1")
STRANGER_KEY = _envelope.workstation_key(OTHER_STUDIO_KEY, "ws-2")

CANARY = "canary-secret-4f1d"
CREDENTIALS = {
    "nvidia": {"NVIDIA API Key / NGC API Key": f"nvapi-{CANARY}"},
    "aws": {"Access Key ID": "AKIAEXAMPLE", "Secret Access Key": CANARY},
}

NOW = "2026-11-23T10:00:00Z"
LATER = "2026-11-24T10:00:00Z"


def endpoint(url: str = "https://nim.example/flux", target: str = "aws-1", **more: t.Any) -> dict[str, t.Any]:
    """Return one endpoint as the artists' document has it."""
    return {"url": url, "gpu_tier": "l40s", "target": target, **more}


def endpoints(*entries: dict[str, t.Any], node: str = "FLUX Dev", provider: str = "aws") -> _workstation.Endpoints:
    """Return the endpoints of one node on one provider."""
    return {node: {provider: list(entries or [endpoint()])}}


def wanted(**changes: t.Any) -> _workstation.Wanted:
    """Return what a config should say, with some of it changed."""
    values: dict[str, t.Any] = {
        "nim_endpoints": endpoints(),
        "credentials": CREDENTIALS,
        "key": KEY,
        "encryption_version": 2,
        "mode": "workstation:ws-1",
        "previous_keys": (PREVIOUS_KEY,),
    }
    return _workstation.Wanted(**{**values, **changes})


def config(now: str = NOW, **changes: t.Any) -> bytes:
    """Return a config file's bytes, with some of what it says changed."""
    return _workstation.update(None, wanted(**changes), now).content
