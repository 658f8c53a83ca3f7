# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at, start and stop NIMs with the workstation's own identity, which may do that and nothing else.

On AWS two calls of ECS, signed with the access key. In clusters the Deployment itself and its C(scale), with a token
that the identity gets from Entra or Google. A workstation without a key logs in as the machine that it is. Where other
addresses than the public ones count, ComfyUI's environment says so, in variables that the clouds' own libraries read:
AWS_ENDPOINT_URL_ECS, AWS_ENDPOINT_URL, AZURE_AUTHORITY_HOST, AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import time
import typing as t
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp

from .client import read_whole
from .envelope import Credentials
from .fleet import ECS, Instance, State, of_deployment, of_ecs
from .machine import Login, Machine, MachineError
from .messages import CALL
from .signing import JWT_GRANT, SigningError, aws_headers, google_assertion
from .status import OWN_IDENTITY

SECONDS = 15.0
SERVICES_PER_CALL = 10
LARGEST_ANSWER = 4 * 1024 * 1024
AKS = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The server application of all AKS clusters with Entra (https://azure.github.io/kubelogin/concepts/aks.html)."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
NAMES = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}
LOGIN: dict[str, tuple[tuple[str, ...], ...]] = {
    "aws": (("Access Key ID",), ("Secret Access Key",)),
    "azure": (("Tenant ID",), ("Client ID (Application ID)",), ("Client Secret",)),
    "gcp": (("Service Account JSON", "Service Account JSON File Path"),),
}
"""The fields that a login takes. Of those in one pair of brackets any will do."""

EARLY = 120.0
"""So many seconds before its end a token is not used any more."""
AGAIN = 5.0
"""So many seconds nobody is asked once more who gave no login."""

NO_LOGIN = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignature"}
)
ENDED = frozenset({"ExpiredTokenException", "ExpiredToken"})
BUSY = "AWS is busy: try again in a minute."
AWS_SENTENCES = (
    (NO_LOGIN, f"AWS does not take this workstation's key, which may have been revoked: {CALL}."),
    (ENDED, "This workstation's login at AWS has just ended: try again."),
    (
        frozenset({"RequestExpired", "RequestTimeTooSkewed"}),
        f"AWS says that the clock of this workstation is wrong: set it right, or {CALL}.",
    ),
    (
        frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}),
        BUSY,
    ),
)
"""What AWS's codes mean to the artist."""

GONE = frozenset({"ServiceNotFoundException", "ServiceNotActiveException", "ClusterNotFoundException"})


class CloudError(Exception):
    """A cloud did not do what it was asked. The text is for the artist and holds nothing of what the cloud said."""


