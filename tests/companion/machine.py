# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine that has an identity of its own, and the services on loopback from which it gets its logins.

They are as strict as the clouds' own: version 2 of EC2's alone, nothing without the header that a forwarded request
lacks, and no identity but the one that the machine has. What they answer:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html,
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
https://cloud.google.com/compute/docs/metadata/querying-metadata.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import json
import typing as t

from aiohttp import web

from tests.aws.artist import Artist as AwsArtist
from tests.azure.artist import Artist as AzureArtist
from tests.gcp.artist import Artist as GcpArtist
from tests.sandbox import Sandbox
from tests.sandbox.azure.entra import KUBERNETES

WORKSTATION = "ws-02"
SESSION = "session-of-the-metadata-service"
CONTAINER_TOKEN = "token-of-the-container"
IMDS = "/latest/meta-data/iam/security-credentials/"
IDENTITY = "/metadata/identity/oauth2/token"
ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
Answer = t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]


@dataclasses.dataclass
class Machine:
    """What the machine is, with the login that its metadata service gives."""

    identity: str
    login: dict[str, t.Any]
    asked: list[str] = dataclasses.field(default_factory=list)
    port: int = 0
    status: int = 200

    @property
    def environment(self) -> dict[str, str]:
        """Where the services are, in the variables of the clouds' libraries."""
        host = f"127.0.0.1:{self.port}"
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{host}/",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{host}",
            "GCE_METADATA_HOST": host,
        }

    @property
    def secrets(self) -> list[str]:
        """What must not show up anywhere."""
        return [str(self.login[name]) for name in ("SecretAccessKey", "Token", "access_token") if name in self.login]

    @contextlib.asynccontextmanager
    async def serving(self) -> t.AsyncIterator[None]:
        """Serve while the block runs."""

        @web.middleware
        async def strictly(request: web.Request, handler: Answer) -> web.StreamResponse:
            self.asked.append(f"{request.method} {request.path}")
            if "X-Forwarded-For" in request.headers:
                return web.Response(status=403)
            return await handler(request) if self.status == 200 else web.Response(status=self.status)

        application = web.Application(middlewares=[strictly])
        application.router.add_put("/latest/api/token", self._session)
        application.router.add_get(IMDS, self._role)
        application.router.add_get(IMDS + "{role}", self._key_of_role)
        application.router.add_get("/container", self._key_of_container)
        application.router.add_get(IDENTITY, self._azure)
        application.router.add_get(ACCOUNTS + "/{account}/token", self._google)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    # ---- AWS -------------------------------------------------------------------------------------------------------

    async def _session(self, request: web.Request) -> web.Response:
        seconds = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        return web.Response(text=SESSION) if seconds.isdigit() and 0 < int(seconds) <= 21600 else _refused(400)

    async def _role(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != SESSION:
            return _refused(401)
        return web.Response(text=self.identity.rpartition("/")[2])

    async def _key_of_role(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != SESSION:
            return _refused(401)
        if request.match_info["role"] != self.identity.rpartition("/")[2]:
            return _refused(404)
        return web.json_response({"Code": "Success", "Type": "AWS-HMAC", **self.login}, content_type="text/plain")

    async def _key_of_container(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != CONTAINER_TOKEN:
            return _refused(401)
        return web.json_response({"RoleArn": self.identity, **self.login})

    # ---- Azure and Google Cloud ------------------------------------------------------------------------------------

    async def _azure(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        if request.headers.get("Metadata") != "true" or asked.pop("api-version", None) != "2018-02-01":
            return _refused(400)
        if asked != {"resource": KUBERNETES, "object_id": self.identity}:
            return web.json_response(
                {"error": "invalid_request", "error_description": "Identity not found"}, status=400
            )
        return web.json_response({**self.login, "resource": KUBERNETES})

    async def _google(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return _refused(403)
        if request.match_info["account"] not in ("default", self.identity):
            return _refused(404)
        return web.json_response(self.login, headers={"Metadata-Flavor": "Google"})


def _refused(status: int) -> web.Response:
    return web.Response(status=status, text="<html>no</html>", content_type="text/html")


def make_machine(sandbox: Sandbox, cloud: str) -> Machine:
    """Make an identity by hand, as a studio has it, let the collection give it its rights, and log in with it."""
    if cloud == "aws":
        return _aws(AwsArtist(sandbox))
    if cloud == "azure":
        artist = AzureArtist(sandbox)
        principal, fields = artist.make_identity()
        artist.run(workstation=WORKSTATION, principal=principal)
        token = artist.token(f"{KUBERNETES}/.default", fields)
        return Machine(principal, {"access_token": token, "expires_in": "3599", "token_type": "Bearer"})
    google = GcpArtist(sandbox)
    email = google.by_hand("POST", "", {"accountId": "render-node"})["email"]
    key = google.by_hand("POST", f"/{email}/keys", {})["privateKeyData"]
    google.run(workstation=WORKSTATION, principal=email)
    token = google.log_in({"Service Account JSON": base64.b64decode(key).decode()})
    return Machine(email, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


def _aws(artist: AwsArtist) -> Machine:
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = artist.client("iam")
    role = iam.create_role(RoleName=WORKSTATION, Path="/studio/", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    artist.run(workstation=WORKSTATION, principal=role)
    given = artist.client("sts").assume_role(RoleArn=role, RoleSessionName="i-0123456789abcdef0")["Credentials"]
    return Machine(role, aws_login(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))


def aws_login(key_id: str, secret: str, token: str, hours: float = 6) -> dict[str, str]:
    """Return a key of a role, in the form in which EC2 and ECS give it."""
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    return {
        "AccessKeyId": key_id,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
    }
