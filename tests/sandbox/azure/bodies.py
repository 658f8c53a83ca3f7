# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests compared with the models of Microsoft's SDK, which by itself lets every mistake pass."""

from __future__ import annotations

import enum
import functools
import importlib
import typing
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

#: Where the models are. A model's fields refer to others as ``_models.NAME``.
MODELS = "azure.mgmt.containerservice.models"
#: How often the SDK writes the Python types of JSON values.
SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}


class Field(typing.NamedTuple):
    """A field of a model."""

    hint: Any
    #: Whether only answers have it.
    read_only: bool


def mistakes(model: str, body: object) -> list[str]:
    """Return what is wrong with a body, each with its place: unknown field, wrong type, unknown value, read only."""
    return list(_check_model(getattr(importlib.import_module(MODELS), model), body, model))


@functools.cache
def _fields(model: type) -> Mapping[str, Field]:
    """Return the fields by their names in JSON.

    Both names of the SDK's descriptors are private ones; a test plants mistakes to notice when they change.
    """
    package = importlib.import_module(MODELS)
    hints = typing.get_type_hints(model, localns={**vars(package), "_models": package})
    found = {}
    for name in hints:
        descriptor = next((vars(base)[name] for base in model.__mro__ if name in vars(base)), None)
        if descriptor is not None and hasattr(descriptor, "_rest_name_input"):
            found[descriptor._rest_name_input or name] = Field(hints[name], descriptor._visibility == ["read"])
    return found


def _check_model(model: type, value: object, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} must be an object, not {_kind(value)}"
        return
    known = _fields(model)
    for name, item in value.items():
        field = known.get(name)
        if field is None:
            yield f"Could not find member '{name}' on object of type '{model.__name__}' (path {place}.{name})"
        elif field.read_only:
            yield f"{place}.{name} is read only"
        elif item is not None:
            yield from _check(field.hint, item, f"{place}.{name}")


def _check(hint: Any, value: object, place: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        yield from _check_one_of([item for item in arguments if item is not NoneType], value, place)
    elif origin in (list, dict):
        yield from _check_container(origin, arguments[-1], value, place)
    elif hint in SCALARS:
        if not isinstance(value, SCALARS[hint]) or (isinstance(value, bool) and hint is not bool):
            yield f"{place} must be of type {hint.__name__}, not {_kind(value)}"
    elif isinstance(hint, type) and hasattr(hint, "_is_model"):
        yield from _check_model(hint, value, place)


def _check_container(kind: type, of: Any, value: object, place: str) -> Iterator[str]:
    if isinstance(value, list) and kind is list:
        for number, item in enumerate(value):
            yield from _check(of, item, f"{place}[{number}]")
    elif isinstance(value, dict) and kind is dict:
        for name, item in value.items():
            yield from _check(of, item, f"{place}.{name}")
    else:
        yield f"{place} must be of type {kind.__name__}, not {_kind(value)}"


def _check_one_of(choices: list[Any], value: object, place: str) -> Iterator[str]:
    enums = [item for item in choices if isinstance(item, type) and issubclass(item, enum.Enum)]
    if not enums:
        yield from _check(choices[0], value, place)
        return
    values = [member.value for choice in enums for member in choice]
    if value not in values:
        yield f"{place} is {value!r}, which is none of {', '.join(map(str, values))}"


def _kind(value: object) -> str:
    return type(value).__name__
