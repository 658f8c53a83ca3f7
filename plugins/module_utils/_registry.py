# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Are the keys good for what they are needed for? Asked of NVIDIA and Hugging Face, without pulling anything.

Sources of the calls:

* the NGC key: ``ngcsdk`` 4.37 ngcbase/api/authentication.py ``get_sak_key_details``; its end: NVIDIA/infra-controller
  rest-api/auth ``getSAKInfo``, with the fields of ngcsdk organization/data/uis/ApiKey.py;
* a key of the old kind: the same file of ngcsdk, ``_construct_token_url``;
* the right to pull: the token flow of the registry API, https://distribution.github.io/distribution/spec/auth/token/,
  and opendatahub-io/odh-model-controller internal/controller/utils/nim.go ``attemptToPullManifest``;
* Hugging Face: ``huggingface_hub`` hf_api.py ``auth_check`` and ``whoami``, utils/_http.py ``hf_raise_for_status``.
  The description of a gated repository is public, so only ``auth-check`` tells who may download it.

A key is sent to its own service and nowhere else, whatever a redirect or a challenge says.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import re
import time
import typing as t
import urllib.parse

from ansible_collections.budgetguard.techops.plugins.module_utils import _http

NGC_API = "https://api.ngc.nvidia.com"
NGC_LOGIN = "https://authn.nvidia.com"
NGC_REGISTRY = "nvcr.io"
HUGGING_FACE = "https://huggingface.co"

PERSONAL = "personal"
SERVICE = "service"
LEGACY = "legacy"

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)

ATTEMPTS = 3
"""Tries per call while a service is busy or does not answer."""

_PAUSES = (0.5, 2.0)
_PASSING = frozenset({429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 307, 308})
_TAGS_NAMED = 5
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclasses.dataclass(frozen=True)
class KeyCheck:
    """What NVIDIA says about an NGC key. ``valid`` None: nobody could be asked; then ``reason`` says why."""

    valid: bool | None
    reason: str | None = None
    kind: str | None = None
    organisation: str | None = None
    user: str | None = None
    products: tuple[str, ...] = ()
    expires_at: str | None = None


@dataclasses.dataclass(frozen=True)
class ImageCheck:
    """Whether the key may pull an image. ``allowed`` None: not known, ``reason`` says why."""

    image: str
    allowed: bool | None
    reason: str | None = None
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class RepositoryCheck:
    """Whether a token may download a repository of Hugging Face. ``token_valid`` is what the answer says about it."""

    name: str
    allowed: bool | None
    reason: str | None = None
    token_valid: bool | None = None


@dataclasses.dataclass(frozen=True)
class Reference:
    """An image: where it is, and which one, as a tag or a digest. Where both are given, the digest decides."""

    registry: str
    repository: str
    version: str

    @classmethod
    def parse(cls, image: str) -> Reference:
        """Take an image apart: ``registry/path:tag``, ``registry/path@digest`` or ``registry/path:tag@digest``.

        Raises ValueError for anything else.
        """
        match = _IMAGE.fullmatch(image)
        if match is None:
            raise ValueError(
                f"{image!r} is not registry/path:tag or registry/path@sha256:..., "
                f"such as {NGC_REGISTRY}/nim/meta/llama-3.1-8b-instruct:1.15.5"
            )
        return cls(match["registry"], match["repository"], match["digest"] or match["tag"])

    @property
    def kind(self) -> str:
        """What the version is, a tag or a digest: no tag has a colon."""
        return "digest" if ":" in self.version else "tag"


