# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway that runs as a task of ECS. HAProxy itself is not run: the login is checked as its configuration says."""

from __future__ import annotations

import re
import time
from typing import Any

import jwt
from moto.logs.models import logs_backends

from tests.sandbox.aws_patches.logs import write_lines
from tests.sandbox.http import HttpAnswer, HttpRequest, json_answer
from tests.sandbox.state import ACCOUNT_ID
from tests.sandbox.usage_log import target_of, usage_line

AUDIENCE = "budgetguard-gateway"
FILE = re.compile(r'printf %s "\$(FILE_\d+)" > \S+/([a-z0-9.]+)')
ISSUER = re.compile(r"jwt_payload_query\('\$\.iss'\) -m str (\S+)")


class EcsGateway:
    """The gateway of one task definition."""

    def __init__(self, container: dict[str, Any]) -> None:
        self._container = container
        environment = {item["name"]: item["value"] for item in container.get("environment", [])}
        written = FILE.findall(" ".join(container.get("command", [])))
        self.files = {name: environment[variable] for variable, name in written}
        self.configuration = self.files.get("haproxy.cfg", "")

    def check(self, request: HttpRequest) -> HttpAnswer | None:
        """Return the refusal of a request; None if it may go on."""
        keys = [text for name, text in sorted(self.files.items()) if name.startswith("public")]
        if not keys:
            return None
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        issuer = ISSUER.search(self.configuration)
        for key in keys:
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=["ES256"],
                    audience=AUDIENCE,
                    issuer=issuer[1] if issuer else None,
                    options={"require": ["exp", "nbf", "iat", "sub", "jti"]},
                )
            except jwt.InvalidTokenError:
                continue
            return self._denial(claims)
        return json_answer({"error": "A token is needed, as Authorization: Bearer"}, 401)

    def _denial(self, claims: dict[str, Any]) -> HttpAnswer | None:
        denied = dict(line.split() for line in self.files.get("denied.map", "").splitlines())
        for name in (f"sub:{claims['sub']}", f"jti:{claims['jti']}"):
            if int(denied.get(name, 0)) > claims["iat"]:
                return json_answer({"error": "The tokens of this workstation were revoked; ask TechOps"}, 403)
        return None

    def log(self, request: HttpRequest, answer: HttpAnswer, seconds: float) -> None:
        """Write the line for a request to where the container logs."""
        target = target_of(self.configuration)
        options = (self._container.get("logConfiguration") or {}).get("options") or {}
        region, group = options.get("awslogs-region"), options.get("awslogs-group")
        if target is None or region is None or group not in logs_backends[ACCOUNT_ID][region].groups:
            return
        sizes = (len(answer.body), len(request.body))
        line = usage_line(target, request.method, request.path, request.headers, answer.status, sizes, seconds)
        stream = f"{options['awslogs-stream-prefix']}/{self._container['name']}/{'0' * 32}"
        write_lines(region, group, stream, [line], time.time())