class Cloud:
    """The clouds, as one identity sees them. Tokens are kept in memory until shortly before their end."""

    def __init__(self, environment: t.Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._machine = Machine(self._environment)
        self._logins: dict[str, tuple[float, Login | CloudError]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def states(
        self, credentials: Credentials, instances: t.Sequence[Instance]
    ) -> dict[tuple[str, str, str], State | CloudError]:
        """Return the state of each instance, or why it is not known."""
        groups: dict[tuple[str, str], list[Instance]] = {}
        singles = []
        for one in instances:
            if one.control["kind"] == ECS:
                groups.setdefault((one.control["region"], one.control["cluster"]), []).append(one)
            else:
                singles.append([one])
        chunks = [
            group[at : at + SERVICES_PER_CALL]
            for group in groups.values()
            for at in range(0, len(group), SERVICES_PER_CALL)
        ]
        answers = await asyncio.gather(
            *(self._services(credentials, chunk) for chunk in chunks),
            *(self._deployment(credentials, one) for [one] in singles),
            return_exceptions=True,
        )
        found: dict[tuple[str, str, str], State | CloudError] = {}
        for chunk, answer in zip([*chunks, *singles], answers):
            if isinstance(answer, BaseException) and not isinstance(answer, CloudError):
                raise answer
            for one in chunk:
                found[one.key] = answer if isinstance(answer, CloudError) else answer.get(one.name) or _gone(one)
        return found

    async def scale(self, credentials: Credentials, instance: Instance, copies: int) -> None:
        """Start or stop an instance. Raises CloudError."""
        doing = "start" if copies else "stop"
        if instance.control["kind"] == ECS:
            body = {"cluster": instance.control["cluster"], "service": instance.name, "desiredCount": copies}
            await self._ecs(credentials, instance, "UpdateService", body, doing)
            return
        await self._kube(credentials, instance, "PATCH", "/scale", {"spec": {"replicas": copies}}, doing)

    # ---- AWS -------------------------------------------------------------------------------------------------------

    async def _services(self, credentials: Credentials, chunk: t.Sequence[Instance]) -> dict[str, State]:
        body = {"cluster": chunk[0].control["cluster"], "services": [one.name for one in chunk]}
        answer = await self._ecs(credentials, chunk[0], "DescribeServices", body, "look at")
        try:
            services = [one for one in answer["services"] if one.get("status", "ACTIVE") == "ACTIVE"]
            return {one["serviceName"]: of_ecs(one) for one in services}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CloudError(f"AWS answers with what is no list of services: {CALL}.") from None

    async def _ecs(
        self, credentials: Credentials, instance: Instance, action: str, body: dict[str, t.Any], doing: str
    ) -> dict[str, t.Any]:
        fields = _fields(credentials, "aws", doing)
        region = instance.control["region"]
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        named = self._environment.get("AWS_ENDPOINT_URL_ECS") or self._environment.get("AWS_ENDPOINT_URL")
        url = (named or f"https://ecs.{region}.{suffix}").rstrip("/") + "/"
        content = json.dumps(body).encode()
        plain = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{action}",
        }
        if OWN_IDENTITY in fields:
            login = await self._login("aws", fields)
            key, plain["X-Amz-Security-Token"] = login.key, login.token
        else:
            key = (fields["Access Key ID"], fields["Secret Access Key"])
        headers = aws_headers(key, (region, "ecs"), url, plain, content, time.time())
        status, answer = await self._send("POST", url, headers, content, self._trust("AWS_CA_BUNDLE"), "AWS")
        if status == 200:
            return answer
        code = _aws_code(answer)
        if code in NO_LOGIN | ENDED:
            self._logins.pop(_mark("aws", fields), None)
        raise _aws_error(status, code, instance, doing)

    # ---- Kubernetes ------------------------------------------------------------------------------------------------

    async def _deployment(self, credentials: Credentials, instance: Instance) -> dict[str, State]:
        live = await self._kube(credentials, instance, "GET", "", None, "look at")
        try:
            return {instance.name: of_deployment(live)}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CloudError(f"The cluster of {instance.place()} answers with what is no Deployment: {CALL}.") from None

    async def _kube(
        self,
        credentials: Credentials,
        instance: Instance,
        method: str,
        below: str,
        body: dict[str, t.Any] | None,
        doing: str,
    ) -> dict[str, t.Any]:
        control, cloud = instance.control, NAMES.get(instance.provider, instance.provider)
        fields = _fields(credentials, instance.provider, doing)
        token = (await self._login(instance.provider, fields)).token
        context = self._trust("REQUESTS_CA_BUNDLE", control.get("ca"))
        namespace, name = quote(control["namespace"], safe=""), quote(instance.name, safe="")
        url = f"{control['server'].rstrip('/')}/apis/apps/v1/namespaces/{namespace}/deployments/{name}{below}"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
            content = json.dumps(body).encode()
        status, answer = await self._send(method, url, headers, content, context, f"the cluster on {cloud}")
        if status == 401:
            self._logins.pop(_mark(instance.provider, fields), None)
            raise CloudError(f"The cluster on {cloud} does not take this workstation's login: {CALL}.")
        if status == 403:
            raise CloudError(f"{cloud} does not let this workstation {doing} {instance.place()}: {CALL}.")
        if status == 404:
            raise _gone(instance)
        if status == 429 or status >= 500:
            raise CloudError(f"The cluster on {cloud} is busy (HTTP {status}): try again in a minute.")
        if status != 200:
            raise CloudError(f"The cluster on {cloud} refuses to {doing} {instance.place()} (HTTP {status}): {CALL}.")
        return answer

    # ---- logins ----------------------------------------------------------------------------------------------------

    async def _login(self, provider: str, fields: t.Mapping[str, str]) -> Login:
        """Return a login, the same one to all who ask until shortly before its end. Raises CloudError.

        Many NIMs are looked at in one moment, and metadata services take few requests in a second.
        """
        mark = _mark(provider, fields)
        async with self._asking.setdefault(provider, asyncio.Lock()):
            until, known = self._logins.get(mark, (0.0, None))
            if known is None or time.monotonic() >= until:
                try:
                    known = await (self._as_machine if OWN_IDENTITY in fields else self._by_key)(provider, fields)
                    until = time.monotonic() + known.seconds - EARLY
                except CloudError as problem:
                    known, until = problem, time.monotonic() + AGAIN
                self._logins = {**self._logins, mark: (until, known)}
        if isinstance(known, CloudError):
            raise CloudError(str(known))
        return known

    async def _as_machine(self, provider: str, fields: t.Mapping[str, str]) -> Login:
        """Return a login as the machine that this workstation is. Raises CloudError."""
        try:
            return await self._machine.log_in(provider, fields[OWN_IDENTITY], AKS)
        except MachineError as problem:
            text = f"This workstation has no key for {NAMES[provider]} and cannot log in by itself: {problem}"
            raise CloudError(f"{text}: {CALL}.") from None

    async def _by_key(self, provider: str, fields: t.Mapping[str, str]) -> Login:
        """Return a login to clusters, got with a key. Raises CloudError."""
        log_in = {"azure": self._entra, "gcp": self._google}.get(provider)
        if log_in is None:
            raise CloudError(f"This workstation cannot log in to clusters on {provider}: {CALL}.")
        url, form = await log_in(fields)
        cloud = NAMES[provider]
        if urlsplit(url).scheme != "https":
            raise CloudError(f"The login of {cloud} is not reached by https, so the key is not sent: {CALL}.")
        encoded = "&".join(f"{name}={quote(value, safe='')}" for name, value in form.items()).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        status, answer = await self._send("POST", url, headers, encoded, self._trust("REQUESTS_CA_BUNDLE"), cloud)
        if status == 429 or status >= 500:
            raise CloudError(f"The login of {cloud} is busy (HTTP {status}): try again in a minute.")
        if status != 200 or not isinstance(answer.get("access_token"), str):
            raise CloudError(f"{cloud} does not take this workstation's key, which may have been revoked: {CALL}.")
        lives = answer.get("expires_in")
        seconds = float(lives) if isinstance(lives, (int, float, str)) and str(lives).isdigit() else 300.0
        return Login(answer["access_token"], seconds)

    async def _entra(self, fields: t.Mapping[str, str]) -> tuple[str, dict[str, str]]:
        authority = self._environment.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com"
        if "//" not in authority:
            authority = f"https://{authority}"
        form = {
            "grant_type": "client_credentials",
            "client_id": fields["Client ID (Application ID)"],
            "client_secret": fields["Client Secret"],
            "scope": f"{AKS}/.default",
        }
        return f"{authority.rstrip('/')}/{quote(fields['Tenant ID'], safe='')}/oauth2/v2.0/token", form

    async def _google(self, fields: t.Mapping[str, str]) -> tuple[str, dict[str, str]]:
        try:
            content = fields.get("Service Account JSON")
            if not content:
                content = await asyncio.to_thread(_read, fields["Service Account JSON File Path"])
            account = json.loads(content)
            assertion = await asyncio.to_thread(google_assertion, account, GOOGLE_SCOPE, time.time())
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, SigningError):
            raise CloudError(f"This workstation's key for Google Cloud cannot be read: {CALL}.") from None
        return str(account["token_uri"]), {"grant_type": JWT_GRANT, "assertion": assertion}

    # ---- the network -----------------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        url: str,
        headers: t.Mapping[str, str],
        body: bytes | None,
        context: ssl.SSLContext | bool,
        what: str,
    ) -> tuple[int, dict[str, t.Any]]:
        """Return status and JSON of an answer; what is no JSON counts as nothing. Raises CloudError."""
        if urlsplit(url).scheme != "https":
            raise CloudError(f"{what} is not reached by https, so nothing was sent: {CALL}.")
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS), trust_env=True) as session,
                session.request(method, url, data=body, headers=headers, ssl=context, allow_redirects=False) as answer,
            ):
                status, content = answer.status, await read_whole(answer, LARGEST_ANSWER)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise CloudError(f"The certificate of {what} is not to be trusted: {CALL}.") from None
        except (asyncio.TimeoutError, aiohttp.ClientError, OSError, ValueError):
            raise CloudError(f"{what} cannot be reached: look at the network, or {CALL}.") from None
        try:
            found = json.loads(content or b"")
        except ValueError:
            found = None
        return status, found if isinstance(found, dict) else {}

    def _trust(self, variable: str, authority: object = None) -> ssl.SSLContext | bool:
        """Return whom to believe: a cluster's own authority and nobody else, or those of the environment."""
        pem = authority if isinstance(authority, str) and authority else None
        bundle = None if pem else self._environment.get(variable)
        name = pem or bundle
        if not name:
            return True
        if name not in self._contexts:
            try:
                self._contexts[name] = ssl.create_default_context(cafile=bundle, cadata=pem)
            except (ssl.SSLError, OSError, ValueError):
                raise CloudError(f"An authority's certificate on this workstation is broken: {CALL}.") from None
        return self._contexts[name]