_IMAGE = re.compile(
    r"(?P<registry>[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]+)?|localhost(?::[0-9]+)?)"
    r"/(?P<repository>[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*)"
    r"(?=[:@])(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class Services:
    """Asks NVIDIA and Hugging Face. Can be used from several threads."""

    def __init__(self, client: _http.Client) -> None:
        self._client = client

    # -- the NGC key ---------------------------------------------------------------------------------------------------

    def ngc_key(self, key: str) -> KeyCheck:
        """Ask NVIDIA whose key it is."""
        try:
            return self._new_key(key) if key.startswith("nvapi-") else self._legacy_key(key)
        except _UnansweredError as exc:
            return KeyCheck(None, str(exc))

    def _new_key(self, key: str) -> KeyCheck:
        form = urllib.parse.urlencode({"credentials": key}).encode()
        answer = self._ask("POST", f"{NGC_API}/v3/keys/get-caller-info", _FORM, form)
        details = self._details(form)
        expires_at = _moment(details.get("expiryDate"))
        if answer.status != 200:
            return KeyCheck(False, _refusal(answer, details, expires_at, key), expires_at=expires_at)
        said = answer.json_object()
        user: t.Any = said.get("user") if isinstance(said.get("user"), dict) else {}
        kinds = {"PERSONAL_KEY": PERSONAL, "SERVICE_KEY": SERVICE}
        return KeyCheck(
            True,
            kind=kinds.get(str(said.get("type")), str(said.get("type") or "").lower() or None),
            organisation=_text(said.get("orgName")),
            user=_text(user.get("email") or user.get("name")),
            products=tuple(sorted(str(item) for item in said.get("products") or () if isinstance(item, str))),
            expires_at=expires_at,
        )

    def _details(self, form: bytes) -> dict[str, t.Any]:
        """Return NVIDIA's record of a key, which has its end and its state. Empty where there is none to be had."""
        try:
            answer = self._ask("POST", f"{NGC_API}/v3/keys/get-sak-info", _FORM, form)
        except _UnansweredError:
            return {}
        record = answer.json_object().get("apiKey") if answer.status == 200 else None
        return record if isinstance(record, dict) else {}

    def _legacy_key(self, key: str) -> KeyCheck:
        answer = self._ask("GET", f"{NGC_LOGIN}/token?service=ngc", _basic(key))
        if answer.status == 200 and answer.json_object().get("token"):
            return KeyCheck(True, kind=LEGACY)
        if answer.status in (401, 403):
            return KeyCheck(False, "NVIDIA does not know this key; new ones begin with nvapi-", kind=LEGACY)
        return KeyCheck(None, f"{_host(NGC_LOGIN)} answers {answer.status}", kind=LEGACY)

    # -- the right to pull ---------------------------------------------------------------------------------------------

    def image(self, image: str, key: str) -> ImageCheck:
        """Ask NVIDIA's registry for the manifest of an image. Raises ValueError for what is no image.

        Of an image at another registry nothing is asked, since NVIDIA's key must not go there.
        """
        reference = Reference.parse(image)
        if reference.registry != NGC_REGISTRY:
            return ImageCheck(image, None, f"is not at {NGC_REGISTRY}, so the NGC key does not decide about it")
        try:
            return self._image(image, reference, key)
        except _UnansweredError as exc:
            return ImageCheck(image, None, str(exc))

    def _image(self, image: str, reference: Reference, key: str) -> ImageCheck:
        url = f"https://{reference.registry}/v2/{reference.repository}/manifests/{reference.version}"
        accept = {"Accept": ", ".join(MANIFEST_TYPES)}
        bearer: dict[str, str] = {}
        answer = self._ask("HEAD", url, accept)
        if answer.status == 401:
            login = self._ask("GET", _token_url(answer, reference), _basic(key))
            if login.status != 200:
                return _image_verdict(image, login)
            token = login.json_object().get("token") or login.json_object().get("access_token")
            # A token alone proves nothing: the registry gives one to everybody. The manifest decides.
            bearer = {"Authorization": f"Bearer {token}"}
            answer = self._ask("HEAD", url, {**accept, **bearer})
        if answer.status == 404:
            return ImageCheck(image, False, self._missing(reference, bearer))
        return _image_verdict(image, answer)

    def _missing(self, reference: Reference, bearer: t.Mapping[str, str]) -> str:
        """Say what there is instead of a tag or digest that is not there."""
        url = f"https://{reference.registry}/v2/{reference.repository}/tags/list?n=1000"
        try:
            answer = self._ask("GET", url, bearer)
        except _UnansweredError:
            return f"there is no {reference.kind} {reference.version}"
        tags = [str(tag) for tag in answer.json_object().get("tags") or ()] if answer.status == 200 else []
        if not tags:
            return f"{reference.registry} has no such image; is the path right?"
        newest = ", ".join(sorted(tags, key=_natural, reverse=True)[:_TAGS_NAMED])
        if reference.kind == "digest":
            return f"there is no digest {reference.version}; among the {len(tags)} tags that there are: {newest}"
        return f"there is no tag {reference.version}; among the {len(tags)} that there are: {newest}"

    # -- Hugging Face --------------------------------------------------------------------------------------------------

    def repository(self, name: str, token: str) -> RepositoryCheck:
        """Ask whether the account of a token may download a repository such as ``black-forest-labs/FLUX.1-dev``."""
        url = f"{HUGGING_FACE}/api/models/{urllib.parse.quote(name)}/auth-check"
        bearer = {"Authorization": f"Bearer {token}"}
        try:
            answer = self._ask("GET", url, bearer)
            moved = urllib.parse.urljoin(url, answer.headers.get("location", ""))
            if answer.status in _MOVED and moved.startswith(f"{HUGGING_FACE}/"):
                # A repository that was renamed.
                answer = self._ask("GET", moved, bearer)
        except _UnansweredError as exc:
            return RepositoryCheck(name, None, str(exc))
        return _repository_verdict(name, answer)

    def account(self, token: str) -> tuple[bool | None, str | None]:
        """Return whether the token is valid and the name of its account. Few such calls are allowed per hour."""
        try:
            answer = self._ask("GET", f"{HUGGING_FACE}/api/whoami-v2", {"Authorization": f"Bearer {token}"})
        except _UnansweredError:
            return None, None
        if answer.status == 200:
            return True, _text(answer.json_object().get("name"))
        return (False if answer.status in (401, 403) else None), None

    # -- one call ------------------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, url: str, headers: t.Mapping[str, str] | None = None, body: bytes | None = None
    ) -> _http.Answer:
        """Make a call, none of which changes anything, again while the service is busy.

        Raises :class:`_UnansweredError` with what was wrong at the last try.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_PAUSES[attempt - 1])
            try:
                answer = self._client.request(method, url, headers, body)
            except _http.HttpError as exc:
                problem = str(exc)
                continue
            if answer.status not in _PASSING:
                return answer
            problem = f"{_host(url)} answers {answer.status}"
        raise _UnansweredError(f"{problem}; tried {ATTEMPTS} times")


class _UnansweredError(Exception):
    """A service could not be asked. The text says why."""


def _refusal(answer: _http.Answer, details: t.Mapping[str, t.Any], expires_at: str | None, key: str) -> str:
    """Say why NVIDIA does not accept a key, as far as it says so itself."""
    status = answer.json_object().get("requestStatus")
    said = str(status.get("statusDescription") or "") if isinstance(status, dict) else ""
    said = " ".join(said.replace(key, "***").split())[:200].rstrip(".")
    state = str(details.get("status") or "").upper()
    if state == "EXPIRED" or "expired" in said.lower() or _is_past(expires_at):
        end = f" on {expires_at[:10]}" if expires_at else ""
        return f"it has expired{end}; make a new one at https://org.ngc.nvidia.com/setup/api-keys"
    if state == "REVOKED" or "revoked" in said.lower():
        return "it was revoked; make a new one at https://org.ngc.nvidia.com/setup/api-keys"
    if answer.status in (401, 403):
        return f"NVIDIA does not accept it ({answer.status}{f' {said}' if said else ''}); mistyped, or no longer valid"
    return f"NVIDIA answers {answer.status}{f' {said}' if said else ''}"


def _image_verdict(image: str, answer: _http.Answer) -> ImageCheck:
    """Read what the registry says with its status."""
    if answer.status == 200:
        return ImageCheck(image, True, digest=answer.headers.get("docker-content-digest"))
    reasons = {
        401: "the registry does not accept the NGC key for it (401)",
        402: "NVIDIA wants a subscription for it (402 Payment Required), which the key's organisation does not have",
        403: (
            "the NGC key has no right to pull it (403): its organisation needs access to it (NVIDIA Developer Program "
            "or NVIDIA AI Enterprise) with the terms accepted, and the key the service NGC Catalog"
        ),
        451: "NVIDIA does not offer it in this region (451 Unavailable For Legal Reasons)",
    }
    if answer.status in reasons:
        return ImageCheck(image, False, reasons[answer.status])
    return ImageCheck(image, None, f"{NGC_REGISTRY} answers {answer.status}")


def _token_url(answer: _http.Answer, reference: Reference) -> str:
    """Return where a token for pulling is to be had, as the registry's challenge says."""
    try:
        challenge = answer.headers.get("www-authenticate", "")
        return token_url(challenge, reference.registry, reference.repository, "$oauthtoken")
    except ValueError as exc:
        raise _UnansweredError(str(exc)) from exc


