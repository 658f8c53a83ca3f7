# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published schemas of a version of Kubernetes: what an object may hold, and how its lists are merged.

The files are those of the package kubernetes-validate. They are read once per version, and the check here uses just
what stands in them; the package reads them again for each object, which would be slow.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.sandbox.kube.kinds import Kind

ATOMIC, GRANULAR = "atomic", "granular"
#: Values of list keys that a client may leave out. In Kubernetes they are defaults of the schema.
KEY_DEFAULTS = {"protocol": "TCP"}
PACKAGE = "kubernetes_validate"
FOLDER = "kubernetes-json-schema"


@dataclass(frozen=True)
class Problem:
    """One place where an object is not as the schema wants it."""

    #: Such as ``spec.template.spec.containers[0].image``.
    path: str
    #: ``unknown``, ``required`` or ``type``.
    kind: str
    message: str


JSON_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def _is_a(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, JSON_TYPES[name])


class Node:
    """One place of a schema."""

    def __init__(self, definition: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        #: The name of the type, where it has one.
        self._type = str(definition.get("$ref", "")).rpartition("/")[2]
        self._definition: Mapping[str, Any] = {**definitions[self._type], **definition} if self._type else definition

    @property
    def is_struct(self) -> bool:
        """Whether this is an object with fields of its own that are owned one by one."""
        return "properties" in self._definition and self._map_type == GRANULAR

    @property
    def is_map(self) -> bool:
        """Whether this is a map of free keys that are owned one by one."""
        return isinstance(self._definition.get("additionalProperties"), dict) and self._map_type == GRANULAR

    @property
    def is_set(self) -> bool:
        """Whether this is a list whose items are owned one by one."""
        return self._definition.get("x-kubernetes-list-type") == "set"

    @property
    def list_keys(self) -> tuple[str, ...]:
        """Fields that tell the items of a list apart; none if the list is owned as a whole."""
        return tuple(self._definition.get("x-kubernetes-list-map-keys") or ())

    @property
    def patch_key(self) -> str | None:
        """The field by which a strategic merge patch finds the items of a list; None if it replaces the list."""
        merges = "merge" in str(self._definition.get("x-kubernetes-patch-strategy", "")).split(",")
        key = self._definition.get("x-kubernetes-patch-merge-key")
        return str(key) if merges and key else None

    @property
    def is_quantity(self) -> bool:
        """Whether this is an amount such as 1Gi."""
        return self._type == "io.k8s.apimachinery.pkg.api.resource.Quantity"

    @property
    def _map_type(self) -> str:
        return str(self._definition.get("x-kubernetes-map-type", GRANULAR))

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the types of JSON that fit; none where anything does."""
        choices = self._definition.get("oneOf") or [self._definition]
        found: list[str] = []
        for choice in choices:
            named = choice.get("type") or []
            found.extend([named] if isinstance(named, str) else named)
        return tuple(dict.fromkeys(name for name in found if name != "null"))

    @property
    def type_text(self) -> str:
        """Say what fits."""
        return " or ".join(self.types) + (" of 32 bits" if self._definition.get("format") == "int32" else "")

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that must be there."""
        return tuple(self._definition.get("required") or ())

    @property
    def is_open(self) -> bool:
        """Whether an object may have fields that are not described."""
        return "properties" not in self._definition

    def takes(self, value: object) -> bool:
        """Whether a value is of a type that fits. What is in it is another question."""
        if self.types and not any(_is_a(value, name) for name in self.types):
            return False
        if self._definition.get("format") == "int32" and isinstance(value, int):
            return -(2**31) <= value < 2**31
        choices = self._definition.get("enum")
        return choices is None or value in choices

    def child(self, name: str) -> Node | None:
        """Return the schema of a field or map value; None if there can be none of this name."""
        properties = self._definition.get("properties") or {}
        if name in properties:
            return Node(properties[name], self._definitions)
        values = self._definition.get("additionalProperties")
        return Node(values, self._definitions) if isinstance(values, dict) else None

    def item(self) -> Node:
        """Return the schema of a list's items."""
        return Node(self._definition.get("items") or {}, self._definitions)


class Schemas:
    """All schemas of one version."""

    def __init__(self, version: str) -> None:
        self._folder = importlib.resources.files(PACKAGE).joinpath(FOLDER, f"v{version}.0-local-strict")
        if not self._folder.is_dir():
            raise ValueError(f"there are no schemas of Kubernetes {version}")
        self._all = self._read("_definitions.json")
        self._roots: dict[str, dict[str, Any]] = {}

    def _read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._folder.joinpath(name).read_text(encoding="utf-8"))
        return content

    def _root(self, kind: Kind) -> dict[str, Any]:
        if kind.name not in self._roots:
            group = kind.group.partition(".")[0]
            version = f"{group}-{kind.version}" if group else kind.version
            self._roots[kind.name] = self._read(f"{kind.name.lower()}-{version}.json")
        return self._roots[kind.name]

    def node(self, kind: Kind) -> Node:
        """Return the schema of a kind."""
        return Node(self._root(kind), self._all["$defs"])

    def problems(self, kind: Kind, value: Mapping[str, Any]) -> list[Problem]:
        """Return everything in an object that its schema does not allow. Fields that are null must be gone already."""
        return list(_problems(self.node(kind), value, ""))


@functools.cache
def schemas(version: str) -> Schemas:
    """Return the schemas of a version such as ``1.36``. Raises ValueError if there are none."""
    return Schemas(version)


def _problems(node: Node, value: Any, at: str) -> Iterator[Problem]:
    if not node.takes(value):
        yield Problem(at, "type", f"expected {node.type_text}, got {type(value).__name__} {value!r}"[:200])
    elif isinstance(value, dict):
        for name in node.required:
            if name not in value:
                yield Problem(_below(at, name), "required", "Required value")
        for name, content in value.items():
            child = node.child(name)
            if child is not None:
                yield from _problems(child, content, _below(at, name))
            elif not node.is_open:
                yield Problem(_below(at, name), "unknown", "field not declared in schema")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _problems(node.item(), item, f"{at}[{number}]")


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
