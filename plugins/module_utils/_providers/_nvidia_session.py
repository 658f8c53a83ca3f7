# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The one place that talks to NVIDIA: the key, retries, and errors in our own words.

There is no SDK for NVIDIA Cloud Functions, so this is Python's own HTTP client, with an opener of its own per session:
``open_url`` of ansible-core installs its opener for the whole process, which threads that read several targets at once
must not do. Redirects are never followed, because they would take the key along.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import KeyFormatError, check_key
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    UNREADABLE,
    ConflictError,
    ProviderError,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import ENDPOINT

ATTEMPTS = 6
"""Tries per call when NVIDIA throttles or fails in passing: together about half a minute."""

_CALL_TIMEOUT = 60.0
_LONGEST_PAUSE = 30.0
_PASSING = frozenset({429, 500, 502, 503, 504})
_SAFE_TO_REPEAT = frozenset({"GET", "PUT", "PATCH", "DELETE"})

_TELLS_SOMETHING = frozenset({"GET", "POST"})
"""Methods whose answer tells what there is, or what was made. The others may answer with nothing."""

_ADVICE = {
    401: "NVIDIA does not accept api_key; is it a key that begins with nvapi-, not expired and not revoked?",
    403: (
        "The key needs the service Cloud Functions, or a service key the scopes that the module's api_key names; a "
        "change of them takes up to 15 minutes. Where only hosted models are used, set cloud_functions to false"
    ),
    402: "The organisation has no credits left",
}


class NvidiaError(ProviderError):
    """NVIDIA answered with an error. ``status`` is that of HTTP, None where there was no answer."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class _NoJsonError(Exception):
    """Something else than NVIDIA's API has answered that all is well."""


