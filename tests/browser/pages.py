# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages with workstations of all kinds, for tests and for pictures."""

from __future__ import annotations

import random
import typing as t

from tests.unit.audit.looks import GIB, audit, look, unreachable

GPUS = ("NVIDIA GeForce RTX 4090", "NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX A5000")


def studio(count: int, seed: int = 7) -> dict[str, dict[str, t.Any]]:
    """Return looks at so many workstations, most of which are well."""
    chance = random.Random(seed)
    return {f"ws-{number:03d}": _one(f"ws-{number:03d}", chance) for number in range(1, count + 1)}


def _one(name: str, chance: random.Random) -> dict[str, t.Any]:
    gpu = {"name": chance.choice(GPUS), "memory_mib": 24564, "driver": chance.choice(["570.86.15", "550.144.03"])}
    days = chance.randint(1, 27)
    well = look(
        wanted_mode=f"workstation:{name}",
        config={"mode": f"workstation:{name}", "installed_at": f"2026-11-{days:02d}T09:00:00Z"},
        probe={
            "gpu": {"gpus": [gpu]},
            "disk": {"free_bytes": chance.randint(25, 900) * GIB, "total_bytes": 999 * GIB, "path": "/home"},
            "comfyui": {"version": chance.choice(["0.8.0", "0.8.0", "0.3.64"]), "commit": None},
        },
    )
    config = {"status": "missing", "mode": None, "endpoint_counts": None, "installed_at": None}
    nothing = {"credentials": {"aws": {"state": "unknown"}}, "endpoints": {"state": "unchecked"}}
    endpoints = {"state": "different", "missing": ["FLUX Dev on aws-us-east-1 (l40s)"], "gone": [], "changed": []}
    disk = {"free_bytes": 3 * GIB, "total_bytes": 500 * GIB, "path": "/home/artist/ComfyUI"}
    kinds: tuple[tuple[float, dict[str, t.Any]], ...] = (
        (0.03, unreachable()),
        (0.05, unreachable("Connection timed out during banner exchange")),
        (0.08, {**well, **nothing, "config": {**well["config"], **config}}),
        (0.11, {**well, "endpoints": endpoints}),
        (0.13, {**well, "probe": {**well["probe"], "disk": disk}}),
        (0.15, {**well, "credentials": {"aws": {"state": "revoked", "revoked": "2026-11-20", "key_id": "AKIA1"}}}),
        (0.17, {**well, "probe": None, "probe_problem": "There is no Python on it."}),
    )
    drawn = chance.random()
    return next((found for below, found in kinds if drawn < below), well)


def tab(count: int = 60) -> dict[str, t.Any]:
    """Return the audit's tab of a studio, a day after the last audit."""
    before = audit(studio(count, seed=8))["document"]
    previous = {**before, "generated_at": "2026-11-27T18:00:00Z"}
    return t.cast(dict[str, t.Any], audit(studio(count), previous=previous)["tab"])
