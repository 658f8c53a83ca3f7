# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _status


def deployment(node: str, state: str, **changes: t.Any) -> dict[str, t.Any]:
    return {
        "node": node,
        "serves": [node],
        "gpu_tier": "l40s",
        "state": state,
        "running": 1 if state == "running" else 0,
        "replicas": 1,
        "endpoint": None,
        "reason": None,
        **changes,
    }


TARGETS: list[dict[str, t.Any]] = [
    {
        "target": "aws-us-east-1",
        "read": True,
        "deployments": [
            deployment("Phi-3", "stopped"),
            deployment("FLUX Dev", "running", endpoint="https://nim.example.com/flux-dev-l40s"),
            deployment("Mixtral", "failed", reason="No machine of\n  this type is free.", gpu_tier="h100"),
            deployment("Llama 3", "starting", replicas=2, running=1),
        ],
    },
    {"target": "gcp-1", "read": False, "error": "The token has expired.", "deployments": []},
    {"target": "azure-1", "read": True, "deployments": []},
]


def test_table() -> None:
    assert _status.lines(TARGETS) == [
        "NODE      TARGET         TIER  STATE         ENDPOINT",
        "Mixtral   aws-us-east-1  h100  failed 0/1    -",
        "    why: No machine of this type is free.",
        "-         gcp-1          -     unreadable    -",
        "    why: The token has expired.",
        "Llama 3   aws-us-east-1  l40s  starting 1/2  -",
        "FLUX Dev  aws-us-east-1  l40s  running       https://nim.example.com/flux-dev-l40s",
        "Phi-3     aws-us-east-1  l40s  stopped       -",
        "4 NIMs: 1 failed, 1 starting, 1 running, 1 stopped. 1 target could not be read.",
    ]


def test_rows() -> None:
    rows = _status.rows(TARGETS)
    assert [(row["node"], row["state"]) for row in rows] == [
        ("Mixtral", "failed"),
        (None, "unreadable"),
        ("Llama 3", "starting"),
        ("FLUX Dev", "running"),
        ("Phi-3", "stopped"),
    ]
    assert rows[0] == {
        "node": "Mixtral",
        "target": "aws-us-east-1",
        "tier": "h100",
        "state": "failed",
        "running": 0,
        "replicas": 1,
        "endpoint": None,
        "reason": "No machine of\n  this type is free.",
    }


def test_order_does_not_depend_on_the_order_of_reading() -> None:
    assert _status.lines(TARGETS) == _status.lines(list(reversed(TARGETS)))


def test_nothing_there() -> None:
    assert _status.lines([]) == ["NODE  TARGET  TIER  STATE  ENDPOINT", "0 NIMs."]


def test_a_state_we_do_not_know_is_unknown() -> None:
    odd = {"target": "one", "read": True, "deployments": [deployment("FLUX Dev", "paused")]}
    assert _status.rows([odd])[0]["state"] == "unknown"


def test_one_deployment_for_several_nodes_is_one_row() -> None:
    served = deployment("FLUX Dev", "running", serves=["FLUX Dev", "FLUX Canny"])
    lines = _status.lines([{"target": "one", "read": True, "deployments": [served]}])
    assert lines[1].startswith("FLUX Dev + FLUX Canny  one")
    assert lines[-1] == "1 NIM: 1 running."


@pytest.mark.parametrize("targets", [{}, "x", [1], [{"target": "one"}]])
def test_wrong_input(targets: t.Any) -> None:
    with pytest.raises(_status.StatusError, match="must be"):
        _status.lines(targets)


def test_a_cluster_that_is_switched_off_stands_last_and_is_no_nim() -> None:
    asleep = {
        "target": "aks",
        "read": False,
        "asleep": True,
        "error": "The cluster is switched off.",
        "deployments": [],
    }
    lines = _status.lines([asleep, *TARGETS])
    assert lines[-3:] == [
        "-         aks            -     asleep        -",
        "    why: The cluster is switched off.",
        f"{_status.lines(TARGETS)[-1]} 1 target is switched off as a whole.",
    ]
