# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent to a NIM, and what its answers mean. Pure.

The forms of the APIs: https://docs.nvidia.com/nim/visual-genai/1.7.0/performance.html for images,
https://docs.nvidia.com/nim/large-language-models/latest/api-reference.html for texts.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

from .endpoints import Endpoint

CALL = "call your TechOps technician"
KONTEXT, SCHNELL = "kontext", "schnell"
VARIANTS = ("canny", "depth")
HIGHEST_SEED = 4294967295
LOOPBACK = ("localhost", "127.0.0.1", "::1")
NVIDIA_FIELD = "NVIDIA API Key / NGC API Key"
SHOWN_LETTERS = 300
FINISH_REASON = re.compile(r"[A-Z_]{1,40}")


class RequestError(Exception):
    """A NIM cannot be asked, or did not do what it was asked. The text is for the artist and holds no secret.

    C(elsewhere) tells whether another endpoint might do it.
    """

    def __init__(self, text: str, elsewhere: bool = False) -> None:
        super().__init__(text)
        self.elsewhere = elsewhere


@dataclass(frozen=True)
class ImageWish:
    """What the artist wants to see. C(image) is a PNG."""

    prompt: str
    width: int = 1024
    height: int = 1024
    steps: int = 30
    guidance: float = 3.5
    seed: int = 0
    image: bytes | None = None


@dataclass(frozen=True)
class TextWish:
    """What the artist wants to read."""

    prompt: str
    max_tokens: int = 512
    temperature: float = 0.7
    seed: int = 0


def image_body(endpoint: Endpoint, wish: ImageWish) -> dict[str, t.Any]:
    """Return the body of POST /v1/infer. Raises RequestError where an image is missing, or has no place."""
    node = endpoint.node.lower()
    variant = endpoint.mode or next((name for name in VARIANTS if name in node), None)
    if not wish.prompt.strip():
        raise RequestError("The prompt is empty: write what the image should show.")
    if (KONTEXT in node or variant in VARIANTS) and wish.image is None:
        raise RequestError(f"{endpoint.node} needs an image: connect one to the input image.")
    body: dict[str, t.Any] = {
        "prompt": wish.prompt,
        "steps": min(wish.steps, 4) if SCHNELL in node else wish.steps,
        "cfg_scale": 0 if SCHNELL in node else wish.guidance,
        "seed": wish.seed % (HIGHEST_SEED + 1),
    }
    uri = "data:image/png;base64," + base64.b64encode(wish.image).decode("ascii") if wish.image is not None else None
    if KONTEXT in node:
        return {**body, "image": uri, "aspect_ratio": "match_input_image"}
    body.update(width=wish.width, height=wish.height)
    if variant in VARIANTS:
        return {**body, "mode": variant, "image": uri, "preprocess_image": True}
    if uri is not None:
        raise RequestError(f"{endpoint.node} takes no image: disconnect it, or choose FLUX Canny, Depth or Kontext.")
    return {**body, "mode": endpoint.mode} if endpoint.mode else body


def text_body(model: str, wish: TextWish) -> dict[str, t.Any]:
    """Return the body of POST /v1/chat/completions."""
    if not wish.prompt.strip():
        raise RequestError("The prompt is empty: write what the model should answer to.")
    return {
        "model": model,
        "messages": [{"role": "user", "content": wish.prompt}],
        "max_tokens": wish.max_tokens,
        "temperature": wish.temperature,
        "seed": wish.seed % (HIGHEST_SEED + 1),
    }


def headers(endpoint: Endpoint, credentials: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, str]:
    """Return how this endpoint is asked. A secret goes only where nobody listens in.

    Raises RequestError.
    """
    found = {"Accept": "application/json"}
    if endpoint.auth == "none":
        return found
    if endpoint.auth == "bearer":
        secret, what = credentials.get("nvidia", {}).get(NVIDIA_FIELD, "").strip(), "NVIDIA key"
    elif endpoint.auth == "gateway":
        secret, what = credentials.get("gateway", {}).get("Token", "").strip(), "token for the gateway"
    else:
        raise RequestError(f"{endpoint.place()} asks for a login of an unknown kind: {CALL}.")
    if not secret:
        raise RequestError(f"This workstation has no {what}: {CALL}.", elsewhere=True)
    if endpoint.auth == "bearer" and not _is_private(endpoint.infer_url):
        raise RequestError(f"{endpoint.place()} is not reached by https, so the key is not sent: {CALL}.")
    return {**found, "Authorization": f"Bearer {secret}"}


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def images(endpoint: Endpoint, body: bytes) -> list[bytes]:
    """Return the images of an answer. Raises RequestError."""
    artifacts = _mapping(endpoint, body).get("artifacts")
    if not isinstance(artifacts, list) or not artifacts:
        raise _strange(endpoint, "no image")
    return [_image(endpoint, artifact) for artifact in artifacts]