class Answer(t.NamedTuple):
    """What came back: the status, and the body as JSON; None where it is none."""

    status: int
    content: t.Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leave a redirect alone, so that it ends as an error."""

    def redirect_request(self, *_args: t.Any, **_kwargs: t.Any) -> None:
        """Return nothing, which means: do not follow."""


class _Request(urllib.request.Request):
    """A request to an HTTPS address. Raises ValueError for any other, because the key goes with it."""

    def __init__(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> None:
        super().__init__(checked_url("the address", url), data=data, headers=headers, method=method)


class NvidiaSession:
    """Calls NVIDIA with one key."""

    def __init__(self, options: t.Mapping[str, t.Any], sleep: t.Callable[[float], None] = time.sleep) -> None:
        key = check_key("api_key", options.get("api_key"))
        if key is None:
            raise KeyFormatError(
                "api_key is not set; set it or the environment variable NVIDIA_API_KEY to a key that begins with nvapi-"
            )
        self._key = key
        self._secrets = [key, *(str(options[name]) for name in ("ngc_api_key", "hf_token") if options.get(name))]
        self._sleep = sleep
        self.endpoint = checked_url("endpoint", str(options.get("endpoint") or ENDPOINT))
        org, team = options.get("org"), options.get("team")
        self._functions = "/v2" + (f"/orgs/{org}" if org else "") + (f"/teams/{team}" if team else "") + "/nvcf"
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=_tls(options.get("ca_bundle"))), _NoRedirect()
        )

    def call(
        self, doing: str, method: str, path: str, body: t.Any = None, missing: bool = False, query: str = ""
    ) -> t.Any:
        """Make one call of the functions' API and return its JSON. ``path`` is what follows ``/nvcf``.

        ``missing`` allows that there is no such thing and returns None then. A call that would make something is not
        repeated where nobody knows whether it took effect: that raises ConflictError, so that the target is looked at
        again. Raises :class:`NvidiaError` for all else.
        """
        url = f"{self.endpoint}{self._functions}{path}" + (f"?{query}" if query else "")
        return self.fetch(doing, method, url, body, missing)

    def fetch(self, doing: str, method: str, url: str, body: t.Any = None, missing: bool = False) -> t.Any:
        """Do the same for any address of NVIDIA's."""
        data = None if body is None else json.dumps(body).encode()
        answer = self.ask(doing, method, url, data)
        if answer.status < 300:
            if method in _TELLS_SOMETHING and not isinstance(answer.content, dict):
                raise NvidiaError(f"cannot {doing}: {answer.status}, and {UNREADABLE}", answer.status)
            return answer.content
        if missing and answer.status == 404:
            return None
        raise self.error(doing, answer)

    def error(self, doing: str, answer: Answer) -> ProviderError:
        """Return the error that says what was being done, what NVIDIA answered and what may help."""
        advice = _ADVICE.get(answer.status)
        text = f"cannot {doing}: {self._said(answer)}"
        return NvidiaError(f"{text}. {advice}" if advice else text, answer.status)

    def caller(self) -> t.Any:
        """Return what NGC says about the key. This call costs nothing.

        Source: ``validatePersonalApiKey`` in opendatahub-io/odh-model-controller internal/controller/utils/nim.go.
        """
        doing = "check api_key"
        form = urllib.parse.urlencode({"credentials": self._key}).encode()
        url = f"{self.endpoint}/v3/keys/get-caller-info"
        answer = self.ask(doing, "POST", url, form, "application/x-www-form-urlencoded", repeat=True)
        if answer.status < 300:
            return answer.content
        raise self.error(doing, answer)

    def ask(
        self,
        doing: str,
        method: str,
        url: str,
        data: bytes | None = None,
        content_type: str = "application/json",
        repeat: bool = False,
    ) -> Answer:
        """Return whatever NVIDIA answers, again while it fails in passing. ``repeat``: a POST that changes nothing."""
        safe = repeat or method in _SAFE_TO_REPEAT
        pause = 0.5
        for attempt in range(1, ATTEMPTS + 1):
            wait: float | None = None
            try:
                answer = self._once(method, url, data, content_type)
                problem = self._said(answer)
            except urllib.error.HTTPError as exc:
                answer = Answer(exc.code, _json(_rest(exc)))
                problem = self._said(answer)
                wait = _seconds(exc.headers.get("Retry-After"))
            except _NoJsonError as exc:
                raise NvidiaError(f"cannot {doing}: {UNREADABLE}", None) from exc
            except (OSError, http.client.HTTPException) as exc:
                # No connection, a broken one, a time-out, or an answer that is no HTTP.
                answer = Answer(0, None)
                problem = f"no connection to {urllib.parse.urlsplit(url).netloc} ({getattr(exc, 'reason', exc)})"
            if answer.status and answer.status not in _PASSING:
                return answer
            if not safe and answer.status != 429:
                raise ConflictError(f"cannot {doing}: {problem}; whether it was done is not known")
            if attempt == ATTEMPTS:
                raise NvidiaError(f"cannot {doing}: {problem}; tried {ATTEMPTS} times", answer.status or None)
            self._sleep(min(wait, _LONGEST_PAUSE) if wait is not None else pause * random.uniform(0.7, 1.0))
            pause = min(pause * 2, 10.0)
        raise AssertionError("the last attempt returns or raises")

    def _said(self, answer: Answer) -> str:
        """Return status and reason of an answer in one line, without any of our keys."""
        text = f"{answer.status} {_reason(answer.content)}".rstrip()
        for secret in self._secrets:
            text = text.replace(secret.strip(), "***")
        return text

    def _once(self, method: str, url: str, data: bytes | None, content_type: str) -> Answer:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json", "User-Agent": "budgetguard"}
        if data is not None:
            headers["Content-Type"] = content_type
        with self._opener.open(_Request(method, url, data, headers), timeout=_CALL_TIMEOUT) as response:
            body = response.read()
            content = _json(body)
            if body and content is None:
                raise _NoJsonError
            return Answer(response.status, content)

    def pauses(self, doing: str, seconds: float) -> t.Iterator[float]:
        """Pause longer and longer between the turns of a loop. Raises ProviderError when the time is over."""
        waited, pause = 0.0, 0.25
        while waited < seconds:
            yield waited
            self._sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 10.0)
        raise ProviderError(f"cannot {doing}: NVIDIA was not done after {seconds:.0f} s; the next run goes on")


def checked_url(option: str, value: str) -> str:
    """Return the address without a slash at its end. Raises ValueError unless it is an HTTPS address."""
    parts = urllib.parse.urlsplit(value)
    if parts.scheme != "https" or not parts.netloc:
        raise ValueError(f"{option} {value!r} must be an address that begins with https://, because the key goes there")
    return value.rstrip("/")


def _tls(ca_bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"ca_bundle {ca_bundle} cannot be read as certificates: {exc}") from exc


def _rest(exc: urllib.error.HTTPError) -> bytes:
    """Return the body of an error; b"" where it breaks off, since the status tells enough."""
    try:
        return exc.read()
    except (OSError, http.client.HTTPException):
        return b""


def _json(body: bytes) -> t.Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _reason(content: t.Any) -> str:
    """Return what NVIDIA says in an error: in the form of RFC 7807 (functions), or in the older one of NGC."""
    if not isinstance(content, dict):
        return ""
    status = content.get("requestStatus")
    old = status.get("statusDescription") if isinstance(status, dict) else None
    found = content.get("detail") or old or content.get("title") or content.get("message") or ""
    return " ".join(str(found).split()).rstrip(".")


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdigit() else None


__all__ = ("Answer", "NvidiaError", "NvidiaSession", "checked_url")
