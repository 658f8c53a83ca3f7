# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches other than apply: JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

from tests.sandbox.kube.errors import not_simulated
from tests.sandbox.kube.schema import Node


def merge_patch(value: Any, patch: Any) -> Any:
    """Return a value after a JSON merge patch: null removes, objects are merged, all else is replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(value) if isinstance(value, dict) else {}
    for name, content in patch.items():
        if content is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), content)
    return result


def strategic_merge_patch(node: Node, value: Any, patch: Any) -> Any:
    """Return a value after a strategic merge patch: like a merge patch, but lists with a key are merged by it.

    Raises KubeError for directives such as ``$patch``.
    """
    if isinstance(patch, list):
        return _merge_lists(node, value, patch)
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, content in patch.items():
        if name.startswith("$"):
            raise not_simulated(f"the directive {name} of strategic merge patches")
        child = node.child(name)
        if content is None:
            result.pop(name, None)
        elif child is None:
            # Unknown: the check of the whole object says so.
            result[name] = copy.deepcopy(content)
        else:
            result[name] = strategic_merge_patch(child, result.get(name), content)
    return result


def _merge_lists(node: Node, value: Any, patch: list[Any]) -> list[Any]:
    key = node.patch_key
    if key is None or not isinstance(value, list):
        return copy.deepcopy(patch)
    result = list(value)
    for item in patch:
        place = next((number for number, there in enumerate(result) if there.get(key) == item.get(key)), None)
        if place is None:
            result.append(copy.deepcopy(item))
        else:
            result[place] = strategic_merge_patch(node.item(), result[place], item)
    return result
