# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the NIMs on a target a stop or a teardown is about."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_existing import nim_existing
from ansible_collections.budgetguard.techops.plugins.module_utils._matrix import node_names

HELD = [
    {"node": "FLUX Dev", "gpu_tier": "l40s"},
    {"node": "FLUX Dev", "gpu_tier": "h100"},
    {"node": "Llama 3.1", "gpu_tier": "l4"},
    {"node": "A node of last year", "gpu_tier": "l4"},
]
KEEP = [{"node": "Llama 3.1", "state": "started"}]


@pytest.mark.parametrize(
    ("nodes", "keep", "expected"),
    [
        pytest.param(None, [], [0, 1, 2, 3], id="everything-there-is"),
        pytest.param("all", [], [0, 1, 2, 3], id="all"),
        pytest.param([], KEEP, [0, 1, 3], id="always-on-is-spared"),
        pytest.param(["llama 3.1"], KEEP, [2], id="unless-it-is-named"),
        pytest.param("FLUX Dev,Llama 3.1", [], [0, 1, 2], id="text-from-the-command-line"),
        pytest.param("['FLUX Dev', 'Llama 3.1']", [], [0, 1, 2], id="a-list-as-text"),
        pytest.param(["A node of last year"], [], [3], id="unknown-to-the-catalogue-but-there"),
        pytest.param(["Mixtral"], [], [], id="known-but-not-there"),
    ],
)
def test_selection(nodes: t.Any, keep: list[dict[str, str]], expected: list[int]) -> None:
    wanted = [{**HELD[index], "state": "stopped"} for index in expected]
    assert nim_existing(HELD, "stopped", nodes=nodes, keep=keep) == wanted


@pytest.mark.parametrize("nodes", ["FLUX Dve", 7])
def test_mistakes_are_named(nodes: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="nim_nodes"):
        nim_existing(HELD, "absent", nodes=nodes)


@pytest.mark.parametrize("text", ["A B, C", "[A B, C]", "['A B', 'C']", '["A B","C"]'])
def test_names_from_the_command_line(text: str) -> None:
    assert node_names(text) == ["A B", "C"]
