# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the caller may do, as Azure tells it: the operation Permissions_ListForResourceGroup and its like."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.rest import ApiError, json_response

VERSION = "2022-04-01"
PROVIDER = "/providers/Microsoft.Authorization/permissions"
KEYS = ("actions", "notActions", "dataActions", "notDataActions")
#: The deployer of the sandbox owns the subscription, and administers clusters in it.
OWNER: dict[str, list[str]] = {"actions": ["*"], "notActions": [], "dataActions": ["*"], "notDataActions": []}


class CallersPermissions:
    """The permissions of the one caller, which a test may replace. Needs STATE_LOCK held."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = [OWNER]

    def reset(self) -> None:
        """Make the caller the owner again."""
        self._entries = [OWNER]

    def replace(self, entries: list[dict[str, Any]]) -> None:
        """Give the caller these permissions. Raises ValueError for what Azure would not say."""
        for entry in entries:
            unknown = sorted(set(entry) - set(KEYS))
            if unknown:
                raise ValueError(f"unknown field {unknown[0]!r}, known are {', '.join(KEYS)}")
        self._entries = [{key: list(entry.get(key, [])) for key in KEYS} for entry in entries]

    def list_all(self, request: Request) -> Response:
        """Answer in pages of one entry, so that a client that reads only the first page is found out."""
        if request.args["api-version"] != VERSION:
            message = f"The api-version '{request.args['api-version']}' is not simulated for permissions."
            raise ApiError(400, "NoRegisteredProviderFound", message, refused=True)
        number = int(request.args.get("$skipToken", "0"))
        answer: dict[str, Any] = {"value": self._entries[number : number + 1]}
        if number + 1 < len(self._entries):
            address = f"{request.host_url.rstrip('/')}{request.path}?api-version={VERSION}"
            answer["nextLink"] = f"{address}&$skipToken={number + 1}"
        return json_response(answer)
