# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which field of an object, and server-side apply, which decides by that.

The rules are those of "Server-Side Apply" in the Kubernetes documentation and of sigs.k8s.io/structured-merge-diff:
what a manager applied last time and does not send any more is removed, unless somebody else owns it too; a field
whose value another manager owns is a conflict, which ``force`` wins.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from tests.sandbox.kube.errors import KubeError
from tests.sandbox.kube.fields import (
    Path,
    fields_of,
    from_fields_v1,
    item_step,
    look_up,
    remove,
    to_fields_v1,
    with_parents,
)
from tests.sandbox.kube.schema import Node

STATUS: Path = ("f:status",)
METADATA: Path = ("f:metadata",)


@dataclass
class Owner:
    """One entry of ``managedFields``."""

    manager: str
    #: ``Apply`` or ``Update``.
    operation: str
    subresource: str
    api_version: str
    time: str
    fields: set[Path]

    def is_called(self, manager: str, operation: str, subresource: str) -> bool:
        """Whether this entry belongs to these three, which together tell entries apart."""
        return (self.manager, self.operation, self.subresource) == (manager, operation, subresource)

    def text(self) -> str:
        """Name the owner as a conflict does."""
        below = f' with subresource "{self.subresource}"' if self.subresource else ""
        using = f" using {self.api_version}" if self.operation == "Update" or self.subresource else ""
        return f'"{self.manager}"{below}{using}'


def read_owners(item: dict[str, Any]) -> list[Owner]:
    """Read the ``managedFields`` of an object."""
    return [
        Owner(
            entry["manager"],
            entry["operation"],
            entry.get("subresource", ""),
            entry["apiVersion"],
            entry["time"],
            from_fields_v1(entry["fieldsV1"]),
        )
        for entry in item["metadata"].get("managedFields", [])
    ]


def write_owners(item: dict[str, Any], owners: list[Owner]) -> None:
    """Set the ``managedFields`` of an object; owners without a field are dropped."""
    item["metadata"]["managedFields"] = [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            **({"subresource": owner.subresource} if owner.subresource else {}),
            "apiVersion": owner.api_version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(owner.fields),
        }
        for owner in owners
        if owner.fields
    ]


def apply(
    node: Node, live: dict[str, Any], wanted: dict[str, Any], manager: str, *, force: bool, now: str
) -> dict[str, Any]:
    """Return the live object (or an empty shell) as it is after an apply. Raises KubeError for conflicts."""
    owners = read_owners(live)
    mine = next((owner for owner in owners if owner.is_called(manager, "Apply", "")), None)
    others = [owner for owner in owners if owner is not mine]
    sent = _without_status(fields_of(node, wanted))
    _settle_conflicts(node, live, wanted, sent, others, force=force)
    merged: dict[str, Any] = merge(node, copy.deepcopy(live), wanted)
    before = mine.fields if mine is not None else set()
    _remove_abandoned(node, merged, before, sent, others)
    if mine is None:
        owners.append(Owner(manager, "Apply", "", wanted["apiVersion"], now, sent))
    elif mine.fields != sent:
        mine.fields, mine.time = sent, now
    write_owners(merged, owners)
    return merged


def _without_status(paths: set[Path]) -> set[Path]:
    # Status belongs to its own subresource: what an ordinary request says about it is ignored.
    return {path for path in paths if path[:1] != STATUS}


def _settle_conflicts(
    node: Node, live: dict[str, Any], wanted: dict[str, Any], sent: set[Path], others: list[Owner], *, force: bool
) -> None:
    lost: list[tuple[Owner, Path]] = []
    for path in sorted(sent):
        if path[-1].startswith("k:") or look_up(node, live, path) == look_up(node, wanted, path):
            continue
        lost.extend((owner, path) for owner in others if path in owner.fields)
    if lost and not force:
        raise _conflicts(lost)
    for owner, path in lost:
        owner.fields.discard(path)


def _conflicts(lost: list[tuple[Owner, Path]]) -> KubeError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner.text()}", "field": dotted(path)}
        for owner, path in lost
    ]
    if len(lost) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        by_owner: dict[str, list[str]] = {}
        for owner, path in lost:
            by_owner.setdefault(owner.text(), []).append(dotted(path))
        parts = [
            f"conflicts with {owner}:\n" + "\n".join(f"- {path}" for path in paths) for owner, paths in by_owner.items()
        ]
        text = f"{len(lost)} conflicts: " + "\n".join(parts)
    return KubeError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def dotted(path: Path) -> str:
    """Write a path as conflicts do: ``.spec.template.spec.containers[name="nim"].image``."""
    text = ""
    for step in path:
        kind, _colon, name = step.partition(":")
        if kind == "f":
            text += f".{name}"
        elif kind == "k":
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(name).items()) + "]"
        else:
            text += f"[={name}]"
    return text


def merge(node: Node, live: Any, wanted: Any) -> Any:
    """Return a live value with a wanted one laid over it, field by field, item by item."""
    if isinstance(live, dict) and isinstance(wanted, dict) and (node.is_struct or node.is_map):
        for name, value in wanted.items():
            child = node.child(name)
            if child is not None:
                live[name] = merge(child, live.get(name), value)
        return live
    if isinstance(live, list) and isinstance(wanted, list) and node.list_keys:
        return _merge_items(node, live, wanted)
    if isinstance(live, list) and isinstance(wanted, list) and node.is_set:
        return live + [item for item in wanted if item not in live]
    return copy.deepcopy(wanted)


def _merge_items(node: Node, live: list[Any], wanted: list[Any]) -> list[Any]:
    """Items that both have keep the order in which they are wanted; those that only the live list has come last."""
    found = {item_step(item, node.list_keys): item for item in live}
    steps = [item_step(item, node.list_keys) for item in wanted]
    merged = [
        merge(node.item(), found.get(step), item) if step in found else copy.deepcopy(item)
        for step, item in zip(steps, wanted, strict=True)
    ]
    return merged + [item for step, item in found.items() if step not in steps]


def _remove_abandoned(
    node: Node, merged: dict[str, Any], before: set[Path], sent: set[Path], others: list[Owner]
) -> None:
    """Remove what the manager owned and does not send any more, together with the defaults the server put there."""
    kept = with_parents(sent) | {METADATA}
    for owner in others:
        kept |= with_parents(owner.fields)
    for path in sorted(with_parents(before) - kept, key=len):
        remove(node, merged, path)


def note_update(
    node: Node,
    old: dict[str, Any] | None,
    new: dict[str, Any],
    *,
    manager: str,
    subresource: str,
    api_version: str,
    now: str,
) -> None:
    """Give a manager the fields that its create, update or patch changed, and take them from everybody else."""
    owners = read_owners(old) if old is not None else []
    there = _without_status(fields_of(node, new))
    changed = {path for path in there if old is None or _is_changed(node, old, new, path)}
    for owner in owners:
        owner.fields = {path for path in owner.fields if path not in changed and look_up(node, new, path) is not None}
    if changed:
        mine = next((owner for owner in owners if owner.is_called(manager, "Update", subresource)), None)
        if mine is None:
            owners.append(Owner(manager, "Update", subresource, api_version, now, changed))
        else:
            mine.fields, mine.time = mine.fields | changed, now
    write_owners(new, owners)


def _is_changed(node: Node, old: dict[str, Any], new: dict[str, Any], path: Path) -> bool:
    before = look_up(node, old, path)
    if path[-1].startswith("k:"):
        return before is None
    return bool(before != look_up(node, new, path))
