# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter nim_existing: which of the NIMs that a target holds a stop or a teardown is about."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _matrix


def nim_existing(
    deployments: t.Sequence[t.Mapping[str, t.Any]],
    state: str,
    nodes: t.Any = None,
    keep: t.Sequence[t.Mapping[str, t.Any]] = (),
    catalog: t.Mapping[str, t.Any] | None = None,
    names: t.Sequence[str] | None = None,
) -> list[dict[str, str]]:
    """Return entries for the option deployments of the nim_* modules, one per NIM that exists and is meant.

    nodes narrows by the nodes' names; None, an empty list, and the word all mean every NIM. A node that is named is
    meant even if it is one to keep. names narrows by the NIMs' own names.
    """
    known = _catalog.load(catalog or {})
    try:
        wanted = _matrix.node_names(nodes)
    except ValueError as error:
        raise AnsibleFilterError(f"budgetguard.techops.nim_existing: {error}") from error
    named = set() if "all" in wanted else {_name(node, known, deployments) for node in wanted}
    kept = {entry["node"] for entry in keep} - named
    return [
        {"node": item["node"], "gpu_tier": item["gpu_tier"], "state": state}
        for item in deployments
        if item["node"] not in kept
        and (not named or item["node"] in named)
        and (names is None or item["name"] in names)
    ]


def _name(node: str, catalog: t.Mapping[str, _catalog.Node], deployments: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return a node's full name; one that the catalogue no longer knows may still run under its own."""
    if node in {item["node"] for item in deployments}:
        return node
    try:
        return _catalog.find(catalog, node).name
    except ValueError as exc:
        raise AnsibleFilterError(f"nim_nodes: {exc}") from exc


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return them by name."""
        return {"nim_existing": nim_existing}
