# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Does an endpoint answer as a NIM does? Many at once, each within the time limit of its client.

A NIM is ready when ``/v1/health/ready`` answers 200; its body says nothing certain, and image NIMs have no
``/v1/models``. Source: NVIDIA/k8s-nim-operator manifests/deployment.yaml (probes), internal/controller/platform
(``/v1/metadata``).
"""

from __future__ import annotations

import datetime
import re
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _activity, _http, _registry
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HEALTH_PATH
from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import AUTH

READY = "ready"
STARTING = "starting"
REFUSED = "refused"
UNREACHABLE = "unreachable"
WRONG_SERVICE = "wrong_service"
OPEN = "open"
RESULTS = (READY, STARTING, REFUSED, UNREACHABLE, WRONG_SERVICE, OPEN)

LIVE_PATH = "/v1/health/live"
METADATA_PATH = "/v1/metadata"
METRICS_PATH = "/v1/metrics"

KEY_ONLY = "key"
EMPTY_REQUEST = "request"
"""How a model that NVIDIA hosts is checked: see :meth:`Prober.check`."""

LABELS = ("node", "target", "provider", "gpu_tier", "state")
"""What a caller may say about an endpoint, to find it again in the result."""

_NOT_READY = frozenset({500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_NVIDIA = ".nvidia.com"

Endpoint = t.Mapping[str, t.Any]
Finding = dict[str, t.Any]


class Prober:
    """Checks endpoints, from any number of threads.

    ``nvidia_api_key`` is sent to endpoints that ask for it (``auth`` is ``bearer``), over HTTPS, to hosts of NVIDIA
    and to nobody else. ``gateway_token`` is sent to endpoints whose ``auth`` is ``gateway``.
    """

    def __init__(
        self,
        client: _http.Client,
        nvidia_api_key: str | None = None,
        hosted_check: str = KEY_ONLY,
        gateway_token: str | None = None,
        activity: bool = False,
    ) -> None:
        """Ask NVIDIA about the key when the first hosted model is checked, and only once.

        With ``activity`` a NIM that is ready is also asked whether it works now.
        """
        self._activity = activity
        self._client = client
        self._key = nvidia_api_key
        self._token = gateway_token
        self._hosted_check = hosted_check
        self._key_check: _registry.KeyCheck | None = None

    def prepare(self, endpoints: t.Sequence[Endpoint]) -> None:
        """Do what all checks have in common: ask whether the key is valid, if there is a hosted model."""
        if self._key and any(_is_hosted(endpoint) for endpoint in endpoints):
            self._key_check = _registry.Services(self._client).ngc_key(self._key)

    def check(self, endpoint: Endpoint) -> Finding:
        """Check one endpoint. Whatever goes wrong is in the result.

        A NIM is asked for its health. A model that NVIDIA hosts has no health address: with ``key`` the key is
        checked, which is free, and the address has to answer at all; with ``request`` it gets an empty request with
        the key, which it refuses before it computes anything.
        """
        url = _address(endpoint)
        finding: Finding = {
            "url": endpoint["url"],
            "health_url": None if _is_hosted(endpoint) else url,
            **{label: endpoint.get(label) for label in LABELS},
            "result": UNREACHABLE,
            "reason": None,
            "status": None,
            "latency_ms": None,
            "certificate_expires_at": None,
            "model": None,
            "version": None,
            "busy": None,
            "busy_reason": None,
            "counters": None,
        }
        try:
            if _is_hosted(endpoint):
                finding.update(self._hosted(url))
            else:
                finding.update(self._nim(url, endpoint))
        except _http.HttpError as exc:
            wrong = exc.kind == _http.PROTOCOL
            finding.update(result=WRONG_SERVICE if wrong else UNREACHABLE, reason=str(exc))
        except ValueError as exc:
            finding.update(result=WRONG_SERVICE, reason=str(exc))
        return finding

    # -- a NIM ---------------------------------------------------------------------------------------------------------

    def _nim(self, url: str, endpoint: Endpoint) -> Finding:
        if endpoint.get("auth") == AUTH:
            unguarded = self._without_token(url)
            if unguarded is not None:
                return unguarded
        headers = self.login(url, endpoint)
        answer = self._get(url, headers)
        finding = _facts(answer)
        base = url[: -len(HEALTH_PATH)] if url.endswith(HEALTH_PATH) else None
        if answer.status in _NOT_READY:
            return {**finding, "result": STARTING, "reason": self._why_not_ready(answer.status, base, headers)}
        if answer.status != 200:
            return {**finding, **_refusal(answer, url)}
        if "html" in answer.headers.get("content-type", "").lower():
            return {**finding, "result": WRONG_SERVICE, "reason": "answers with a web page, so this is not a NIM"}
        finding["result"] = READY
        if base is not None:
            finding.update(self._identity(base, headers, endpoint.get("model")))
            if self._activity:
                finding.update(self._busy(base, headers))
        return finding

    def _busy(self, base: str, headers: t.Mapping[str, str]) -> Finding:
        """Return whether the NIM works now, as far as it tells."""
        try:
            answer = self._client.request("GET", f"{base}{METRICS_PATH}", headers)
        except _http.HttpError as exc:
            return {"busy": None, "busy_reason": f"{METRICS_PATH}: {exc}"}
        if answer.status != 200:
            return {"busy": None, "busy_reason": f"{METRICS_PATH} answers {answer.status}"}
        text = answer.body.decode("utf-8", "replace")
        busy, reason = _activity.of_metrics(text)
        return {"busy": busy, "busy_reason": reason, "counters": _activity.counters(text) or None}

    def _without_token(self, url: str) -> Finding | None:
        """Return what is to be said of a gateway if it lets everybody in, or if there is no token to ask on with."""
        answer = self._client.request("GET", url)
        if answer.status != 401:
            told = f"answers {answer.status} without a token, so whoever reaches it can use it"
            return {**_facts(answer), "result": OPEN, "reason": told}
        if self._token is None:
            told = "wants a token, as it should; without one more was not checked"
            return {**_facts(answer), "result": REFUSED, "reason": told}
        return None

    def _why_not_ready(self, status: int, base: str | None, headers: t.Mapping[str, str]) -> str:
        """Tell a NIM that loads its model from a load balancer with nothing behind it."""
        text = f"answers {status}: stopped, or not ready yet"
        if base is None:
            return text
        try:
            alive = self._client.request("GET", f"{base}{LIVE_PATH}", headers).status == 200
        except _http.HttpError:
            return text
        return "runs, and loads its model" if alive else text

    def _identity(self, base: str, headers: t.Mapping[str, str], expected: str | None) -> Finding:
        """Return model and version of a NIM that is ready, as far as it tells them."""
        try:
            answer = self._client.request("GET", f"{base}{METADATA_PATH}", headers)
        except _http.HttpError:
            return {}
        content = answer.json_object() if answer.status == 200 else {}
        listed = content.get("modelInfo")
        models = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        name = next((str(item["shortName"]) for item in models if item.get("shortName")), None)
        version = content.get("version")
        found: Finding = {"model": name, "version": str(version) if isinstance(version, (str, int, float)) else None}
        if expected and models and not any(_is_same_model(expected, item) for item in models):
            found.update(result=WRONG_SERVICE, reason=f"serves {name or 'another model'}, not {expected}")
        return found

    # -- a model that NVIDIA hosts -------------------------------------------------------------------------------------

    def _hosted(self, url: str) -> Finding:
        if self._key is None:
            return {"result": REFUSED, "reason": "not checked: it needs NVIDIA's key, and none was given"}
        if self._key_check is not None and self._key_check.valid is False:
            return {"result": REFUSED, "reason": f"the key is not valid: {self._key_check.reason}"}
        if self._hosted_check == KEY_ONLY:
            # Without the key: nothing can be computed, and any answer shows that the address is there.
            answer = self._client.request("GET", url)
            finding = {**_facts(answer), "result": READY}
            if answer.status in _NOT_READY:
                finding.update(result=STARTING, reason=f"NVIDIA answers {answer.status}")
            elif self._key_check is not None and self._key_check.valid is None:
                finding.update(result=UNREACHABLE, reason=f"the key could not be checked: {self._key_check.reason}")
            return finding
        headers = {**self.login(url, {"auth": "bearer"}), "Content-Type": "application/json"}
        answer = self._client.request("POST", url, headers, b"{}")
        return {**_facts(answer), **_hosted_verdict(answer.status)}

    # -- calls ---------------------------------------------------------------------------------------------------------

    def login(self, url: str, endpoint: Endpoint) -> dict[str, str]:
        """Return the header that an endpoint wants. Raises ValueError where a key would go to a stranger."""
        if endpoint.get("auth") == AUTH:
            return {"Authorization": f"Bearer {self._token}"}
        parts = urllib.parse.urlsplit(url)
        if endpoint.get("auth") != "bearer" or self._key is None:
            return {}
        if parts.scheme != "https" or not str(parts.hostname).endswith(_NVIDIA):
            raise ValueError("asks for NVIDIA's key and is not an HTTPS address of NVIDIA, so the key is not sent")
        return {"Authorization": f"Bearer {self._key}"}

    def _get(self, url: str, headers: t.Mapping[str, str]) -> _http.Answer:
        """Follow redirects on the same host, as to a path with a slash or from HTTP to HTTPS; return others."""
        answer = self._client.request("GET", url, headers)
        for _count in range(_MOST_REDIRECTS):
            target = _redirect(url, answer)
            if target is None:
                break
            url = target
            answer = self._client.request("GET", url, headers)
        return answer


def check_all(prober: Prober, endpoints: t.Sequence[Endpoint], concurrency: int) -> list[Finding]:
    """Check all endpoints, so many at a time, and return the findings in the same order.

    It takes about as many time limits as there are rounds of dead endpoints: one, while fewer than ``concurrency``
    are dead. An address that several nodes share is asked once.
    """
    if not endpoints:
        return []
    prober.prepare(endpoints)
    distinct = list({_question(endpoint): endpoint for endpoint in endpoints}.items())
    with ThreadPoolExecutor(max_workers=max(1, min(concurrency, len(distinct)))) as pool:
        answers = dict(
            zip(
                (question for question, _endpoint in distinct),
                pool.map(lambda pair: prober.check(pair[1]), distinct),
            )
        )
    return [
        {**answers[_question(endpoint)], "url": endpoint["url"], **{label: endpoint.get(label) for label in LABELS}}
        for endpoint in endpoints
    ]


def _question(endpoint: Endpoint) -> tuple[t.Any, ...]:
    """Return what makes two checks the same."""
    return _address(endpoint), _is_hosted(endpoint), endpoint.get("auth"), endpoint.get("model")


def _is_hosted(endpoint: Endpoint) -> bool:
    """Whether it is one of the models that NVIDIA hosts: these want a key and have no health address."""
    return endpoint.get("auth") == "bearer" and not endpoint.get("health_url")


def _address(endpoint: Endpoint) -> str:
    """Return what is asked."""
    if _is_hosted(endpoint):
        return str(endpoint.get("infer_url") or endpoint["url"])
    return str(endpoint.get("health_url") or f"{str(endpoint['url']).rstrip('/')}{HEALTH_PATH}")


def _facts(answer: _http.Answer) -> Finding:
    """Return what every answer tells."""
    end = answer.certificate_ends
    moment = None
    if end is not None:
        moment = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "status": answer.status,
        "latency_ms": round(answer.seconds * 1000, 1),
        "certificate_expires_at": moment,
        "reason": None,
    }


def _refusal(answer: _http.Answer, url: str) -> Finding:
    """Read an answer that is neither ready nor not ready yet."""
    if answer.status in (401, 403, 407):
        return {"result": REFUSED, "reason": f"answers {answer.status}: it wants a login, or does not let this host in"}
    if answer.status in _MOVED:
        where = urllib.parse.urlsplit(urllib.parse.urljoin(url, answer.headers.get("location", "")))
        return {
            "result": WRONG_SERVICE,
            "reason": f"redirects to {where.scheme}://{where.netloc}, which is not followed; a login page, perhaps",
        }
    if answer.status == 404:
        return {"result": WRONG_SERVICE, "reason": "answers 404: there is a web server, but no NIM at this path"}
    if answer.status == 429:
        return {"result": READY, "reason": "answers 429: too many requests just now"}
    return {"result": WRONG_SERVICE, "reason": f"answers {answer.status}, as no NIM does"}


def _hosted_verdict(status: int) -> Finding:
    """Read what NVIDIA says to an empty request with a key."""
    if status in (400, 422) or status < 300:
        return {"result": READY, "reason": None}
    verdicts = {
        401: (REFUSED, "NVIDIA does not accept the key (401)"),
        402: (REFUSED, "the organisation of the key has no credits left (402)"),
        403: (REFUSED, "the key may not use this model (403)"),
        404: (WRONG_SERVICE, "NVIDIA does not host this model any more (404)"),
        410: (WRONG_SERVICE, "NVIDIA does not host this model any more (410)"),
        429: (READY, "NVIDIA answers 429: too many requests with this key just now"),
    }
    if status in verdicts:
        result, reason = verdicts[status]
        return {"result": result, "reason": reason}
    return {"result": STARTING if status in _NOT_READY else WRONG_SERVICE, "reason": f"NVIDIA answers {status}"}


def _redirect(url: str, answer: _http.Answer) -> str | None:
    """Return where an answer leads, if that is on the same host and no step down from HTTPS."""
    location = answer.headers.get("location")
    if answer.status not in _MOVED or not location:
        return None
    target = urllib.parse.urljoin(url, location)
    before, after = urllib.parse.urlsplit(url), urllib.parse.urlsplit(target)
    safe = (before.scheme, after.scheme) in (("http", "http"), ("http", "https"), ("https", "https"))
    return target if before.hostname == after.hostname and safe else None


def _is_same_model(expected: str, item: t.Mapping[str, t.Any]) -> bool:
    """Compare names without regard to case, dots and hyphens; NVIDIA writes them in several ways."""
    wanted = _comparable(expected.rsplit("/", 1)[-1].partition(":")[0])
    told = [_comparable(str(item.get(key) or "")) for key in ("shortName", "modelUrl")]
    return any(wanted in text for text in told)


def _comparable(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


__all__ = (
    "EMPTY_REQUEST",
    "KEY_ONLY",
    "LABELS",
    "OPEN",
    "READY",
    "REFUSED",
    "RESULTS",
    "STARTING",
    "UNREACHABLE",
    "WRONG_SERVICE",
    "Prober",
    "check_all",
)
