# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields of an object belong to whom: paths, sets of paths, and how ``managedFields`` writes them.

A path is a tuple of steps as ``fieldsV1`` has them: ``f:NAME`` for a field or a key of a map, ``k:{...}`` for the item
of a list with these keys, ``v:VALUE`` for an item of a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.sandbox.kube.schema import KEY_DEFAULTS, Node

Path = tuple[str, ...]
Fields = frozenset[Path]

#: What everybody sends and nobody owns.
UNOWNED: frozenset[Path] = frozenset(
    [("f:apiVersion",), ("f:kind",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    ]
)


def item_step(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return the step that leads to an item of a list with keys."""
    values = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in keys}
    return "k:" + _compact(values)


def set_step(value: Any) -> str:
    """Return the step that leads to an item of a set."""
    return "v:" + _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def fields_of(node: Node, value: Any, at: Path = ()) -> set[Path]:
    """Return every path that a value sets: leaves, items of lists with keys, and containers that are empty."""
    if isinstance(value, dict) and value and (node.is_struct or node.is_map):
        found: set[Path] = set()
        for name, content in value.items():
            child = node.child(name)
            path = (*at, f"f:{name}")
            if path not in UNOWNED and child is not None:
                found |= fields_of(child, content, path)
        return found
    if isinstance(value, list) and value and node.list_keys:
        found = set()
        for item in value:
            path = (*at, item_step(item, node.list_keys))
            found |= {path} | fields_of(node.item(), item, path)
        return found
    if isinstance(value, list) and value and node.is_set:
        return {(*at, set_step(item)) for item in value}
    return {at} if at and at not in UNOWNED else set()


def with_parents(paths: Iterable[Path]) -> set[Path]:
    """Return the paths and everything they lie in."""
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def look_up(node: Node, value: Any, path: Path) -> Any:
    """Return what is at a path; None if nothing is."""
    for step in path:
        if value is None:
            return None
        kind, _colon, name = step.partition(":")
        if kind == "f":
            child = node.child(name)
            value = value.get(name) if isinstance(value, dict) else None
            if child is None:
                return None
            node = child
        elif kind == "v":
            return json.loads(name) if isinstance(value, list) and json.loads(name) in value else None
        else:
            value = next((item for item in value if item_step(item, node.list_keys) == step), None)
            node = node.item()
    return value


def remove(node: Node, value: Any, path: Path) -> None:
    """Take away what is at a path, if anything is."""
    for step in path[:-1]:
        value = look_up(node, value, (step,))
        if value is None:
            return
        child = node.child(step[2:]) if step.startswith("f:") else node.item()
        if child is None:
            return
        node = child
    last = path[-1]
    if last.startswith("f:"):
        value.pop(last[2:], None)
    elif last.startswith("v:"):
        value[:] = [item for item in value if set_step(item) != last]
    else:
        value[:] = [item for item in value if item_step(item, node.list_keys) != last]


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """Write a set of paths as ``fieldsV1``."""
    tree: dict[str, Any] = {}
    every = set(paths)
    for path in sorted(every):
        place = tree
        for step in path:
            place = place.setdefault(step, {})
    for path in every:
        place = tree
        for step in path:
            place = place[step]
        if place:
            # An item of a list that is owned as such, besides what is in it.
            place["."] = {}
    return tree


def from_fields_v1(tree: dict[str, Any], at: Path = ()) -> set[Path]:
    """Read ``fieldsV1``."""
    if not tree:
        return {at} if at else set()
    found: set[Path] = set()
    for step, below in tree.items():
        found |= {at} if step == "." else from_fields_v1(below, (*at, step))
    return found
