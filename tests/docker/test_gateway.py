# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway beside NIMs on a real Docker engine, with this machine's HAProxy in an image."""

from __future__ import annotations

import datetime
import io
import re
import ssl
import subprocess
import tarfile
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _tokens
from tests.docker.engine import Engine
from tests.docker.studio import NAME, OTHER, Studio
from tests.ports import free_port
from tests.unit.gateway.running import HAPROXY, until, usage_lines

STUDIO = "example-studio"
GATEWAY = "budgetguard-gateway"
IMAGE = "haproxy-of-this-machine:test"
STARTED = {"state": "started"}
PATH = "/stand-in-l40s/v1/health/ready"

pytestmark = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")


def _image() -> bytes:
    """Return a file system with HAProxy and its libraries."""
    listed = subprocess.run(["ldd", HAPROXY], capture_output=True, text=True, check=True).stdout
    content = io.BytesIO()
    files = {"usr/bin/haproxy": HAPROXY, **{path.lstrip("/"): path for path in re.findall(r"(/\S+)", listed)}}
    with tarfile.open(fileobj=content, mode="w") as tar:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, path in files.items():
            data = Path(path).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


class Guarded:
    """A Docker host with a gateway, and its studio's keys."""

    def __init__(self, studio: Studio, engine: Engine) -> None:
        self.studio, self.engine = studio, engine
        now = datetime.datetime.now(datetime.timezone.utc)
        self.signing_key = _tokens.new_signing_key()
        self.root, ca_key = _ca.new_ca(STUDIO, now)
        certificate, key = _ca.leaf(self.root, ca_key, ["127.0.0.1"], now)
        self.other_pair = _ca.leaf(self.root, ca_key, ["127.0.0.1", "gpu-box.example"], now)
        self.port = free_port(in_a_row=2)
        self.gateway: dict[str, t.Any] = {
            "target": "gpu-box-1",
            "studio": STUDIO,
            "public_keys": [_tokens.public_key(self.signing_key)],
            "certificate": certificate,
            "private_key": key,
        }
        engine.docker("import", "--change", "ENV PATH=/usr/bin", "-", IMAGE, given=_image())

    def deploy(self, *deployments: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        return self.studio.deploy(
            *deployments, gateway=self.gateway, gateway_image=IMAGE, gateway_port=self.port, **options
        )

    def token(self, workstation: str = "ws-07") -> str:
        now = datetime.datetime.now(datetime.timezone.utc)
        return _tokens.mint(self.signing_key, STUDIO, [workstation], now)[workstation][_tokens.TOKEN_FIELD]

    def ask(self, token: str | None = None, path: str = PATH) -> int:
        context = ssl.create_default_context(cadata=self.root)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def guarded(studio: Studio, engine: Engine) -> Guarded:
    return Guarded(studio, engine)


def test_the_life_of_a_gateway(guarded: Guarded, engine: Engine) -> None:
    predicted = guarded.deploy(STARTED, check=True)
    made = guarded.deploy(STARTED)
    assert not made.get("failed"), made
    assert made["steps"] == predicted["steps"]
    assert made["steps"][-1] == f"create docker_gateway {GATEWAY}"
    (nim,) = made["deployments"]
    assert (nim["endpoint"], nim["auth"]) == (f"https://127.0.0.1:{guarded.port}/stand-in-l40s", "gateway")
    assert guarded.studio.read()[0]["endpoint"] == nim["endpoint"]
    bindings = engine.inspect(NAME)["HostConfig"]["PortBindings"]["8000/tcp"]
    assert [entry["HostIp"] for entry in bindings] == ["127.0.0.1"]
    info = engine.inspect(GATEWAY)
    assert info["HostConfig"]["ReadonlyRootfs"] is True
    assert info["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "50m"}}

    assert (guarded.ask(), guarded.ask(guarded.token())) == (401, 200)
    again = guarded.deploy(STARTED)
    assert (again["changed"], again["steps"]) == (False, [])

    other = guarded.deploy({}, {"node": OTHER})
    assert f"update docker_gateway {GATEWAY} (files)" in other["steps"]
    assert guarded.ask(guarded.token(), "/other-stand-in-l40s/v1/health/ready") == 503

    guarded.gateway["denied"] = {"ws-07": "2100-01-01T00:00:00Z"}
    guarded.gateway["certificate"], guarded.gateway["private_key"] = guarded.other_pair
    revoked = guarded.deploy(gateway_only=True)
    assert revoked["steps"] == [f"update docker_gateway {GATEWAY} (files)"]
    assert (guarded.ask(guarded.token()), guarded.ask(guarded.token("ws-08"))) == (403, 200)
    assert engine.inspect(GATEWAY)["Id"] == info["Id"], "it was told to load its files and not made anew"
    assert guarded.deploy(gateway_only=True)["changed"] is False

    def usage() -> list[dict[str, t.Any]]:
        return usage_lines(engine.docker("logs", GATEWAY))

    until(lambda: len(usage()) == 5)
    seen = [(line["workstation"], line["target"], line["status"]) for line in usage()]
    assert seen[:2] == [("-", "gpu-box-1", 401), ("ws-07", "gpu-box-1", 200)]
    key_line = guarded.gateway["private_key"].splitlines()[1]
    for place in (guarded.studio.printed, str(info), engine.docker("logs", GATEWAY)):
        assert key_line not in place
        assert guarded.token() not in place

    engine.docker("stop", "--time=1", GATEWAY)
    started = guarded.deploy(gateway_only=True)
    assert started["steps"] == [f"update docker_gateway {GATEWAY} (files, running)"]
    assert guarded.ask(guarded.token("ws-08")) == 200

    opened = guarded.studio.deploy({}, {"node": OTHER})
    assert "docker rm --force budgetguard-gateway" in opened["msg"]
    assert guarded.ask() == 401

    gone = guarded.deploy({"state": "absent"}, {"node": OTHER, "state": "absent"}, purge_shared=True)
    assert not gone.get("failed"), gone
    assert engine.containers() == set()
    assert GATEWAY not in engine.volumes()


def test_files_that_haproxy_does_not_take_leave_the_old_ones_in_place(guarded: Guarded) -> None:
    guarded.deploy(STARTED)
    good = dict(guarded.gateway)
    guarded.gateway["certificate"] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    failed = guarded.deploy(gateway_only=True)
    assert "goes on with those that it had" in failed["msg"], failed
    assert guarded.ask(guarded.token()) == 200
    guarded.gateway = good
    assert not guarded.deploy(gateway_only=True).get("failed")
    assert guarded.ask(guarded.token()) == 200
