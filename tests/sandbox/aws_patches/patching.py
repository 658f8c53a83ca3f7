# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the patches take the place of moto's methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException


@dataclass(frozen=True)
class Patch:
    """One method of moto, and what stands in for it."""

    owner: type
    name: str
    replacement: Callable[..., Any]
    #: The method is one that moto lacks.
    new: bool = False


#: Those registered and not yet in place.
_waiting: list[Patch] = []


def patches(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function in place of ``owner.name``. It is called with moto's method first, then the arguments."""

    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        _waiting.append(Patch(owner, name, replacement))
        return replacement

    return register


def adds(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method that moto lacks. It is called with the arguments alone."""

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        _waiting.append(Patch(owner, name, method, new=True))
        return method

    return register


def install_patches() -> None:
    """Put all registered patches in place, once.

    Raises AttributeError if moto no longer has a method that is patched, or has one by now that is added.
    """
    while _waiting:
        patch = _waiting.pop(0)
        if patch.new and hasattr(patch.owner, patch.name):
            raise AttributeError(f"moto has {patch.owner.__name__}.{patch.name} now, so it need not be added")
        setattr(patch.owner, patch.name, patch.replacement if patch.new else _wrapped(patch))


def _wrapped(patch: Patch) -> Any:
    found = inspect.getattr_static(patch.owner, patch.name)
    original = getattr(patch.owner, patch.name) if isinstance(found, staticmethod) else found
    if isinstance(found, property):
        return property(functools.partial(patch.replacement, found.fget))

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return patch.replacement(original, *args, **kwargs)

    return staticmethod(wrapper) if isinstance(found, staticmethod) else wrapper


class AwsError(ServiceException):
    """An AWS error of ours. moto looks a service up by the module of its own exception classes, and `core` is none."""


def aws_error(code: str, message: str) -> ServiceException:
    """Return the exception that moto puts on the wire as this AWS error."""
    return AwsError(code, message)


def page(items: list[Any], limit: int, token: str | None) -> tuple[list[Any], str | None]:
    """One page of a list and the token of the next page. A token is simply the index to go on from."""
    start = int(token) if token else 0
    end = start + limit
    return items[start:end], str(end) if end < len(items) else None
