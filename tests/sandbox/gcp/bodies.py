# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of requests decoded with the types of Google's SDK, which know every field and its type."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator
from typing import Any

from werkzeug.wrappers import Request

from tests.sandbox.rest import ApiError

Json = dict[str, Any]

#: Numbers of the types of fields in protocol buffers.
TYPE_MESSAGE, TYPE_ENUM = 11, 14


@functools.cache
def _message_class(name: str) -> Any:
    """Return the type of a message. Importing the SDK takes a moment, so it waits until somebody uses GKE."""
    wrapper = getattr(importlib.import_module("google.cloud.container_v1"), name)
    return type(wrapper.pb(wrapper()))


def decode(name: str, text: str) -> Json:
    """Return a body as Google's APIs write it: without empty values, enums by name. Raises `ApiError`."""
    message = _message_class(name)()
    json_format = importlib.import_module("google.protobuf.json_format")
    if not (text or "{}").lstrip().startswith("{"):
        raise invalid("Invalid JSON payload received. The body must be an object.")
    try:
        json_format.Parse(text or "{}", message)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error
    for place in _unknown_enums(message, name):
        raise invalid(f"Invalid value at '{place}', it is no value of this enum.")
    decoded: Json = json_format.MessageToDict(message)
    return decoded


def _unknown_enums(message: Any, place: str) -> Iterator[str]:
    """Find numbers that an enum does not have: the decoder lets them pass."""
    for field, value in message.ListFields():
        here = f"{place}.{field.json_name}"
        if field.type == TYPE_ENUM:
            numbers = value if field.is_repeated else [value]
            if any(number not in field.enum_type.values_by_number for number in numbers):
                yield here
        elif field.type == TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else [value]:
                yield from _unknown_enums(item, here)


def check_fields(place: str, value: Any, fields: dict[str, type]) -> Json:
    """Return an object that has nothing but these fields, with values of these types. Raises `ApiError`."""
    if not isinstance(value, dict):
        raise invalid(f"Invalid value at '{place}', it must be an object.")
    for name, content in value.items():
        if name not in fields:
            raise invalid(f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field.")
        if not isinstance(content, fields[name]) or isinstance(content, bool):
            raise invalid(f"Invalid value at '{place}.{name}' ({fields[name].__name__}).")
    return value


def read_object(request: Request, fields: dict[str, type]) -> Json:
    """Return the body of a request: an object with these fields. No body is an empty one. Raises `ApiError`."""
    text = request.get_data(as_text=True).strip() or "{}"
    try:
        body = json.loads(text)
    except ValueError:
        raise invalid("Invalid JSON payload received.") from None
    return check_fields("body", body, fields)


def invalid(message: str) -> ApiError:
    """Return the error for something that cannot be."""
    return ApiError(400, "INVALID_ARGUMENT", message)
