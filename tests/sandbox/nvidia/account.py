# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one organisation at NVIDIA, its keys and what each may do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from werkzeug.wrappers import Request

from tests.sandbox.rest import ApiError, bearer_token

CLOUD_FUNCTIONS = "nv-cloud-functions"
PRIVATE_REGISTRY = "private-registry"
PRODUCTS = ("ai-foundations", CLOUD_FUNCTIONS, PRIVATE_REGISTRY, "artifact-catalog")


@dataclass
class NgcKey:
    """A personal key. What it may do is what its products say."""

    key: str
    products: tuple[str, ...] = PRODUCTS
    expired: bool = False


class NvidiaAccount:
    """The organisation, and every key of it. `key` may do everything."""

    def __init__(self) -> None:
        self.org = f"sandbox{secrets.randbelow(10**6):06d}"
        self.account_id = secrets.token_urlsafe(32)
        self.key = self._new_key()
        self._keys: dict[str, NgcKey] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all keys but the one that may do everything."""
        self._keys = {self.key: NgcKey(self.key)}

    def add_key(self, products: tuple[str, ...] = PRODUCTS, expired: bool = False) -> str:
        """Make one more key."""
        key = self._new_key()
        self._keys[key] = NgcKey(key, products, expired)
        return key

    def find(self, token: str | None) -> NgcKey | None:
        """Return the key that a token is, if it holds."""
        key = self._keys.get(token or "")
        return key if key is not None and not key.expired else None

    def check(self, request: Request, product: str | None) -> NgcKey:
        """Return the key of a request. Raises `ApiError` without one, or if it lacks the product."""
        key = self.find(bearer_token(request))
        if key is None:
            raise ApiError(401, "Unauthorized", "Invalid or expired credentials.")
        if product is not None and product not in key.products:
            raise ApiError(403, "Forbidden", "The caller does not have permission to execute the specified operation.")
        return key

    @staticmethod
    def _new_key() -> str:
        return f"nvapi-{secrets.token_urlsafe(48)}"
