# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of the functions' API: every field, its type and its rule. Anything else is 400."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.sandbox.rest import ApiError

Json = dict[str, Any]
Check = Callable[[str, Any], None]

NAME = re.compile(r"[a-z0-9A-Z][a-z0-9A-Z\-_]*")
SECRET_NAME = re.compile(r"[a-z0-9A-Z][a-z0-9A-Z_.\-]*")
#: NVIDIA's own rule is not public; this is what every rule that one could think of lets pass.
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
DURATION = re.compile(r"PT(\d+H)?(\d+M)?(\d+S)?")
LONGEST_NAME, LONGEST_SECRET_NAME, LONGEST_TAG, LONGEST_DESCRIPTION = 128, 48, 128, 256
MOST_TAGS = 64
MOST_SECRET_BYTES = 8192
RESERVED_PORTS = (8080, 8010)
MOST_CONCURRENCY = 16384


def bad(message: str) -> ApiError:
    """Return the error for a body that cannot be."""
    return ApiError(400, "Bad Request", message)


def _text(where: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise bad(f"{where}: must be a text")


def _matching(pattern: re.Pattern[str], longest: int) -> Check:
    def check(where: str, value: Any) -> None:
        _text(where, value)
        if not pattern.fullmatch(value) or len(value) > longest:
            raise bad(f"{where}: must conform to {pattern.pattern} and have at most {longest} characters")

    return check


def _whole(low: int, high: int) -> Check:
    def check(where: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise bad(f"{where}: must be a whole number from {low} to {high}")

    return check


def _one_of(*choices: str) -> Check:
    def check(where: str, value: Any) -> None:
        if value not in choices:
            raise bad(f"{where}: must be one of {', '.join(choices)}")

    return check


def _list_of(check_item: Check, most: int = 1000) -> Check:
    def check(where: str, value: Any) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise bad(f"{where}: must be a list of at most {most}")
        for number, item in enumerate(value):
            check_item(f"{where}[{number}]", item)

    return check


def _object(fields: Mapping[str, Check], required: tuple[str, ...]) -> Check:
    def check(where: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise bad(f"{where}: must be an object")
        for name in value:
            if name not in fields:
                raise bad(f"{where}: unrecognized field {name}")
        for name in required:
            if value.get(name) in (None, ""):
                raise bad(f"{where}: {name} is required")
        for name, item in value.items():
            fields[name](f"{where}.{name}", item)

    return check


def _port(where: str, value: Any) -> None:
    _whole(1, 65535)(where, value)
    if value in RESERVED_PORTS:
        raise bad(f"{where}: port {value} is reserved")


def _variable(where: str, value: Any) -> None:
    _text(where, value)
    if value.startswith("NVCF_"):
        raise bad(f"{where}: {value} is reserved")


def _description(where: str, value: Any) -> None:
    _text(where, value)
    if len(value) > LONGEST_DESCRIPTION:
        raise bad(f"{where}: Maximum description length of {LONGEST_DESCRIPTION} is exceeded.")


def _secrets(where: str, value: Any) -> None:
    item = _object({"name": _matching(SECRET_NAME, LONGEST_SECRET_NAME), "value": _text}, ("name", "value"))
    _list_of(item)(where, value)
    if sum(len(entry["value"].encode()) for entry in value) > MOST_SECRET_BYTES:
        raise bad(f"{where}: all secrets together must not have more than {MOST_SECRET_BYTES} bytes")


_TAGS = _list_of(_matching(TAG, LONGEST_TAG), MOST_TAGS)
_HEALTH = {
    "protocol": _one_of("HTTP", "gRPC"),
    "uri": _text,
    "port": _port,
    "timeout": _matching(DURATION, 20),
    "expectedStatusCode": _whole(100, 599),
}
_FUNCTION = _object(
    {
        "name": _matching(NAME, LONGEST_NAME),
        "description": _description,
        "containerImage": _text,
        "containerArgs": _text,
        "containerEnvironment": _list_of(_object({"key": _variable, "value": _text}, ("key", "value"))),
        "inferenceUrl": _text,
        "inferencePort": _port,
        "health": _object(_HEALTH, tuple(_HEALTH)),
        "apiBodyFormat": _one_of("CUSTOM", "PREDICT_V2"),
        "functionType": _one_of("DEFAULT", "STREAMING", "LLM"),
        "tags": _TAGS,
        "secrets": _secrets,
    },
    ("name", "inferenceUrl", "containerImage"),
)
_SPECIFICATION = _object(
    {
        "gpu": _text,
        "instanceType": _text,
        "minInstances": _whole(0, 10**6),
        "maxInstances": _whole(1, 10**6),
        "maxRequestConcurrency": _whole(1, MOST_CONCURRENCY),
        "clusters": _list_of(_text),
        "regions": _list_of(_text),
    },
    ("gpu", "instanceType", "minInstances", "maxInstances"),
)
_DEPLOYMENT = _object({"deploymentSpecifications": _list_of(_SPECIFICATION)}, ("deploymentSpecifications",))
_SCALE = _object({"minInstances": _whole(0, 10**6), "maxInstances": _whole(1, 10**6)}, ())
_SECRETS = _object({"secrets": _secrets}, ("secrets",))
_METADATA = _object({"tags": _TAGS, "description": _description}, ())


def function(body: Any) -> Json:
    """Return the body of a new function or version. Raises `ApiError`."""
    _FUNCTION("request", body)
    found: Json = body
    return found


def deployment(body: Any) -> Json:
    """Return the one kind of instance of a new deployment. Raises `ApiError`."""
    _DEPLOYMENT("request", body)
    specifications: list[Json] = body["deploymentSpecifications"]
    if len(specifications) != 1:
        raise bad("deploymentSpecifications: the sandbox deploys on one kind of instance")
    _check_counts(specifications[0])
    return specifications[0]


def scale(body: Any, before: Json) -> Json:
    """Return what a kind of instance becomes. Raises `ApiError`."""
    _SCALE("request", body)
    if not body:
        raise bad("request: at least one field is required")
    after = {**before, **body}
    _check_counts(after)
    return after


def secrets(body: Any) -> Json:
    """Return the new secrets by name. Raises `ApiError`."""
    _SECRETS("request", body)
    return {entry["name"]: entry["value"] for entry in body["secrets"]}


def metadata(body: Any) -> Json:
    """Return the fields to change. Raises `ApiError`."""
    _METADATA("request", body)
    found: Json = body
    return found


def _check_counts(specification: Json) -> None:
    if specification["minInstances"] > specification["maxInstances"]:
        raise bad("minInstances must not be greater than maxInstances")
