# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's keys and registry. Stateless: what a key may do stands in the key.

A key of the new kind is ``nvapi-`` and 16 characters or more, of the old kind base64 of ``name:uuid``. All are valid
but those with one of these words in them, in any case:

========== ============================================================================================
expired    refused as invalid; its record says that it has expired
endedtext  refused with a text that says so; there is no record of it
revoked    refused as invalid; its record says that it was revoked
unknown    refused as invalid
nopull     valid, but the registry gives it no image (403)
unpaid     valid, but the registry wants a subscription (402)
endssoon   valid for two more days
servicekey a service key, of nobody in particular
========== ============================================================================================

The registry gives a token to everybody, as NVIDIA's does, and one that is bound to the right to pull to whoever has it.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
import re
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.sandbox.nim_stub import HttpAnswer, HttpRequest, json_answer

#: What NVIDIA has published, with the tags of its pages and of its API (docs/catalogue.md names the sources).
TAGS: dict[str, tuple[str, ...]] = {
    "nim/black-forest-labs/flux.1-dev": ("1", "1.0", "1.0.0", "1.0.1", "1.1.0", "1.2.0", "1.2.3", "latest"),
    "nim/black-forest-labs/flux.1-kontext-dev": ("1.0.0", "1.1.0", "1.1.2", "1.1.4", "latest"),
    "nim/black-forest-labs/flux.1-schnell": ("1.0.0", "1.1.0", "1.1.2", "1.1.4", "latest"),
    "nim/black-forest-labs/flux.2-klein-4b": ("1.0.1-variant", "1.0.2-variant"),
    "nim/stabilityai/stable-diffusion-3.5-large": ("1.0.0", "1.0.2", "1.1.1"),
    "nim/microsoft/trellis": ("1.0.0", "1.0.1", "1.0.2"),
    "nim/microsoft/phi-3-mini-4k-instruct": ("1.2.3",),
    "nim/meta/llama3-8b-instruct": ("1.0.0", "1.0.3"),
    "nim/meta/llama-3.1-8b-instruct": ("1.1.0", "1.8.6", "1.10.1", "1.12.0", "1.13.1", "1.15.4", "1.15.5"),
    "nim/meta/llama-3.2-11b-vision-instruct": ("1.1.0",),
    "nim/mistralai/mixtral-8x7b-instruct-v0-1": ("1.12.0",),
}
#: Not offered in the European Union, from where the sandbox is asked.
REGION_BLOCKED = frozenset({"nim/meta/llama-3.2-11b-vision-instruct"})
#: Organisations' own images are all there, with any tag: ``nvcr.io/ORGANISATION/...``.
PUBLISHER = "nim/"

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
NEW_KEY = re.compile(r"nvapi-[A-Za-z0-9_-]{16,}")
NO_LONGER_VALID = ("expired", "endedtext", "revoked", "unknown")


def is_valid(key: str) -> bool:
    """Whether NVIDIA accepts a key."""
    name = key if NEW_KEY.fullmatch(key) else _name_in_legacy(key)
    return bool(name) and not any(word in name.lower() for word in NO_LONGER_VALID)


def _name_in_legacy(key: str) -> str:
    """Return the name in a key of the old kind; empty if it is none."""
    try:
        name, _colon, tail = base64.b64decode(key, validate=True).decode().partition(":")
        uuid.UUID(tail)
    except (ValueError, binascii.Error):
        return ""
    return name


# -- api.ngc.nvidia.com ----------------------------------------------------------------------------------------------


def keys(request: HttpRequest) -> HttpAnswer | None:
    """Answer what is asked about a key of the new kind."""
    answers = {"/v3/keys/get-caller-info": _caller_info, "/v3/keys/get-sak-info": _record}
    if request.path not in answers:
        return None
    if request.method != "POST":
        return _status("METHOD_NOT_ALLOWED", "Method not allowed.", 405)
    if request.headers.get("Content-Type") != "application/x-www-form-urlencoded":
        return _status("INVALID_REQUEST", "The body must be a form.", 415)
    given = parse_qs(request.body.decode("utf-8", "replace")).get("credentials", [])
    if len(given) != 1:
        return _status("INVALID_REQUEST", "credentials is missing.", 400)
    return answers[request.path](given[0])


def _caller_info(key: str) -> HttpAnswer:
    if "endedtext" in key.lower():
        return _status("UNAUTHORIZED", "The API key has expired.", 401)
    if not is_valid(key) or not key.startswith("nvapi-"):
        return _status("UNAUTHORIZED", "Invalid API key.", 401)
    info: dict[str, Any] = {
        "requestStatus": {"statusCode": "SUCCESS"},
        "orgName": "0123456789012345",
        "type": "PERSONAL_KEY",
        "products": ["ai-foundations", "nv-cloud-functions", "private-registry", "artifact-catalog"],
        "userId": "sandbox-user",
        "user": {"name": "Sandbox TechOps", "email": "techops@studio.example", "roles": [{"orgRoles": ["USER"]}]},
    }
    if "servicekey" in key.lower():
        info.update({"type": "SERVICE_KEY", "user": None})
    return json_answer(info)


