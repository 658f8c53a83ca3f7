# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""The gateway beside the NIMs of a Docker host: one container in the host's network, and a volume with its files.

NIMs then listen on the host's loopback address only. A change of the files is loaded without ending a connection
(SIGUSR2 to HAProxy's master); the gateway tells on its health port, which is on the loopback address too, which files
it runs with.
"""

from __future__ import annotations

import http.client
import io
import tarfile
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment as d
from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import DockerSettings

GATEWAY = "docker_gateway"
NAME = "budgetguard-gateway"
VOLUME = "budgetguard-gateway"
LOOPBACK = "127.0.0.1"

FOLDER = "/etc/budgetguard"
"""Where the volume is in the container. The image has nothing there."""

GATEWAY_LABEL = "budgetguard:gateway"
ENDPOINT_LABEL, AUTH_LABEL, ADDRESS_LABEL = "budgetguard:endpoint", "budgetguard:auth", "budgetguard:address"

LOADED_SECONDS = 30
"""How long HAProxy may take to read another configuration."""

_PROBE_SECONDS = 3.0
_STOP_ALLOWANCE = 60

Routes = t.Mapping[str, str]
"""Name in the path to address, of the NIMs on the host."""


def spec(settings: DockerSettings, routes: Routes) -> dict[str, t.Any]:
    """Return what is compared of the gateway."""
    host = settings.endpoint_host or settings.bind_address
    scheme = "https" if settings.gateway.tls else "http"
    return {
        "image": settings.gateway_image,
        "address": f"{settings.bind_address}:{settings.gateway_port}",
        "endpoint": f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.gateway_port}",
        "auth": _gateway.AUTH if settings.gateway.login else "none",
        "files": mark(settings, routes),
        "running": True,
    }


def files(settings: DockerSettings, routes: Routes) -> dict[str, str]:
    """Return the files of the volume."""
    return _files(settings, routes, mark(settings, routes))


def mark(settings: DockerSettings, routes: Routes) -> str:
    """Return a one-way mark of the files, with which the gateway tells what it runs with."""
    return d.spec_hash(_files(settings, routes, "files"))


def _files(settings: DockerSettings, routes: Routes, told: str) -> dict[str, str]:
    front = settings.gateway
    host = f"[{settings.bind_address}]" if ":" in settings.bind_address else settings.bind_address
    return {
        **front.files(
            _gateway.FixedRoutes(tuple(sorted(routes.items()))),
            FOLDER,
            FOLDER,
            mark=told,
            listen=f"{host}:{settings.gateway_port}",
            health_listen=f"{LOOPBACK}:{health_port(settings.gateway_port)}",
        ),
        **front.secret_files(),
    }


def health_port(port: int) -> int:
    """Return the port on which the gateway tells how it is."""
    return port + 1


def archive(content: t.Mapping[str, str]) -> str:
    """Return the files as a tar archive for ``docker cp``. They belong to HAProxy's user, who alone reads them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in content.items():
            entry = tarfile.TarInfo(name)
            # What stands around a certificate's PEM may be anything.
            data = text.encode("ascii", "replace")
            entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o400, _gateway.USER_ID, _gateway.USER_ID
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue().decode("ascii")


def create_words(wanted: t.Mapping[str, t.Any], request_seconds: int) -> list[str]:
    """Return the words of ``docker create``. The image is pulled if it is not there."""
    labels = {
        d.MANAGED_TAG: "true",
        GATEWAY_LABEL: "true",
        d.IMAGE_TAG: wanted["image"],
        ENDPOINT_LABEL: wanted["endpoint"],
        AUTH_LABEL: wanted["auth"],
        ADDRESS_LABEL: wanted["address"],
    }
    return [
        "create",
        f"--name={NAME}",
        *(f"--label={key}={value}" for key, value in labels.items()),
        # The NIMs listen on the host's loopback address, and workstations call the host's own.
        "--network=host",
        "--restart=unless-stopped",
        f"--user={_gateway.USER_ID}:{_gateway.USER_ID}",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--mount=type=volume,source={VOLUME},target={FOLDER},volume-nocopy",
        # Requests that are under way are finished first.
        "--stop-signal=SIGUSR1",
        f"--stop-timeout={request_seconds + _STOP_ALLOWANCE}",
        # The usage log: a file that Docker turns over.
        "--log-driver=json-file",
        "--log-opt=max-size=50m",
        "--log-opt=max-file=5",
        "--entrypoint=haproxy",
        wanted["image"],
        *("-W", "-db", "-f", f"{FOLDER}/{_gateway.CONFIG_FILE}"),
    ]


def resource(info: t.Mapping[str, t.Any]) -> Resource:
    """Return the gateway as Docker and the gateway itself describe it."""
    labels = info["Config"].get("Labels") or {}
    running = bool(info["State"].get("Running"))
    address = labels.get(ADDRESS_LABEL, "")
    return Resource(
        GATEWAY,
        NAME,
        {
            "image": labels.get(d.IMAGE_TAG),
            "address": address,
            "endpoint": labels.get(ENDPOINT_LABEL),
            "auth": labels.get(AUTH_LABEL),
            "files": loaded_mark(address) if running else None,
            "running": running,
        },
        managed=labels.get(d.MANAGED_TAG) == "true",
    )


def is_gateway(info: t.Mapping[str, t.Any]) -> bool:
    """Say whether a container is a gateway of ours."""
    labels = info["Config"].get("Labels") or {}
    return bool(labels.get(GATEWAY_LABEL) == "true" and labels.get(d.MANAGED_TAG) == "true")


def loaded_mark(address: str) -> str | None:
    """Ask the gateway which files it runs with, from the host it runs on; None if it does not say."""
    port = address.rpartition(":")[2]
    if not port.isdigit():
        return None
    connection = http.client.HTTPConnection(LOOPBACK, health_port(int(port)), timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", _gateway.HEALTH_PATH)
        answer = connection.getresponse()
        word, _space, found = answer.read(200).decode(errors="replace").partition(" ")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return found if answer.status == http.client.OK and word == "ok" else None
