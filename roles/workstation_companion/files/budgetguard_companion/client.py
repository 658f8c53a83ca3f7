# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask NIMs over the network: which is ready, what a gateway says to the token, and the request itself."""

from __future__ import annotations

import asyncio
import ssl
import time
import typing as t
from urllib.parse import urlsplit

import aiohttp

from .endpoints import Endpoint
from .envelope import Credentials
from .messages import CALL, RequestError, headers, is_working, model, refusal, secrets_of

STATUS_URL = "https://api.nvcf.nvidia.com/v2/nvcf/pexec/status/"
LOOK_SECONDS = 4.0
POLL_SECONDS = 1.0
TICK_SECONDS = 0.5
NO_ANSWER, NO_TRUST = 0, -1
LARGEST_ANSWER = 256 * 1024 * 1024

Tick = t.Callable[[float], None]
"""Called twice a second with the seconds until now. It may raise to end the request."""


async def read_whole(answer: aiohttp.ClientResponse, largest: int) -> bytes | None:
    """Return the body of an answer, which comes in pieces; None where it is too large."""
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > largest:
            return None
        pieces.append(piece)
    return b"".join(pieces)


class Client:
    """Asks with the credentials of one workstation."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._secrets = secrets_of(credentials)
        self._context: ssl.SSLContext | None = None

    async def down(self, endpoints: t.Sequence[Endpoint]) -> dict[str, str]:
        """Look at all at once; return what is the matter with those that are not ready, by address."""
        said = await asyncio.gather(*(self._look(endpoint) for endpoint in endpoints))
        return {endpoint.url: problem for endpoint, problem in zip(endpoints, said) if problem}

    async def verdict(self, endpoints: t.Sequence[Endpoint]) -> str | None:
        """Return what the gateways say to the token: C(revoked), C(refused), or None if one takes it or none says."""
        firsts = {urlsplit(one.url).netloc: one for one in endpoints if one.auth == "gateway" and one.health_url}
        answers = await asyncio.gather(*(self._knock(one) for one in firsts.values()))
        said = [status for status in answers if status not in (NO_ANSWER, NO_TRUST)]
        if not said or any(status not in (401, 403) for status in said):
            return None
        return "revoked" if 403 in answers else "refused"

    async def _look(self, endpoint: Endpoint) -> str:
        if endpoint.health_url is None:
            return ""
        status = await self._knock(endpoint)
        return {NO_ANSWER: "cannot be reached", NO_TRUST: "shows a certificate that is not to be trusted", 200: ""}.get(
            status, "is not ready"
        )

    async def _knock(self, endpoint: Endpoint) -> int:
        """Return the status with which an endpoint's health is told, or why there is none."""
        try:
            asked = headers(endpoint, self._credentials)
            async with (
                self._session(LOOK_SECONDS) as session,
                session.get(
                    str(endpoint.health_url), headers=asked, ssl=self._trust(endpoint), allow_redirects=False
                ) as answer,
            ):
                return answer.status
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return NO_TRUST
        except (RequestError, aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            return NO_ANSWER

    async def working(self, endpoint: Endpoint) -> bool | None:
        """Return whether a NIM works for anybody at this moment; None where its metrics do not tell."""
        try:
            status, _said, body = await self._send(endpoint, "GET", f"{endpoint.url}/v1/metrics", None, LOOK_SECONDS)
        except RequestError:
            return None
        return is_working(body.decode("utf-8", "replace")) if status == 200 else None

    async def model(self, endpoint: Endpoint) -> str:
        """Return the name of the model to ask for. Raises RequestError."""
        status, _said, body = await self._send(endpoint, "GET", f"{endpoint.url}/v1/models", None, LOOK_SECONDS)
        if status != 200:
            raise refusal(endpoint, status, body, self._secrets)
        return model(endpoint, body)

    async def ask(self, endpoint: Endpoint, body: dict[str, t.Any], limit: float, tick: Tick) -> bytes:
        """Send a request and return the body of the answer. What C(tick) raises ends it, as the time limit does.

        Raises RequestError.
        """
        started = time.monotonic()
        task = asyncio.ensure_future(self._ask(endpoint, body, limit))
        try:
            while True:
                done, _pending = await asyncio.wait({task}, timeout=TICK_SECONDS)
                seconds = time.monotonic() - started
                tick(seconds)
                if done:
                    return task.result()
                if seconds > limit:
                    raise RequestError(
                        f"{endpoint.node} on {endpoint.place()} gave no answer within {limit:.0f} seconds: try again, "
                        "with fewer steps or a smaller image.",
                        elsewhere=False,
                    )
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _ask(self, endpoint: Endpoint, body: dict[str, t.Any], limit: float) -> bytes:
        status, said, content = await self._send(endpoint, "POST", endpoint.infer_url, body, limit)
        while status == 202:
            number = said.get("NVCF-REQID", "")
            if not number or not all(letter.isalnum() or letter == "-" for letter in number):
                raise RequestError(f"{endpoint.place()} took the request and gave it no number: try again.")
            await asyncio.sleep(POLL_SECONDS)
            status, said, content = await self._send(endpoint, "GET", STATUS_URL + number, None, limit)
        if status != 200:
            raise refusal(endpoint, status, content, self._secrets)
        return content

    async def _send(
        self, endpoint: Endpoint, method: str, url: str, body: dict[str, t.Any] | None, limit: float
    ) -> tuple[int, t.Mapping[str, str], bytes]:
        asked = headers(endpoint, self._credentials)
        where = f"{endpoint.node} on {endpoint.place()}"
        try:
            async with (
                self._session(limit) as session,
                session.request(
                    method, url, json=body, headers=asked, ssl=self._trust(endpoint), allow_redirects=False
                ) as answer,
            ):
                content = await read_whole(answer, LARGEST_ANSWER)
                if content is None:
                    raise RequestError(f"The answer of {where} is too large.")
                return answer.status, answer.headers, content
        except (aiohttp.ClientSSLError, ssl.SSLError):
            text = f"{where}: its certificate is not to be trusted: {CALL}."
            raise RequestError(text, elsewhere=True) from None
        except asyncio.TimeoutError:
            raise RequestError(f"{where} gave no answer within {limit:.0f} seconds: try again.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise RequestError(f"{where} cannot be reached: {CALL}.", elsewhere=True) from None

    def _session(self, seconds: float) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds), trust_env=True)

    def _trust(self, endpoint: Endpoint) -> ssl.SSLContext | bool:
        """Return whom to believe. The studio's own authority counts at its gateways and nowhere else."""
        authority = self._credentials.get("gateway", {}).get("CA Certificate", "")
        if endpoint.auth != "gateway" or not authority:
            return True
        if self._context is None:
            context = ssl.create_default_context()
            try:
                context.load_verify_locations(cadata=authority)
            except ssl.SSLError:
                raise RequestError(f"The authority's certificate in the config is broken: {CALL}.") from None
            self._context = context
        return self._context
