# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA answers on other hosts: hosted models, the public list of them, and the functions themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.sandbox.nim_stub import (
    Host,
    HttpAnswer,
    HttpRequest,
    NoConnectionError,
    answer_of_nim,
    json_answer,
)
from tests.sandbox.nvidia.account import CLOUD_FUNCTIONS, NvidiaAccount
from tests.sandbox.nvidia.functions import CloudFunctions

IMAGES_HOST = "ai.api.nvidia.com"
MODELS_HOST = "integrate.api.nvidia.com"
INVOCATION_DOMAIN = ".invocation.api.nvcf.nvidia.com"
#: Hosted models by their path, and the container that would answer the same.
IMAGE_MODELS = {
    f"/v1/genai/{name}": f"nvcr.io/nim/{name}:1.0.0"
    for name in (
        "black-forest-labs/flux.1-dev",
        "black-forest-labs/flux.1-schnell",
        "black-forest-labs/flux.1-kontext-dev",
        "stabilityai/stable-diffusion-xl",
        "microsoft/trellis",
    )
}
LANGUAGE_MODELS = (
    "meta/llama3-8b-instruct",
    "meta/llama-3.1-8b-instruct",
    "mistralai/mixtral-8x7b-instruct-v0.1",
    "microsoft/phi-3-mini-4k-instruct",
)
HTTPS_PORT = 443


class NvidiaHosts:
    """The hosts of NVIDIA that are reached by name. `retired` are models that NVIDIA no longer hosts."""

    def __init__(self, account: NvidiaAccount, functions: CloudFunctions) -> None:
        self.account = account
        self.functions = functions
        self.retired: set[str] = set()

    def host(self, name: str) -> Host | None:
        """Return the one of this name; None if it is not NVIDIA's, or no function has this id."""
        if name == IMAGES_HOST:
            return _ImageModels(self)
        if name == MODELS_HOST:
            return _LanguageModels(self)
        function_id = name.removesuffix(INVOCATION_DOMAIN)
        if function_id != name and self.functions.is_function(function_id):
            return _Function(self, function_id)
        return None

    def reset(self) -> None:
        """Bring all models back."""
        self.retired.clear()


class _HttpsHost:
    """A host that speaks HTTPS and wants a key."""

    def __init__(self, nvidia: NvidiaHosts) -> None:
        self.nvidia = nvidia

    def check_connection(self, scheme: str, port: int) -> None:
        """Raise `NoConnectionError` for anything but HTTPS."""
        if scheme != "https" or port != HTTPS_PORT:
            raise NoConnectionError(f"NVIDIA answers https on port {HTTPS_PORT}, not {scheme} on {port}")

    def refusal(self, headers: Mapping[str, str], product: str) -> HttpAnswer | None:
        """Return the answer to a request whose key is not good enough; None if it is."""
        scheme, _space, token = headers.get("Authorization", "").partition(" ")
        key = self.nvidia.account.find(token) if scheme == "Bearer" else None
        if key is None:
            return json_answer({"status": 401, "title": "Unauthorized", "detail": "Authentication failed"}, 401)
        if product not in key.products:
            return json_answer({"status": 403, "title": "Forbidden", "detail": "Authorization failed"}, 403)
        return None


class _ImageModels(_HttpsHost):
    """Models that make images or 3D objects, each at an address of its own."""

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what a NIM would answer at /v1/infer."""
        self.check_connection(scheme, port)
        refused = self.refusal(request.headers, "ai-foundations")
        if refused is not None:
            return refused
        image = IMAGE_MODELS.get(request.path)
        if image is None or request.path in self.nvidia.retired:
            return json_answer({"status": 404, "title": "Not Found", "detail": "Function not found"}, 404)
        return answer_of_nim(image, HttpRequest(request.method, "/v1/infer", request.headers, request.body))


class _LanguageModels(_HttpsHost):
    """All language models at one address; the request names the model. The list is public."""

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return the list, or what the model answers."""
        self.check_connection(scheme, port)
        models = [name for name in LANGUAGE_MODELS if name not in self.nvidia.retired]
        if (request.method, request.path) == ("GET", "/v1/models"):
            return json_answer({"object": "list", "data": [{"id": name, "object": "model"} for name in models]})
        refused = self.refusal(request.headers, "ai-foundations")
        if refused is not None:
            return refused
        try:
            model = json.loads(request.body or b"{}").get("model")
        except (ValueError, AttributeError):
            model = None
        if model not in models:
            return json_answer({"status": 404, "title": "Not Found", "detail": f"Model {model} not found"}, 404)
        return answer_of_nim(f"nvcr.io/nim/{model}:1.0.0", request)


class _Function(_HttpsHost):
    """A function of the organisation. The path goes through to the container."""

    def __init__(self, nvidia: NvidiaHosts, function_id: str) -> None:
        super().__init__(nvidia)
        self._function_id = function_id

    def answer(self, scheme: str, port: int, request: HttpRequest) -> HttpAnswer:
        """Return what the container answers."""
        self.check_connection(scheme, port)
        refused = self.refusal(request.headers, CLOUD_FUNCTIONS)
        if refused is not None:
            return refused
        image = self.nvidia.functions.running_image(self._function_id)
        if image is None:
            detail = f"Function id '{self._function_id}': No active version"
            return json_answer({"status": 404, "title": "Not Found", "detail": detail}, 404)
        # Which API a container has is read from where NVIDIA published it, which the copy's name does not say.
        stock = next((name for name in IMAGE_MODELS.values() if _last(name) == _last(image)), image)
        return answer_of_nim(stock, request)


def _last(image: str) -> str:
    """Return the last part of an image's path, without tag and digest."""
    return image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]
