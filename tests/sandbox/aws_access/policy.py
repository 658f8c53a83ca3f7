# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate IAM policies: Effect, Action, Resource and Condition of identity policies and permissions boundaries.

Pure. What is not known here (NotAction, Principal, other operators) is an error, never a yes.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
Context = Mapping[str, str | Sequence[str]]

STATEMENT_KEYS = frozenset(("Sid", "Effect", "Action", "Resource", "Condition"))


@dataclass(frozen=True)
class Need:
    """One permission that a call needs. Keys of the context are compared without regard to capitals, as IAM does."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


def may(need: Need, policies: Iterable[Policy], boundary: Policy | None = None) -> bool:
    """Tell whether an identity with these policies is allowed this. A Deny anywhere wins."""
    identity = list(policies)
    everything = [*identity, *([boundary] if boundary else [])]
    if any(_speaks(policy, need, "Deny") for policy in everything):
        return False
    inside = boundary is None or _speaks(boundary, need, "Allow")
    return inside and any(_speaks(policy, need, "Allow") for policy in identity)


def _speaks(policy: Policy, need: Need, effect: str) -> bool:
    statements = policy["Statement"]
    return any(
        statement["Effect"] == effect and _applies(statement, need)
        for statement in ([statements] if isinstance(statements, Mapping) else statements)
    )


def _applies(statement: Mapping[str, Any], need: Need) -> bool:
    unknown = set(statement) - STATEMENT_KEYS
    if unknown:
        raise ValueError(f"cannot evaluate {', '.join(sorted(unknown))} of {statement}")
    return (
        any(_like(need.action.lower(), pattern.lower()) for pattern in _list(statement["Action"]))
        and any(_like(need.resource, pattern) for pattern in _list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), need.context)
    )


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    values = {key.lower(): _list(value) for key, value in context.items()}
    return all(
        _compare(operator, values.get(key.lower()), _list(wanted))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _compare(operator: str, found: list[str] | None, wanted: list[str]) -> bool:
    name = operator.removeprefix("ForAllValues:")
    if name != operator:
        return all(_compare(name, [value], wanted) for value in found or [])
    name = operator.removesuffix("IfExists")
    if name == "Null":
        return (found is None) == (wanted == ["true"])
    if name not in _OPERATORS:
        raise ValueError(f"cannot evaluate the operator {operator}")
    negative, test = _OPERATORS[name]
    if found is None:
        return negative or name != operator
    if len(found) != 1:
        raise ValueError(f"{operator} compares one value, got {found}")
    matched = any(test(found[0], pattern) for pattern in wanted)
    return matched != negative


def _like(value: str, pattern: str) -> bool:
    # Of fnmatch's special characters IAM has only * and ?.
    return bool(re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), value))


def _arn_like(value: str, pattern: str) -> bool:
    parts, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(map(_like, parts, patterns))


def _in_network(value: str, network: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network)


#: Whether the operator says that nothing may match, and how one pair is compared.
_OPERATORS: dict[str, tuple[bool, Callable[[str, str], bool]]] = {
    "StringEquals": (False, str.__eq__),
    "StringNotEquals": (True, str.__eq__),
    "StringLike": (False, _like),
    "StringNotLike": (True, _like),
    "ArnEquals": (False, _arn_like),
    "ArnLike": (False, _arn_like),
    "ArnNotLike": (True, _arn_like),
    "Bool": (False, lambda value, wanted: value.lower() == wanted.lower()),
    "IpAddress": (False, _in_network),
    "NotIpAddress": (True, _in_network),
}


def _list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
