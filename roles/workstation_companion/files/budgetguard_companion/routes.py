# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the browser asks: the status, and which endpoint a mode would take. No secret and no address is in an answer."""

from __future__ import annotations

import asyncio
import datetime
import time
import typing as t

from .client import Client
from .endpoints import IMAGE_API, LOWEST_PRICE, TEXT_API, ChoiceError, candidates, endpoints_of, explain
from .envelope import ConfigError, Opened
from .status import green, refuse, yellow
from .workstation import Workstation

REMEMBERED_SECONDS = 30.0
PREFIX = "/budgetguard/api"
NO_STORE = {"Cache-Control": "no-store"}


class Desk:
    """Answers for one workstation. What gateways said is remembered for half a minute; files are read each time."""

    def __init__(self, workstation: Workstation) -> None:
        self.workstation = workstation
        self._verdicts: dict[str, tuple[float, str | None]] = {}

    async def status(self) -> dict[str, t.Any]:
        """Say whether the artist has working credentials, and if not, why."""
        try:
            opened = await asyncio.to_thread(self.workstation.open)
            now = datetime.datetime.now(datetime.timezone.utc)
            refuse(opened, now)
            refuse(opened, now, await self._verdict(opened))
        except ConfigError as problem:
            return yellow(problem)
        return green(opened)

    async def _verdict(self, opened: Opened) -> str | None:
        token = opened.credentials.get("gateway", {}).get("Token")
        if not token:
            return None
        mark = str(hash(token))
        until, verdict = self._verdicts.get(mark, (0.0, None))
        if time.monotonic() >= until:
            verdict = await Client(opened.credentials).verdict(endpoints_of(opened.document))
            self._verdicts = {mark: (time.monotonic() + REMEMBERED_SECONDS, verdict)}
        return verdict

    async def choice(self, node: str, mode: str) -> dict[str, t.Any]:
        """Say which endpoint a node would take now, and why."""
        try:
            opened = await asyncio.to_thread(self.workstation.open)
            found = endpoints_of(opened.document)
            style = TEXT_API if any(one.node == node and one.style == TEXT_API for one in found) else IMAGE_API
            ordered = candidates(found, node, style, mode, "")
        except (ConfigError, ChoiceError) as problem:
            return {"provider": None, "text": str(problem)}
        down = await Client(opened.credentials).down(ordered)
        ready = [one for one in ordered if one.url not in down]
        if not ready:
            return {"provider": None, "text": f"{node}: nothing is ready. " + _list(down.values())}
        return {"provider": ready[0].provider, "text": explain(mode, ready[0], ordered, down)}


def _list(problems: t.Iterable[str]) -> str:
    return "It " + " or ".join(sorted(set(problems))) + "."


def register(routes: t.Any, desk: Desk) -> None:
    """Add the routes to those of ComfyUI's server."""
    from aiohttp import web

    async def status(_request: t.Any) -> t.Any:
        return web.json_response(await desk.status(), headers=NO_STORE)

    async def choice(request: t.Any) -> t.Any:
        mode = request.query.get("mode", LOWEST_PRICE)
        return web.json_response(await desk.choice(request.query.get("node", ""), mode), headers=NO_STORE)

    routes.get(f"{PREFIX}/status")(status)
    routes.get(f"{PREFIX}/choice")(choice)