def _image(endpoint: Endpoint, artifact: object) -> bytes:
    if not isinstance(artifact, dict):
        raise _strange(endpoint, "no image")
    reason = artifact.get("finishReason")
    if reason == "CONTENT_FILTERED":
        raise RequestError(
            f"{endpoint.node} filtered the content. Change the prompt or the image; trying again won't do."
        )
    if reason not in (None, "SUCCESS"):
        word = reason if isinstance(reason, str) and FINISH_REASON.fullmatch(reason) else "it does not say why"
        raise RequestError(f"{endpoint.node} made no image: {word}.")
    try:
        return base64.b64decode(artifact["base64"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise _strange(endpoint, "no image") from None


def text(endpoint: Endpoint, body: bytes) -> str:
    """Return the text of an answer. Raises RequestError."""
    try:
        content = _mapping(endpoint, body)["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise _strange(endpoint, "no text")
    return content


def model(endpoint: Endpoint, body: bytes) -> str:
    """Return which model of a list to ask for: the one of the config, or the only one of a NIM of one's own.

    NVIDIA's names differ from those of its images in dots and hyphens. Raises RequestError.
    """
    listed = _mapping(endpoint, body).get("data")
    names = [item.get("id") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    found = [name for name in names if isinstance(name, str)]
    if endpoint.model:
        found = [name for name in found if _comparable(name) == _comparable(endpoint.model)]
    elif endpoint.provider == "nvidia-hosted":
        found = []
    if not found:
        raise RequestError(f"{endpoint.place()} has no model {endpoint.model or endpoint.node}: {CALL}.")
    return found[0]


REQUEST_COUNTS = (
    "num_requests_running",
    "num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "nv_inference_pending_request_count",
)
"""The metrics of NIMs that tell how many requests there are now, as the studio's guard reads them."""


def is_working(metrics: str) -> bool | None:
    """Return whether a NIM has requests now, from its metrics in Prometheus' text format; None if they do not tell."""
    counts = []
    for line in metrics.splitlines():
        name, _blank, rest = line.partition("}") if "{" in line else line.partition(" ")
        if name.partition("{")[0].strip() in REQUEST_COUNTS and rest.split():
            try:
                counts.append(float(rest.split()[0]))
            except ValueError:
                continue
    return any(count > 0 for count in counts) if counts else None


def _comparable(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _mapping(endpoint: Endpoint, body: bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _strange(endpoint, "something that is not JSON")
    return found


def _strange(endpoint: Endpoint, what: str) -> RequestError:
    return RequestError(f"{endpoint.place()} answered with {what} for {endpoint.node}: {CALL}.")


MEANINGS: dict[int, tuple[str, bool]] = {
    302: ("the result is too large to be sent back directly: ask for a smaller image", False),
    402: (f"NVIDIA's credits are used up: {CALL}", True),
    404: (f"it is not there, or not started: start it, or {CALL}", True),
    408: ("it took too long: try again", True),
    413: ("the image is too large for the gateway: make it smaller", False),
    429: ("too many requests at the moment: wait a little and try again", True),
    451: (f"NVIDIA does not offer it in this region: {CALL}", True),
    500: ("it failed inside: try again, with fewer steps or a smaller image", True),
    502: ("it is restarting: try again in a minute", True),
    503: (f"it is stopped, or still starting: wait, start it, or {CALL}", True),
    504: ("it took too long: try again", True),
}
"""What an HTTP status means to the artist, and whether another endpoint might do better."""


def refusal(endpoint: Endpoint, status: int, body: bytes, secrets: t.Iterable[str]) -> RequestError:
    """Return the error for an answer that is not 200."""
    # What is cut short first may end with the half of a secret, which nobody would find.
    said = _short(hidden(_said(body), secrets))
    if status in (401, 403):
        revoked = "revoked" in said
        which = "NVIDIA key" if endpoint.auth == "bearer" else "token"
        meaning = f"it does not take this workstation's {which}{', which was revoked' if revoked else ''}: {CALL}"
        return RequestError(f"{endpoint.node} on {endpoint.place()}: {meaning} (HTTP {status}).", elsewhere=True)
    if status in (400, 422):
        return RequestError(f"{endpoint.node} on {endpoint.place()} does not take this request: {said or 'no reason'}.")
    meaning, elsewhere = MEANINGS.get(status, (f"an answer that is not expected: {CALL}", status >= 500))
    return RequestError(f"{endpoint.node} on {endpoint.place()}: {meaning} (HTTP {status}).", elsewhere)


def _said(body: bytes) -> str:
    """Return what an error answer says."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(found, dict):
        return ""
    detail = found.get("detail") or found.get("error") or found.get("message") or ""
    if isinstance(detail, list):
        parts = [item for item in detail if isinstance(item, dict)]
        detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ['?'])[1:]))}: {item.get('msg')}" for item in parts)
    return str(detail)


def _short(said: str) -> str:
    return " ".join(said.split())[:SHOWN_LETTERS]


def hidden(said: str, secrets: t.Iterable[str]) -> str:
    """Return a text without any of the secrets in it."""
    for secret in sorted((one for one in secrets if len(one) >= 4), key=len, reverse=True):
        said = said.replace(secret, "(hidden)")
    return said


def secrets_of(credentials: t.Mapping[str, t.Mapping[str, str]]) -> list[str]:
    """Return all values that must not show up in a text."""
    return [value for fields in credentials.values() for value in fields.values() if value]
