# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out what a node was asked for, without ComfyUI: choose, ask, fall back, and turn answers into arrays."""

from __future__ import annotations

import asyncio
import datetime
import io
import typing as t

from .client import Client, Tick
from .endpoints import IMAGE_API, LOCAL, LOWEST_PRICE, MANUAL, TEXT_API, Endpoint, candidates, endpoints_of, explain
from .envelope import Opened
from .messages import ImageWish, RequestError, TextWish, image_body, images, text, text_body
from .status import refuse
from .workstation import Workstation

Say = t.Callable[[str], None]
"""Takes a sentence for the artist."""

ANY = "auto"


class Job:
    """One request of one node."""

    def __init__(self, workstation: Workstation, tick: Tick, say: Say) -> None:
        self._workstation = workstation
        self._tick = tick
        self._say = say

    async def open(self) -> Opened:
        """Read and open the config. Raises ConfigError if there are no working credentials."""
        opened = await asyncio.to_thread(self._workstation.open)
        refuse(opened, datetime.datetime.now(datetime.timezone.utc))
        return opened

    async def image(
        self, opened: Opened, node: str, mode: str, provider: str, wish: ImageWish
    ) -> tuple[list[bytes], str]:
        """Return the images, and which endpoint made them. Raises RequestError and ChoiceError."""

        async def body(endpoint: Endpoint) -> dict[str, t.Any]:
            return image_body(endpoint, wish)

        endpoint, answer, why = await self._run(opened, node, IMAGE_API, (mode, provider), body)
        return images(endpoint, answer), why

    async def text(self, opened: Opened, node: str, mode: str, provider: str, wish: TextWish) -> tuple[str, str]:
        """Return the text, and which endpoint wrote it. Raises RequestError and ChoiceError."""
        client = Client(opened.credentials)

        async def body(endpoint: Endpoint) -> dict[str, t.Any]:
            return text_body(await client.model(endpoint), wish)

        endpoint, answer, why = await self._run(opened, node, TEXT_API, (mode, provider), body)
        return text(endpoint, answer), why

    async def _run(
        self,
        opened: Opened,
        node: str,
        style: str,
        wanted: tuple[str, str],
        body: t.Callable[[Endpoint], t.Awaitable[dict[str, t.Any]]],
    ) -> tuple[Endpoint, bytes, str]:
        """Ask the best endpoint; go on to the next where one fails in a way that another might not."""
        mode, provider = wanted
        if mode == MANUAL and provider == ANY:
            mode = LOWEST_PRICE
        ordered = candidates(endpoints_of(opened.document), node, style, mode, provider)
        client = Client(opened.credentials)
        down = await client.down(ordered) if len(ordered) > 1 or mode in (LOWEST_PRICE, LOCAL) else {}
        ready = [one for one in ordered if one.url not in down]
        if not ready:
            problems = ", ".join(f"{one.place()} {down[one.url]}" for one in ordered)
            raise RequestError(f"{node}: nothing is ready ({problems}). Start it, or call your TechOps technician.")
        for number, endpoint in enumerate(ready):
            self._say(explain(mode, endpoint, ordered, down))
            limit = float(self._workstation.settings.time_limit)
            try:
                asked = await body(endpoint)
                with self._workstation.ledger.request(endpoint):
                    answer = await client.ask(endpoint, asked, limit, self._tick)
            except RequestError as problem:
                if not problem.elsewhere or number == len(ready) - 1:
                    raise
                down[endpoint.url] = "failed"
                self._say(f"{problem} Trying the next one.")
                continue
            return endpoint, answer, explain(mode, endpoint, ordered, down)
        raise RequestError(f"{node}: nothing is ready.")


def png_of(pixels: t.Any) -> bytes:
    """Return the first image of a batch [B,H,W,C] of numbers from 0 to 1 as PNG.

    Numpy takes no tensor that is on a GPU, has a gradient, or is of bfloat16, and ComfyUI hands over any of them.
    """
    import numpy
    from PIL import Image

    first = pixels.detach().cpu().float().numpy()[0]
    whole = numpy.clip(first * 255.0 + 0.5, 0, 255).astype(numpy.uint8)
    buffer = io.BytesIO()
    Image.fromarray(whole).convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()


def pixels_of(found: t.Sequence[bytes]) -> t.Any:
    """Return images as one batch [B,H,W,C] of 32-bit numbers from 0 to 1. Raises RequestError."""
    import numpy
    from PIL import Image

    try:
        arrays = [numpy.asarray(Image.open(io.BytesIO(one)).convert("RGB"), numpy.float32) / 255.0 for one in found]
        return numpy.stack(arrays)
    except (OSError, ValueError):
        raise RequestError("The NIM answered with something that is no image: call your TechOps technician.") from None
