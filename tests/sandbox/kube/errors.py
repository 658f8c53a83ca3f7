# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the API server: ``Status`` objects with the reason and message a real one gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cause:
    """One field that is wrong."""

    #: Such as FieldValueInvalid, FieldValueRequired.
    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class KubeError(Exception):
    """A request is refused."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        #: Why the sandbox itself refused, for the call log; None where a real server would have refused too.
        self.refused: str | None = None

    def status(self) -> dict[str, Any]:
        """Return the body of the answer."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return status


def invalid_value(field: str, value: object, why: str) -> Cause:
    """Return a cause: the value cannot be."""
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def not_supported(field: str, value: object, choices: tuple[str, ...]) -> Cause:
    """Return a cause: the value is none of the choices."""
    known = ", ".join(f'"{choice}"' for choice in sorted(choices))
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {known}', field)


def required(field: str, why: str = "") -> Cause:
    """Return a cause: the field is missing."""
    return Cause("FieldValueRequired", f"Required value: {why}" if why else "Required value", field)


def forbidden_field(field: str, why: str) -> Cause:
    """Return a cause: the field must not be there, or must not change."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def duplicate(field: str, value: object) -> Cause:
    """Return a cause: the value is there twice."""
    return Cause("FieldValueDuplicate", f'Duplicate value: "{value}"', field)


def invalid(group_kind: str, name: str, causes: list[Cause]) -> KubeError:
    """Return 422: an object, such as ``Deployment.apps``, has fields that are wrong."""
    text = str(causes[0]) if len(causes) == 1 else "[" + ", ".join(str(cause) for cause in causes) + "]"
    kind, _dot, group = group_kind.partition(".")
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes],
    }
    return KubeError(422, "Invalid", f'{group_kind} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> KubeError:
    """Return 400."""
    return KubeError(400, "BadRequest", message)


def not_found(resource: str, name: str) -> KubeError:
    """Return 404 for an object; ``resource`` is such as ``deployments.apps``."""
    plural, _dot, group = resource.partition(".")
    return KubeError(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "group": group, "kind": plural})


def no_such_route() -> KubeError:
    """Return 404 for a path that the API does not have."""
    return KubeError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> KubeError:
    """Return 409 for an object that is there already."""
    plural, _dot, group = resource.partition(".")
    return KubeError(
        409, "AlreadyExists", f'{resource} "{name}" already exists', {"name": name, "group": group, "kind": plural}
    )


def conflict(resource: str, name: str, why: str) -> KubeError:
    """Return 409 for an object that is not what the caller believes."""
    plural, _dot, group = resource.partition(".")
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return KubeError(409, "Conflict", message, {"name": name, "group": group, "kind": plural})


def modified(resource: str, name: str) -> KubeError:
    """Return 409 for an outdated resourceVersion."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def not_simulated(what: str) -> KubeError:
    """Return 501 for what a real server can do and the sandbox cannot."""
    error = KubeError(501, "NotImplementedBySandbox", f"The sandbox does not simulate {what}")
    error.refused = error.message
    return error
