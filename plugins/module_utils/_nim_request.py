# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The request that an artist's node sends to a NIM, and what the answer is worth. Pure.

The bodies are those of the companion, which a test compares. The forms of the APIs:
https://docs.nvidia.com/nim/visual-genai/1.7.0/performance.html for images,
https://docs.nvidia.com/nim/large-language-models/latest/api-reference.html for texts.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import struct
import typing as t
import zlib

IMAGE = "image"
LLM = "llm"
KINDS = (IMAGE, LLM)

MODELS_PATH = "/v1/models"

PROMPT = "A lighthouse on a cliff at dusk, waves below, wide shot, film grain"
QUESTION = "Describe, in as much detail as you can, how a film is made, from the first idea to the first screening."
TEMPERATURE = 0.7

_KONTEXT = "kontext"
_WITH_IMAGE = ("canny", "depth")
_SHOWN_LETTERS = 300


class AnswerError(Exception):
    """A NIM did not do what it was asked for. The text says what it did instead."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a NIM: an image of this size in so many steps, or a text of so many tokens at most."""

    node: str
    kind: str
    mode: str | None = None
    steps: int = 30
    cfg_scale: float = 3.5
    width: int = 1024
    height: int = 1024
    max_tokens: int = 512

    @property
    def megapixels(self) -> float:
        """The size of the image in millions of pixels."""
        return self.width * self.height / 1e6

    def told(self) -> str:
        """Say it in words."""
        if self.kind == LLM:
            return f"a text of up to {self.max_tokens} tokens"
        return f"an image of {self.width}x{self.height} in {self.steps} steps"

    def body(self, seed: int, model: str | None = None) -> bytes:
        """Return the body of the request. ``model`` is what a language model calls itself."""
        content = self._text(seed, model) if self.kind == LLM else self._image(seed)
        return json.dumps(content).encode()

    def _text(self, seed: int, model: str | None) -> dict[str, t.Any]:
        return {
            "model": model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": self.max_tokens,
            "temperature": TEMPERATURE,
            "seed": seed,
        }

    def _image(self, seed: int) -> dict[str, t.Any]:
        node = self.node.lower()
        variant = self.mode or next((name for name in _WITH_IMAGE if name in node), None)
        content: dict[str, t.Any] = {
            "prompt": PROMPT,
            "steps": self.steps,
            "cfg_scale": self.cfg_scale,
            "seed": seed,
        }
        if _KONTEXT in node:
            return {**content, "image": self._input(), "aspect_ratio": "match_input_image"}
        content.update(width=self.width, height=self.height)
        if variant in _WITH_IMAGE:
            return {**content, "mode": variant, "image": self._input(), "preprocess_image": True}
        return {**content, "mode": self.mode} if self.mode else content

    def _input(self) -> str:
        picture = checkered(self.width, self.height)
        return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def checkered(width: int, height: int, field: int = 64) -> bytes:
    """Return a PNG with edges and depths of grey, for NIMs that work on an image."""

    def row(number: int) -> bytes:
        return b"\x00" + bytes(
            (255 * column // width) if (column // field + number // field) % 2 else 32 for column in range(width)
        )

    # All rows of a band are alike.
    bands = [row(number) for number in range(0, height, field)]
    rows = b"".join(bands[number // field] for number in range(height))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = [struct.pack(">I", len(content)) + kind + content + _check_sum(kind + content) for kind, content in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _check_sum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def made_image(body: bytes) -> None:
    """Check that an answer of /v1/infer has an image in it. Raises AnswerError."""
    artifacts = _mapping(body).get("artifacts")
    if not isinstance(artifacts, list) or not artifacts or not isinstance(artifacts[0], dict):
        raise AnswerError("its answer has no image")
    reason = artifacts[0].get("finishReason")
    if reason not in (None, "SUCCESS"):
        raise AnswerError(f"it made no image: {_short(reason)}")
    try:
        picture = base64.b64decode(artifacts[0]["base64"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        picture = b""
    if not picture:
        raise AnswerError("its answer has no image")


def written_tokens(body: bytes) -> int:
    """Return how many tokens a language model has written. Raises AnswerError."""
    content = _mapping(body)
    usage = content.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if not content.get("choices"):
        raise AnswerError("its answer has no text")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise AnswerError("its answer does not tell how many tokens it has written")
    return count


def model_name(body: bytes) -> str:
    """Return the first model of /v1/models, which is the NIM's own. Raises AnswerError."""
    listed = _mapping(body).get("data")
    names = [item.get("id") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    found = [name for name in names if isinstance(name, str) and name]
    if not found:
        raise AnswerError(f"{MODELS_PATH} names no model")
    return found[0]


def refusal(status: int, body: bytes) -> str:
    """Return what an answer that is not 200 says, in one line."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    detail: t.Any = None
    if isinstance(content, dict):
        detail = content.get("detail") or content.get("error") or content.get("message")
    if isinstance(detail, list):
        parts = [item for item in detail if isinstance(item, dict)]
        detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ['?'])))}: {item.get('msg')}" for item in parts)
    return f"answers {status}" + (f": {_short(detail)}" if detail else "")


def _mapping(body: bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AnswerError("its answer is not JSON")
    return found


def _short(text: t.Any) -> str:
    return " ".join(str(text).split())[:_SHOWN_LETTERS]


__all__ = (
    "IMAGE",
    "KINDS",
    "LLM",
    "MODELS_PATH",
    "AnswerError",
    "Request",
    "checkered",
    "made_image",
    "model_name",
    "refusal",
    "written_tokens",
)
