# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google Compute Engine, as far as quotas go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.sandbox.calls import CallLog, Interferences
from tests.sandbox.gcp.machines import ACCELERATORS, REGIONS, gpu_quota
from tests.sandbox.gcp.oauth import GoogleAccount, GoogleOauth, check_permission, google_error
from tests.sandbox.rest import ApiError, PathValues, RestService, Route, json_response

GLOBAL = "global"
CPUS = "CPUS"
ALL_CPUS = "CPUS_ALL_REGIONS"
ALL_GPUS = "GPUS_ALL_REGIONS"
GLOBAL_QUOTAS = (ALL_CPUS, ALL_GPUS)
REGIONAL_QUOTAS = (CPUS, *(gpu_quota(name, spot) for name in ACCELERATORS for spot in (False, True)))
#: Of every quota, unless a test has said otherwise. New projects have 0 GPUs of all regions.
DEFAULT_LIMIT = 500

Usage = Callable[[str], dict[str, int]]


class ComputeQuotas(RestService):
    """Answers below ``/compute/v1``."""

    def __init__(
        self, account: GoogleAccount, oauth: GoogleOauth, calls: CallLog, interferences: Interferences
    ) -> None:
        self._account = account
        self._oauth = oauth
        self._limits: dict[tuple[str, str], int] = {}
        #: What is in use in a region, or in all of them where it is asked for `GLOBAL`.
        self.usage: Usage = lambda _region: {}
        super().__init__("google-compute", calls, interferences)

    def routes(self) -> list[Route]:
        """Return the operations."""
        project = "/compute/v1/projects/{project}"
        return [
            Route("GET", project, "projects.get", self._get_project),
            Route("GET", project + "/regions", "regions.list", self._list_regions),
            Route("GET", project + "/regions/{location}", "regions.get", self._get_region),
        ]

    def handles(self, request: Request) -> bool:
        """Whether the path is below ``/compute/v1``, known or not."""
        return request.path.startswith("/compute/v1/")

    def check(self, request: Request, values: PathValues) -> None:
        """Refuse requests without a token of Google's, and other projects."""
        who = self._oauth.check_google(request)
        check_project(self._account, values, "compute.projects.get")
        permission = "compute.regions.get" if "location" in values else "compute.projects.get"
        check_permission(self._account, who, permission, request.path.removeprefix("/compute/v1/"))

    def error_response(self, error: ApiError) -> Response:
        """Return an error as Google's APIs write it."""
        return google_error(error)

    def set_limit(self, region: str, name: str, limit: int) -> None:
        """Change a quota. Raises ValueError for one that is not there."""
        if region not in REGIONS and region != GLOBAL:
            raise ValueError(f"unknown region {region!r}, known are {GLOBAL}, {', '.join(REGIONS)}")
        known = GLOBAL_QUOTAS if region == GLOBAL else REGIONAL_QUOTAS
        if name not in known:
            raise ValueError(f"unknown quota {name!r} of {region}, known are {', '.join(known)}")
        self._limits[region, name] = limit

    def check_needed(self, region: str, needed: dict[str, int]) -> None:
        """Refuse machines that the quotas do not allow."""
        for name, amount in needed.items():
            where = GLOBAL if name in GLOBAL_QUOTAS else region
            limit = self._limits.get((where, name), DEFAULT_LIMIT)
            left = limit - self.usage(where).get(name, 0)
            if amount > left:
                scope = "global" if where == GLOBAL else "regional"
                raise ApiError(
                    403,
                    "PERMISSION_DENIED",
                    f'Insufficient {scope} quota to satisfy request: resource "{name}": request requires '
                    f"'{float(amount)}' and is short '{float(amount - left)}'. project has a quota of '{float(limit)}' "
                    f"with '{float(max(0, left))}' available. View and manage quotas at "
                    f"https://console.cloud.google.com/iam-admin/quotas?usage=USED&project={self._account.project}.",
                )

    def reset(self) -> None:
        """Forget changed quotas."""
        self._limits.clear()

    def _quotas(self, where: str) -> list[dict[str, Any]]:
        used = self.usage(where)
        names = GLOBAL_QUOTAS if where == GLOBAL else REGIONAL_QUOTAS
        return [
            {
                "metric": name,
                "limit": float(self._limits.get((where, name), DEFAULT_LIMIT)),
                "usage": float(used.get(name, 0)),
            }
            for name in names
        ]

    def _get_project(self, _request: Request, _values: PathValues) -> Response:
        return json_response(
            {
                "kind": "compute#project",
                "id": "1000000000000000001",
                "name": self._account.project,
                "quotas": self._quotas(GLOBAL),
            }
        )

    def _region(self, name: str) -> dict[str, Any]:
        return {
            "kind": "compute#region",
            "name": name,
            "status": "UP",
            "zones": [
                f"https://www.googleapis.com/compute/v1/projects/{self._account.project}/zones/{name}-{letter}"
                for letter in REGIONS[name]
            ],
            "quotas": self._quotas(name),
        }

    def _list_regions(self, _request: Request, _values: PathValues) -> Response:
        return json_response({"kind": "compute#regionList", "items": [self._region(name) for name in REGIONS]})

    def _get_region(self, _request: Request, values: PathValues) -> Response:
        name = values["location"]
        if name not in REGIONS:
            path = f"projects/{self._account.project}/regions/{name}"
            raise ApiError(404, "NOT_FOUND", f"The resource '{path}' was not found")
        return json_response(self._region(name))


def check_project(account: GoogleAccount, values: PathValues, permission: str) -> None:
    """Refuse the projects that are somebody else's."""
    project = values.get("project")
    if project is not None and project != account.project:
        raise ApiError(
            403,
            "PERMISSION_DENIED",
            f"Required '{permission}' permission for 'projects/{project}'.",
        )
