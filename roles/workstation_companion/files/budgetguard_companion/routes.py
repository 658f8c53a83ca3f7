# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the browser asks: the status, which endpoint a mode would take, and the cloud nodes.

No secret and no address is in an answer. What changes something has to get past the doorway first.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import time
import typing as t

from .client import Client
from .cloudnodes import AskError, CloudNodes
from .doorway import Caller, DoorError, check, needs_token
from .endpoints import IMAGE_API, LOWEST_PRICE, TEXT_API, ChoiceError, candidates, endpoints_of, explain
from .envelope import ConfigError, Opened
from .messages import CALL
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
        settings = await asyncio.to_thread(lambda: self.workstation.settings)
        try:
            opened = await asyncio.to_thread(self.workstation.open)
            now = datetime.datetime.now(datetime.timezone.utc)
            refuse(opened, now)
            refuse(opened, now, await self._verdict(opened))
        except ConfigError as problem:
            return {**yellow(problem), "contact": settings.contact}
        return {**green(opened), "contact": settings.contact}

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
            refuse(opened, datetime.datetime.now(datetime.timezone.utc))
            found = endpoints_of(opened.document)
            style = TEXT_API if any(one.node == node and one.style == TEXT_API for one in found) else IMAGE_API
            ordered = candidates(found, node, style, mode, "")
        except (ConfigError, ChoiceError) as problem:
            return {"provider": None, "text": self.workstation.named(str(problem))}
        down = await Client(opened.credentials).down(ordered)
        ready = [one for one in ordered if one.url not in down]
        if not ready:
            problems = ", ".join(f"{one.place()} {down[one.url]}" for one in ordered)
            text = f"{node}: nothing is ready ({problems}). Start it, or {CALL}."
            return {"provider": None, "text": self.workstation.named(text)}
        return {"provider": ready[0].provider, "text": explain(mode, ready[0], ordered, down)}


def listens() -> list[str]:
    """Return the addresses that ComfyUI listens on; none where this ComfyUI does not say."""
    try:
        arguments = importlib.import_module("comfy.cli_args").args
    except (ImportError, AttributeError):
        return []
    return [part.strip() for part in str(getattr(arguments, "listen", "")).split(",") if part.strip()]


def caller_of(request: t.Any) -> Caller:
    """Return what is known of who asks."""
    return Caller(request.headers, request.content_type, request.remote, listens())


def register(routes: t.Any, desk: Desk, nodes: CloudNodes) -> None:
    """Add the routes to those of ComfyUI's server."""
    from aiohttp import web

    async def status(_request: t.Any) -> t.Any:
        return web.json_response(await desk.status(), headers=NO_STORE)

    async def choice(request: t.Any) -> t.Any:
        mode = request.query.get("mode", LOWEST_PRICE)
        return web.json_response(await desk.choice(request.query.get("node", ""), mode), headers=NO_STORE)

    async def cloud_nodes(request: t.Any) -> t.Any:
        token_needed = needs_token(caller_of(request), request.headers.get("Host", ""))
        return web.json_response({**await nodes.status(), "token_needed": token_needed}, headers=NO_STORE)

    def changing(action: t.Callable[[t.Any], t.Awaitable[dict[str, t.Any]]]) -> t.Callable[[t.Any], t.Any]:
        async def handler(request: t.Any) -> t.Any:
            try:
                check(caller_of(request), await asyncio.to_thread(desk.workstation.token))
                answer, number = await action(await _json_of(request)), 200
            except DoorError as problem:
                text = await asyncio.to_thread(desk.workstation.named, str(problem))
                answer, number = {"ok": False, "text": text, "reason": problem.reason}, 403
            except AskError as problem:
                answer, number = {"ok": False, "text": str(problem), "reason": problem.reason}, problem.status
            return web.json_response(answer, status=number, headers=NO_STORE)

        return handler

    routes.get(f"{PREFIX}/status")(status)
    routes.get(f"{PREFIX}/choice")(choice)
    routes.get(f"{PREFIX}/cloud-nodes/status")(cloud_nodes)
    routes.post(f"{PREFIX}/cloud-nodes/start")(changing(nodes.start))
    routes.post(f"{PREFIX}/cloud-nodes/stop")(changing(nodes.stop))
    routes.post(f"{PREFIX}/cloud-nodes/idle")(changing(nodes.idle))


async def _json_of(request: t.Any) -> t.Any:
    try:
        return await request.json()
    except ValueError:
        raise AskError(400, "The request is not JSON.", "bad_request") from None