def token_url(challenge: str, registry: str, repository: str, user: str) -> str:
    """Return where a token for pulling is to be had, as a registry's challenge says. Raises ValueError.

    NVIDIA's realm has a query of its own (Apache Mesos src/tests/http_tests.cpp, MESOS-9968) and there is no service.
    """
    scheme, _space, rest = challenge.partition(" ")
    values = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = urllib.parse.urlsplit(values.get("realm", ""))
    if scheme.lower() != "bearer" or not realm.hostname:
        raise ValueError(f"{registry} asks for a login in a way that is not known here")
    host = registry.partition(":")[0]
    own = realm.hostname == host or realm.hostname.endswith(f".{host}")
    if not own or (realm.scheme != "https" and not is_loopback(registry)):
        raise ValueError(f"{registry} sends the login to {realm.hostname}; the key is not sent there")
    query = dict(urllib.parse.parse_qsl(realm.query))
    query.update({"account": user, "scope": f"repository:{repository}:pull"})
    if values.get("service"):
        query["service"] = values["service"]
    return urllib.parse.urlunsplit((realm.scheme, realm.netloc, realm.path, urllib.parse.urlencode(query), ""))


def is_loopback(registry: str) -> bool:
    """Say whether a registry is on this machine, where Docker, too, speaks to it in plain HTTP."""
    return registry.startswith("127.") or registry.partition(":")[0] == "localhost"