def _record(key: str) -> HttpAnswer:
    word = key.lower()
    if NEW_KEY.fullmatch(key) is None or "unknown" in word or "endedtext" in word:
        return _status("UNAUTHORIZED", "Invalid API key.", 401)
    now = datetime.datetime.now(datetime.timezone.utc)
    days, status = 365, "ACTIVE"
    if "expired" in word:
        days, status = -3, "EXPIRED"
    elif "revoked" in word:
        status = "REVOKED"
    elif "endssoon" in word:
        days = 2
    end = (now + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return json_answer({"apiKey": {"keyId": _digest(key)[7:39], "status": status, "expiryDate": end, "policies": []}})


def _status(code: str, text: str, status: int) -> HttpAnswer:
    return json_answer({"requestStatus": {"statusCode": code, "statusDescription": text}}, status)


# -- authn.nvidia.com ------------------------------------------------------------------------------------------------


def legacy_login(request: HttpRequest) -> HttpAnswer | None:
    """Give a token for a key, of whichever kind."""
    if request.path != "/token":
        return None
    key = _password(request)
    if key is None or not is_valid(key):
        return _status("UNAUTHORIZED", "Invalid credentials.", 401)
    return json_answer({"token": f"sandbox-{_digest(key)[7:23]}", "expires_in": 3600})


# -- nvcr.io ---------------------------------------------------------------------------------------------------------


def registry(request: HttpRequest) -> HttpAnswer | None:
    """Answer what the registry API has for pulling."""
    if request.path == "/proxy_auth":
        return _pull_token(request)
    match = re.fullmatch(r"/v2/(?P<repository>[a-z0-9._/-]+)/(?P<what>manifests/[^/]+|tags/list)", request.path)
    if match is None or request.method not in ("GET", "HEAD"):
        return None
    repository = match["repository"]
    granted = _granted(request, repository)
    if granted is None:
        # NVIDIA's realm has a query, and its challenge has no service.
        realm = f"https://nvcr.io/proxy_auth?scope=repository:{repository}:pull,push"
        answer = _registry_error("UNAUTHORIZED", "authentication required", 401)
        answer.headers["Www-Authenticate"] = f'Bearer realm="{realm}"'
        return answer
    refused = _refused(granted, repository)
    if refused is not None:
        return refused
    if match["what"] == "tags/list":
        return _tags(repository)
    return _manifest(request, repository, match["what"].removeprefix("manifests/"))


def _pull_token(request: HttpRequest) -> HttpAnswer:
    scope = parse_qs(urlsplit(request.target).query).get("scope", [""])[0]
    match = re.fullmatch(r"repository:(?P<repository>[a-z0-9._/-]+):pull(,push)?", scope)
    if match is None:
        return _registry_error("DENIED", "scope is missing or wrong", 400)
    key = _password(request)
    if key is not None and not is_valid(key):
        return _registry_error("UNAUTHORIZED", "Invalid API key", 401)
    word = (key or "").lower()
    right = "nopull" if "nopull" in word or key is None else "unpaid" if "unpaid" in word else "pull"
    content = json.dumps({"repository": match["repository"], "right": right})
    return json_answer({"token": base64.b64encode(content.encode()).decode(), "expires_in": 300})


def _granted(request: HttpRequest, repository: str) -> str | None:
    """Return the right that the token gives; None for one of somewhere else, or none at all."""
    scheme, _space, token = str(request.headers.get("Authorization", "")).partition(" ")
    try:
        content = json.loads(base64.b64decode(token, validate=True)) if scheme == "Bearer" else {}
    except ValueError:
        return None
    return str(content["right"]) if content.get("repository") == repository else None


def _refused(right: str, repository: str) -> HttpAnswer | None:
    if right == "nopull":
        return _registry_error("DENIED", "requested access to the resource is denied", 403)
    if right == "unpaid":
        return _registry_error("DENIED", "payment required", 402)
    if repository in REGION_BLOCKED:
        return HttpAnswer(451, b"")
    return None


def _tags(repository: str) -> HttpAnswer:
    if repository not in TAGS:
        return _registry_error("NAME_UNKNOWN", "repository name not known to registry", 404)
    return json_answer({"name": repository, "tags": sorted(TAGS[repository])})


def _manifest(request: HttpRequest, repository: str, version: str) -> HttpAnswer:
    known = repository in TAGS and (version in TAGS[repository] or version.startswith("sha256:"))
    if not known and repository.startswith(PUBLISHER):
        return _registry_error("MANIFEST_UNKNOWN", "manifest unknown", 404)
    if INDEX_TYPE not in str(request.headers.get("Accept", "")):
        return _registry_error("MANIFEST_UNKNOWN", "OCI index found, but Accept header does not support it", 404)
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).encode()
    digest = version if version.startswith("sha256:") else _digest(f"{repository}:{version}")
    return HttpAnswer(200, body, INDEX_TYPE, {"Docker-Content-Digest": digest})


def _registry_error(code: str, text: str, status: int) -> HttpAnswer:
    return json_answer({"errors": [{"code": code, "message": text}]}, status)


def _password(request: HttpRequest) -> str | None:
    """Return the password of the user $oauthtoken; None without a login, and no key at all for another user."""
    scheme, _space, encoded = str(request.headers.get("Authorization", "")).partition(" ")
    if scheme != "Basic":
        return None
    try:
        user, _colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password if user == "$oauthtoken" else ""


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
