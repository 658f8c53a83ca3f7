# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NGC's service that tells whose a key is."""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.nvidia.account import NvidiaAccount
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, bearer_token, json_response


class KeyService(RestService):
    """Answers ``/v3/keys/get-caller-info``."""

    def __init__(self, account: NvidiaAccount, calls: CallLog, interferences: Interferences) -> None:
        self._account = account
        super().__init__("ngc-keys", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        return [Route("POST", "/v3/keys/get-caller-info", "GetCallerInfo", self._tell)]

    def check(self, request: Request, values: PathValues) -> None:
        """Every call needs a key."""
        self._account.check(request, None)

    def error_response(self, error: ApiError) -> Response:
        """Return an error in the older form of NGC."""
        status = {"statusCode": error.code.upper(), "statusDescription": error.message}
        return json_response({"requestStatus": status}, error.status)

    def _tell(self, request: Request, _values: PathValues) -> Response:
        key = self._account.check(request, None)
        if request.form.get("credentials") != bearer_token(request):
            raise ApiError(400, "Bad Request", "The form needs the key as credentials.")
        return json_response(
            {
                "type": "PERSONAL_KEY",
                "orgName": self._account.org,
                "products": [{"name": name} for name in key.products],
                "user": {"roles": [{"org": {"name": self._account.org}}]},
            }
        )
