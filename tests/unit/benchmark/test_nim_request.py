# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark asks for what artists ask for."""

from __future__ import annotations

import base64
import inspect
import io
import json
import typing as t

import pytest
from budgetguard_companion import messages
from budgetguard_companion.endpoints import endpoints_of
from PIL import Image

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _nim_request

IMAGE_NODES = [name for name, node in _catalog.CATALOG.items() if node.kind == "image"]


def request(name: str, mode: str | None = None) -> _nim_request.Request:
    """Return the request for a node."""
    node = _catalog.CATALOG[name]
    if node.kind == "llm":
        return _nim_request.Request(name, node.kind, mode, max_tokens=node.max_tokens)
    return _nim_request.Request(name, node.kind, mode, node.steps, node.cfg_scale, node.width, node.height)


@pytest.mark.parametrize("mode", [None, "base", "canny"])
@pytest.mark.parametrize("name", IMAGE_NODES)
def test_an_image_is_asked_for_as_the_companion_does(name: str, mode: str | None) -> None:
    made = json.loads(request(name, mode).body(7))
    entry: dict[str, t.Any] = {"url": "https://nim.example.com", **({"mode": mode} if mode else {})}
    (endpoint,) = endpoints_of({"nim_endpoints": {name: {"aws": [entry]}}})
    picture = base64.b64decode(made["image"].partition(",")[2]) if "image" in made else None
    # What the artist's node asks for unless somebody changes it.
    wish = messages.ImageWish(_nim_request.PROMPT, seed=7, image=picture)
    assert made == messages.image_body(endpoint, wish)


def test_a_text_is_asked_for_as_the_companion_does() -> None:
    made = json.loads(request("Llama 3.1").body(7, "meta/llama"))
    assert made == messages.text_body("meta/llama", messages.TextWish(_nim_request.QUESTION, seed=7))
    assert made["max_tokens"] == inspect.signature(messages.TextWish).parameters["max_tokens"].default


def test_an_image_to_work_on_has_the_size_that_is_asked_for_and_edges() -> None:
    picture = Image.open(io.BytesIO(_nim_request.checkered(96, 80, 16)))
    assert picture.size == (96, 80)
    colours = picture.convert("L").getcolors()
    assert colours is not None
    assert len(colours) > 20
    pixels = picture.convert("L").load()
    assert pixels is not None
    assert (pixels[90, 0], pixels[90, 16], pixels[90, 79]) == (239, 32, 239)


def test_a_request_is_told_in_words() -> None:
    assert request("FLUX Schnell").told() == "an image of 1024x1024 in 4 steps"
    assert request("Phi-3").told() == "a text of up to 512 tokens"
