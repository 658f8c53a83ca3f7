# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.sandbox.kube.errors import bad_request
from tests.sandbox.kube.kinds import Kind

#: Fields by which every kind can be chosen, and those of some kinds.
COMMON_FIELDS = ("metadata.name", "metadata.namespace")
FIELDS = {
    "Event": ("involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "reason", "type"),
    "Namespace": ("status.phase",),
    "Pod": ("spec.nodeName", "status.phase"),
    "Secret": ("type",),
}

EQUAL = re.compile(r"([^\s!=]+)\s*(!=|==|=)\s*([^\s!=]*)")
AMONG = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")
EXISTS = re.compile(r"(!?)\s*([^\s!=(),]+)")


def matches_labels(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector as it stands in a URL. Raises KubeError for one that cannot be read."""
    return all(_matches_one(part, labels) for part in _split(selector))


def _split(selector: str) -> list[str]:
    """Split at commas outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", selector) if part.strip()]


def _matches_one(part: str, labels: Mapping[str, str]) -> bool:
    match = EQUAL.fullmatch(part)
    if match:
        key, operator, value = match.groups()
        return (labels.get(key) == value) != (operator == "!=")
    match = AMONG.fullmatch(part)
    if match:
        key, operator, text = match.groups()
        values = [value.strip() for value in text.split(",")]
        return (labels.get(key) in values) != (operator == "notin")
    match = EXISTS.fullmatch(part)
    if match:
        return (match.group(2) in labels) != (match.group(1) == "!")
    raise bad_request(f"unable to parse requirement: {part}")


def matches_fields(kind: Kind, selector: str, item: Mapping[str, Any]) -> bool:
    """Whether an object fits a field selector. Raises KubeError for a field that cannot be used."""
    for part in _split(selector):
        match = EQUAL.fullmatch(part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        field, operator, value = match.groups()
        if field not in (*COMMON_FIELDS, *FIELDS.get(kind.name, ())):
            raise bad_request(f"field label not supported: {field}")
        if (_value_at(item, field) == value) == (operator == "!="):
            return False
    return True


def _value_at(item: Mapping[str, Any], field: str) -> str:
    value: Any = item
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector as it stands in an object, with ``matchLabels`` and ``matchExpressions``."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(fits_expression(item, labels) for item in selector.get("matchExpressions") or [])


def fits_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels fit one of ``matchExpressions``."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return bool((key in labels) == (operator == "Exists"))
