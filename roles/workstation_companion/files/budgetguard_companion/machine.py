# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log in as the machine itself: an AWS role, a managed identity of Azure, a service account of Google Cloud.

No key is in any file. A service that only this machine can reach hands out a key or a token that ends after some hours.
Where it has another address than the usual one, ComfyUI's environment says so, in variables that the clouds' own
libraries read: AWS_EC2_METADATA_SERVICE_ENDPOINT, AZURE_POD_IDENTITY_AUTHORITY_HOST, GCE_METADATA_HOST. The forms:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html,
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
https://cloud.google.com/compute/docs/access/authenticate-workloads.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from .client import read_whole
from .doorway import is_loopback

SECONDS = 15.0
CONNECT_SECONDS = 3.0
"""Where no such service is, a firewall may leave the question without an answer."""
LARGEST_ANSWER = 64 * 1024
SESSION_SECONDS = "60"
ECS_ADDRESS = "169.254.170.2"
AGENTS = (ECS_ADDRESS, "169.254.170.23", "fd00:ec2::23")
"""Who may be asked for a container's credentials without https, besides this machine: the agents of ECS and EKS."""
GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
FLAVOR = {"Metadata-Flavor": "Google"}


class MachineError(Exception):
    """The machine has no such identity. The text says why, as the end of a sentence, and holds nothing secret."""


@dataclass(frozen=True)
class Login:
    """What the machine was given. C(key) is for AWS alone, an access key ID with its secret. Nothing of it is shown."""

    token: str = field(repr=False)
    seconds: float
    key: tuple[str, str] = field(default=("", ""), repr=False)


class Machine:
    """The machine that ComfyUI runs on."""

    def __init__(self, environment: t.Mapping[str, str]) -> None:
        self._environment = environment

    async def log_in(self, provider: str, identity: str, resource: str) -> Login:
        """Return a login as this identity, and no other. Raises MachineError.

        :arg resource: what the token is for, where the cloud wants to know: an application of Entra.
        """
        if provider == "aws":
            return await self._aws(identity)
        if provider == "azure":
            return await self._azure(identity, resource)
        return await self._google(identity)

    # ---- AWS -------------------------------------------------------------------------------------------------------

    async def _aws(self, identity: str) -> Login:
        role = re.fullmatch(r"arn:[\w-]+:iam::\d*:role/(?:.*/)?([^/]+)", identity)
        if role is None:
            raise MachineError("the identity in the config is no role, and only a role can be had from a machine")
        container = self._container()
        if container is not None:
            found = await self._json(*container)
            owner = str(found.get("RoleArn") or identity)
        else:
            owner, found = await self._instance()
        if owner.rpartition("/")[2] != role[1]:
            raise MachineError("the machine has another role than the one in its config")
        try:
            ends = datetime.datetime.fromisoformat(str(found["Expiration"]).replace("Z", "+00:00"))
            seconds = (ends - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
            return Login(str(found["Token"]), seconds, (str(found["AccessKeyId"]), str(found["SecretAccessKey"])))
        except (KeyError, ValueError, TypeError):
            raise MachineError("the machine's metadata service gives no key for its role") from None

    async def _instance(self) -> tuple[str, dict[str, t.Any]]:
        """Return the name of the role of an EC2 instance, and its key. Version 2 of the service alone is asked."""
        given = self._environment
        if given.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise MachineError("AWS_EC2_METADATA_DISABLED keeps ComfyUI from asking for it")
        base = (given.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254").rstrip("/")
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": SESSION_SECONDS}
        session = {"X-aws-ec2-metadata-token": await self._text("PUT", f"{base}/latest/api/token", wanted)}
        roles = f"{base}/latest/meta-data/iam/security-credentials/"
        name = (await self._text("GET", roles, session)).partition("\n")[0].strip()
        return name, await self._json(roles + quote(name, safe=""), session)

    def _container(self) -> tuple[str, dict[str, str]] | None:
        """Return where a container's credentials are, and what to show there; None outside of a container."""
        given = self._environment
        relative, full = (given.get(f"AWS_CONTAINER_CREDENTIALS_{name}_URI") for name in ("RELATIVE", "FULL"))
        if not relative and not full:
            return None
        url = f"http://{ECS_ADDRESS}{relative}" if relative else str(full)
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in AGENTS and not is_loopback(parts.hostname or ""):
            raise MachineError("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an address of this machine")
        shown = given.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        file = given.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if file:
            try:
                shown = Path(file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise MachineError("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read") from None
        return url, {"Authorization": shown.strip()} if shown.strip() else {}

    # ---- Azure and Google Cloud ------------------------------------------------------------------------------------

    async def _azure(self, identity: str, resource: str) -> Login:
        if not GUID.fullmatch(identity):
            raise MachineError("the identity in the config is no object id of a managed identity")
        base = (self._environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or "http://169.254.169.254").rstrip("/")
        # A machine may have several identities, so the one that has the rights is named.
        asked = urlencode({"api-version": "2018-02-01", "resource": resource, "object_id": identity})
        return _login(await self._json(f"{base}/metadata/identity/oauth2/token?{asked}", {"Metadata": "true"}))

    async def _google(self, identity: str) -> Login:
        if "@" not in identity:
            raise MachineError(
                "the identity in the config is no service account, and no other can be had from a machine"
            )
        host = self._environment.get("GCE_METADATA_HOST") or "metadata.google.internal"
        account = quote(identity, safe="@")
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/{account}/token"
        return _login(await self._json(url, FLAVOR))

    # ---- the network -----------------------------------------------------------------------------------------------

    async def _json(self, url: str, headers: t.Mapping[str, str]) -> dict[str, t.Any]:
        try:
            found = json.loads(await self._text("GET", url, headers))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise MachineError("the machine's metadata service answers with what is no JSON")
        return found

    async def _text(self, method: str, url: str, headers: t.Mapping[str, str]) -> str:
        """Return what the machine's own service says. No proxy is ever asked: it could keep what it sees."""
        limits = aiohttp.ClientTimeout(total=SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=limits) as session,
                session.request(method, url, headers=headers, allow_redirects=False) as answer,
            ):
                status, content = answer.status, await read_whole(answer, LARGEST_ANSWER)
        except (asyncio.TimeoutError, aiohttp.ClientError, OSError, ValueError):
            raise MachineError("no metadata service answers on this machine") from None
        if status in (400, 404):
            raise MachineError("the machine does not have the identity in its config")
        if status == 429 or status >= 500:
            raise MachineError(f"the machine's metadata service is busy (HTTP {status}); try again in a minute")
        if status != 200:
            raise MachineError(f"the machine's metadata service refuses (HTTP {status})")
        return (content or b"").decode("utf-8", "replace")


def _login(found: t.Mapping[str, t.Any]) -> Login:
    """Return what Azure and Google Cloud give: a token, and the seconds that it has left."""
    token, left = found.get("access_token"), str(found.get("expires_in", ""))
    if not isinstance(token, str) or not token:
        raise MachineError("the machine's metadata service gives no token for its identity")
    return Login(token, float(left) if left.isdigit() else 300.0)