def _read(path: str) -> str:
    return Path(path).expanduser().read_text(encoding="utf-8")


def _fields(credentials: Credentials, provider: str, doing: str) -> dict[str, str]:
    """Return the fields of an identity. Raises CloudError if they do not serve."""
    found = credentials.get(provider, {})
    cloud = NAMES.get(provider, provider)
    if provider not in NAMES:
        raise CloudError(f"This workstation cannot {doing} what runs on {provider}: {CALL}.")
    identity = found.get(OWN_IDENTITY, "").strip()
    if identity:
        return {OWN_IDENTITY: identity}
    if not all(any(found.get(name, "").strip() for name in names) for names in LOGIN[provider]):
        raise CloudError(f"This workstation has no credentials for {cloud}: {CALL}.")
    return {name: value.strip() for name, value in found.items()}


def _mark(provider: str, fields: t.Mapping[str, str]) -> str:
    """Return what tells one identity from another, without its key."""
    return hashlib.sha256(json.dumps([provider, dict(fields)], sort_keys=True).encode()).hexdigest()


def _aws_code(answer: t.Mapping[str, t.Any]) -> str:
    """Return the name of what AWS refuses; a clock that is wrong has the name of a wrong signature.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
    """
    said = str(answer.get("message") or answer.get("Message") or "")
    if said.startswith(("Signature expired", "Signature not yet current")):
        return "RequestExpired"
    return str(answer.get("__type", "")).rpartition("#")[2]


def _aws_error(status: int, code: str, instance: Instance, doing: str) -> CloudError:
    if code in GONE:
        return _gone(instance)
    for codes, text in AWS_SENTENCES:
        if code in codes:
            return CloudError(text)
    if status >= 500:
        return CloudError(BUSY)
    if "AccessDenied" in code or status == 403:
        return CloudError(f"AWS does not let this workstation {doing} {instance.place()}: {CALL}.")
    return CloudError(f"AWS refuses to {doing} {instance.place()} (HTTP {status}): {CALL}.")


def _gone(instance: Instance) -> CloudError:
    return CloudError(f"{instance.place()} is not there any more: {CALL}.")
