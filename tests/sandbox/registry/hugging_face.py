# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hugging Face, as far as the right to download is concerned. Stateless: what a token may do stands in the token.

A token is ``hf_`` and 8 characters or more. All are valid and have accepted every licence but those with one of these
words in them, in any case: ``unknown`` is not valid, ``nolicence`` has accepted none, ``nocanny`` has not accepted that
of FLUX.1-Canny-dev, ``waiting`` has asked and not been answered, ``narrow`` is fine-grained without the right to gated
repositories.
"""

from __future__ import annotations

import re

from tests.sandbox.nim_stub import HttpAnswer, HttpRequest, json_answer

#: The repositories with gates, as in the catalogue's licences.
GATED = frozenset(
    {
        *(f"black-forest-labs/FLUX.1-{name}" for name in ("dev", "Canny-dev", "Depth-dev", "Kontext-dev", "schnell")),
        *(f"black-forest-labs/FLUX.1-{name}-onnx" for name in ("dev", "Canny-dev", "Depth-dev", "Kontext-dev")),
        "black-forest-labs/FLUX.1-schnell-onnx",
        "stabilityai/stable-diffusion-3.5-large",
        "stabilityai/stable-diffusion-3.5-large-tensorrt",
        "stabilityai/stable-diffusion-3.5-controlnets-tensorrt",
    }
)
PUBLIC = frozenset({"openai-community/gpt2"})
#: An old name of a repository, and its present one.
RENAMED = {"gpt2": "openai-community/gpt2"}
TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
PAGE = "https://huggingface.co"


def hub(request: HttpRequest) -> HttpAnswer | None:
    """Answer who somebody is, and whether he may download a repository."""
    scheme, _space, token = str(request.headers.get("Authorization", "")).partition(" ")
    given = token if scheme == "Bearer" else None
    if request.method != "GET":
        return None
    if request.path == "/api/whoami-v2":
        return _account(given)
    match = re.fullmatch(r"/api/models/(?P<name>[\w.-]+(?:/[\w.-]+)?)/auth-check", request.path)
    return None if match is None else _access(match["name"], given)


def _is_valid(token: str) -> bool:
    return TOKEN.fullmatch(token) is not None and "unknown" not in token.lower()


def _account(token: str | None) -> HttpAnswer:
    if token is None or not _is_valid(token):
        return _error(401, None, "Invalid username or password.")
    return json_answer({"type": "user", "name": "studio-techops", "auth": {"type": "access_token"}})


def _access(name: str, token: str | None) -> HttpAnswer:
    if token is not None and not _is_valid(token):
        return _error(401, None, "Invalid credentials in Authorization header")
    if name in RENAMED:
        answer = HttpAnswer(307, b"", "text/plain")
        answer.headers["Location"] = f"/api/models/{RENAMED[name]}/auth-check"
        return answer
    if name in PUBLIC:
        return HttpAnswer(200, b"", "text/plain")
    if name not in GATED:
        return _error(401 if token is None else 404, "RepoNotFound", "Repository not found")
    if token is None:
        return _error(
            401, "GatedRepo", f"Access to model {name} is restricted. You must be authenticated to access it."
        )
    return _gate(name, token.lower())


def _gate(name: str, word: str) -> HttpAnswer:
    if "narrow" in word:
        text = "Please enable access to public gated repositories in your fine-grained token settings"
        return _error(403, "GatedRepo", f"{text} to view this repository.")
    if "waiting" in word:
        return _error(403, "GatedRepo", "Your request to access this model is awaiting a review from the repo authors.")
    if "nolicence" in word or ("nocanny" in word and "Canny" in name):
        text = f"Access to model {name} is restricted and you are not in the authorized list."
        return _error(403, "GatedRepo", f"{text} Visit {PAGE}/{name} to ask for access.")
    return HttpAnswer(200, b"", "text/plain")


def _error(status: int, code: str | None, text: str) -> HttpAnswer:
    answer = json_answer({"error": text}, status)
    answer.headers["X-Error-Message"] = text
    if code is not None:
        answer.headers["X-Error-Code"] = code
    return answer