def _repository_verdict(name: str, answer: _http.Answer) -> RepositoryCheck:
    """Read what Hugging Face says with its status and its own two headers."""
    code = answer.headers.get("x-error-code", "")
    said = answer.headers.get("x-error-message", "").lower()
    if answer.status == 200:
        return RepositoryCheck(name, True, token_valid=True)
    if answer.status == 401:
        return RepositoryCheck(name, None, "Hugging Face does not accept the token", token_valid=False)
    if code == "RepoNotFound" or answer.status == 404:
        return RepositoryCheck(name, False, "there is no such repository, or the token may not see it", True)
    if answer.status != 403:
        return RepositoryCheck(name, None, f"{_host(HUGGING_FACE)} answers {answer.status}")
    if "fine-grained" in said:
        reason = (
            "the token is fine-grained and has no right to it; switch on 'Read access to contents of all public gated "
            "repos you can access' at https://huggingface.co/settings/tokens"
        )
    elif "awaiting" in said or "pending" in said:
        reason = f"access was asked for, and its authors have not granted it yet; see {HUGGING_FACE}/{name}"
    elif code == "GatedRepo":
        reason = f"its licence is not accepted; accept it at {HUGGING_FACE}/{name}"
    else:
        reason = f"the token has no right to read it; see {HUGGING_FACE}/{name}"
    return RepositoryCheck(name, False, reason, True)


def _basic(key: str) -> dict[str, str]:
    return basic("$oauthtoken", key)


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _host(url: str) -> str:
    return str(urllib.parse.urlsplit(url).hostname)


def _text(value: t.Any) -> str | None:
    return str(value) if isinstance(value, str) and value else None


def _moment(value: t.Any) -> str | None:
    """Return a time of NVIDIA's as UTC without fractions; None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        # Before Python 3.11 fromisoformat knows neither the Z nor fractions of other lengths.
        moment = datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", value.strip()).replace("Z", "+00:00"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_past(moment: str | None) -> bool:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment is not None and moment < now


def _natural(tag: str) -> list[tuple[int, int, str]]:
    """Sort 1.10.0 after 1.9.0, and words such as latest before numbers."""
    parts = re.findall(r"\d+|\D+", tag)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


__all__ = (
    "ATTEMPTS",
    "HUGGING_FACE",
    "LEGACY",
    "NGC_API",
    "NGC_LOGIN",
    "NGC_REGISTRY",
    "PERSONAL",
    "SERVICE",
    "ImageCheck",
    "KeyCheck",
    "Reference",
    "RepositoryCheck",
    "Services",
    "basic",
    "is_loopback",
    "token_url",
)
