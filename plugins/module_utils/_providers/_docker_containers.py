# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""One NIM as a container: what is asked of Docker, and what Docker says of it."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment as d
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Resource
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import (
    HF_KEY,
    NGC_KEY,
    DockerSettings,
)

CONTAINER, VOLUME, IMAGE, HOST = "docker_container", "docker_volume", "docker_image", "docker_host"
NEXT = "-next"
"""The end of the name of a container that is about to take another one's place."""

ENV_LABEL = "budgetguard:env"
"""Names of the variables that we set; all others come with the image."""

START_LABEL = "budgetguard:start"
"""Whether a container that takes another one's place is to be started, in case the run ends before it is."""

_COMPARED_LABELS = (d.NODE_TAG, d.TIER_TAG, d.KIND_TAG, d.SERVES_TAG, d.INFER_PATH_TAG)

CURRENT, ANOTHER, MISSING = "current", "another", "missing"
"""What is said of a key in place of the key."""

NIM_PORT = 8000
CACHE = "/opt/nim/.cache"
STOP_SECONDS = 60
START_SECONDS = 1800
"""How long Docker's own check may fail after a start: a NIM downloads and loads its model for up to half an hour."""

_CHECK_SECONDS, _CHECK_TIMEOUT, _CHECK_RETRIES = 30, 20, 3
_CRASHES = 3
"""After so many restarts by Docker a start is called failed."""

_CLEAN_EXITS = (0, 130, 137, 143)
"""Ended by itself, or by the signals INT, KILL or TERM."""

_PROBE_SECONDS = 3.0
_EVERYWHERE = ipaddress.IPv4Address(0)
_GIB = 2**30


def health_command() -> str:
    """Return a check that works with whichever of three programs the image has."""
    url = f"http://127.0.0.1:{NIM_PORT}{d.HEALTH_PATH}"
    in_python = f"import urllib.request as r; r.build_opener().open('{url}', timeout={_CHECK_TIMEOUT - 5})"
    return f'curl -fsS -o /dev/null {url} || wget -q -O /dev/null {url} || python3 -c "{in_python}"'


def health_times() -> dict[str, t.Any]:
    """Return how often and how long the check is tried, in the words of Compose."""
    return {
        "interval": f"{_CHECK_SECONDS}s",
        "timeout": f"{_CHECK_TIMEOUT}s",
        "retries": _CHECK_RETRIES,
        "start_period": f"{START_SECONDS}s",
    }


# ---- what is asked for -------------------------------------------------------------------------------------------


def volume_name(deployment: str) -> str:
    """Name the volume that holds a NIM's model."""
    return f"{deployment}-cache"


def cache_mount(volume: str) -> str:
    """Return the option that puts a volume where the model goes.

    Without ``volume-nocopy`` Docker gives an empty volume to the owner of that folder in the image again.
    """
    return f"--mount=type=volume,src={volume},dst={CACHE},volume-nocopy"


def environment(item: d.Wanted) -> dict[str, str]:
    """Return the container's variables, without keys."""
    return {
        "NIM_HTTP_API_PORT": str(NIM_PORT),
        "NIM_SERVER_PORT": str(NIM_PORT),
        "NIM_CACHE_PATH": CACHE,
        "NIM_JSONL_LOGGING": "1",
        **({"NIM_MODEL_VARIANT": "+".join(item.variants)} if item.variants else {}),
        **item.env,
    }


def spec(
    item: d.Wanted,
    settings: DockerSettings,
    gpus: t.Sequence[str],
    port: int,
    have: t.Mapping[str, t.Any] | None,
) -> dict[str, t.Any]:
    """Return what is compared of a container. ``have`` is the same of the one that is there."""
    env: dict[str, str | None] = dict.fromkeys(have["env"] if have else ())
    wanted: dict[str, t.Any] = {
        "image": settings.image(item.image),
        "env": {**env, **environment(item)},
        "gpus": sorted(gpus),
        "address": f"{settings.nim_address}:{port}",
        "cache": volume_name(item.name),
        "shm_gib": item.shm_gib,
        "user": settings.run_as,
        "restart": "no" if settings.restart_policy == "never" else settings.restart_policy,
        "health": health_command(),
        "labels": {
            d.NODE_TAG: item.node,
            d.TIER_TAG: item.gpu_tier,
            d.KIND_TAG: item.kind,
            d.SERVES_TAG: d.encode_serves(item.serves),
            d.INFER_PATH_TAG: item.infer_path,
        },
    }
    given = {NGC_KEY: settings.ngc_api_key, HF_KEY: settings.hf_token if item.needs_hf_token else None}
    wanted["keys"] = {name: CURRENT for name, key in given.items() if key}
    if item.start:
        wanted["running"] = True
    return wanted


def create_words(
    name: str, deployment: str, wanted: t.Mapping[str, t.Any], image: str, keys: t.Iterable[str], start: bool
) -> list[str]:
    """Return the words of ``docker create``. The values of ``keys`` are taken from docker's own environment."""
    env = {key: value for key, value in wanted["env"].items() if value is not None}
    labels = {
        d.MANAGED_TAG: "true",
        d.DEPLOYMENT_TAG: deployment,
        d.IMAGE_TAG: wanted["image"],
        ENV_LABEL: ",".join(sorted(env)),
        START_LABEL: "true" if start else "false",
        **wanted["labels"],
    }
    # Docker reads the list of GPUs as a line of CSV, so the whole of it stands in quotes.
    gpus = '"device={}"'.format(",".join(wanted["gpus"]))
    return [
        "create",
        "--pull=never",
        f"--name={name}",
        *(f"--label={key}={value}" for key, value in labels.items()),
        *(f"--env={key}={value}" for key, value in sorted(env.items())),
        *(f"--env={key}" for key in sorted(keys)),
        f"--gpus={gpus}",
        f"--publish={_bracketed(wanted['address'])}:{NIM_PORT}",
        cache_mount(wanted["cache"]),
        f"--shm-size={wanted['shm_gib']}g",
        f"--user={wanted['user']}",
        f"--restart={wanted['restart']}",
        f"--stop-timeout={STOP_SECONDS}",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--health-cmd={wanted['health']}",
        f"--health-interval={_CHECK_SECONDS}s",
        f"--health-timeout={_CHECK_TIMEOUT}s",
        f"--health-retries={_CHECK_RETRIES}",
        f"--health-start-period={START_SECONDS}s",
        image,
    ]


def _bracketed(address: str) -> str:
    """Return address and port as Docker wants them: an IPv6 address stands in brackets."""
    host, _colon, port = address.rpartition(":")
    return f"[{host}]:{port}" if ":" in host else address


# ---- what is there -----------------------------------------------------------------------------------------------


def resource(info: t.Mapping[str, t.Any], settings: DockerSettings, gpu_id: t.Callable[[str], str]) -> Resource:
    """Return a container from Docker's description of it. Keys are only told as current, another or missing."""
    config, host_config = info["Config"], info["HostConfig"]
    labels = config.get("Labels") or {}
    name = info["Name"].lstrip("/")
    variables = _variables(config)
    given = {NGC_KEY: settings.ngc_api_key, HF_KEY: settings.hf_token}
    health = (config.get("Healthcheck") or {}).get("Test") or []
    return Resource(
        CONTAINER,
        name,
        {
            "image": labels.get(d.IMAGE_TAG, config.get("Image")),
            "env": {key: variables.get(key) for key in labels.get(ENV_LABEL, "").split(",") if key},
            "keys": {key: _about_key(variables.get(key), value) for key, value in given.items()},
            "gpus": sorted(gpu_id(gpu) for gpu in reserved_gpus(info)),
            "address": address(info),
            "cache": next((m.get("Source") for m in host_config.get("Mounts") or [] if m.get("Target") == CACHE), None),
            "shm_gib": host_config.get("ShmSize", 0) // _GIB,
            "user": config.get("User"),
            "restart": (host_config.get("RestartPolicy") or {}).get("Name"),
            "health": health[1] if len(health) == 2 else None,
            "labels": {tag: labels.get(tag) for tag in _COMPARED_LABELS},
            "running": is_on(info),
        },
        name,
        facts={"info": info},
        managed=labels.get(d.MANAGED_TAG) == "true",
    )


def _variables(config: t.Mapping[str, t.Any]) -> dict[str, str]:
    pairs = (text.partition("=") for text in config.get("Env") or [])
    return {key: value for key, _sign, value in pairs}


def _about_key(found: str | None, given: str | None) -> str:
    if not found:
        return MISSING
    return CURRENT if found == given else ANOTHER


def keys_of(info: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the keys that a container has. Secret."""
    return {key: value for key, value in _variables(info["Config"]).items() if key in d.SECRET_VARIABLES and value}


def is_on(info: t.Mapping[str, t.Any]) -> bool:
    """Say whether the container runs, or Docker is about to start it again."""
    state = info["State"]
    return bool(state.get("Running") or state.get("Restarting"))


def reserved_gpus(info: t.Mapping[str, t.Any]) -> list[str]:
    """Return the numbers or ids of the GPUs that a container has reserved; ``all`` for all of them."""
    found: list[str] = []
    for request in info["HostConfig"].get("DeviceRequests") or []:
        # CDI names GPUs as vendor.com/class=name.
        ids = [str(text).rpartition("=")[2] for text in request.get("DeviceIDs") or []]
        if any("gpu" in group for group in request.get("Capabilities") or []) or request.get("Driver") == "cdi":
            found += ids or ["all"]
    if info["HostConfig"].get("Runtime") == "nvidia":
        visible = _variables(info["Config"]).get("NVIDIA_VISIBLE_DEVICES", "")
        found += [text for text in visible.split(",") if text not in ("", "none", "void")]
    return found


def address(info: t.Mapping[str, t.Any]) -> str | None:
    """Return the address and port of the host at which the container answers when it runs."""
    bindings = (info["HostConfig"].get("PortBindings") or {}).get(f"{NIM_PORT}/tcp") or []
    return f"{bindings[0].get('HostIp') or _EVERYWHERE}:{bindings[0].get('HostPort')}" if bindings else None


def published_ports(info: t.Mapping[str, t.Any]) -> set[int]:
    """Return all ports of the host that the container has when it runs."""
    bindings = (info["HostConfig"].get("PortBindings") or {}).values()
    ports = [entry.get("HostPort") for entries in bindings for entry in entries or []]
    return {int(port) for port in ports if str(port).isdigit()}


# ---- how it is ---------------------------------------------------------------------------------------------------


def status(info: t.Mapping[str, t.Any], endpoint_host: str | None, ready: bool, log_line: str | None) -> d.Status:
    """Return the NIM's state. ``ready``: it has answered; ``log_line``: the last thing it said, if asked for."""
    labels = info["Config"].get("Labels") or {}
    state, reason = _state(info, ready, log_line)
    serves = d.decode_serves(labels.get(d.SERVES_TAG, ""))
    return d.Status(
        name=info["Name"].lstrip("/"),
        node=labels.get(d.NODE_TAG, ""),
        gpu_tier=labels.get(d.TIER_TAG, ""),
        image=labels.get(d.IMAGE_TAG),
        kind=labels.get(d.KIND_TAG),
        serves=serves,
        replicas=int(is_on(info)),
        running=int(state == "running"),
        state=state,
        reason=reason,
        endpoint=_endpoint(address(info), endpoint_host),
        infer_path=labels.get(d.INFER_PATH_TAG),
        deployed_at=f"{info['Created'][:19]}Z" if info.get("Created") else None,
        running_since=f"{info['State']['StartedAt'][:19]}Z" if state == "running" and _started(info) else None,
    )


def _started(info: t.Mapping[str, t.Any]) -> bool:
    """Say whether Docker tells when it started the container. It writes the year 1 for never."""
    return str(info["State"].get("StartedAt") or "0001")[:4] != "0001"


def _endpoint(found: str | None, endpoint_host: str | None) -> str | None:
    """Return the base URL for workstations. An address that only the host itself can call is none."""
    if found is None:
        return None
    host, _colon, port = found.rpartition(":")
    listens_at = ipaddress.ip_address(host)
    is_local = listens_at.is_loopback or listens_at.is_unspecified
    if endpoint_host is None and is_local:
        return None
    if endpoint_host in ("127.0.0.1", "localhost") and not is_local:
        # It listens at another address of the host only.
        endpoint_host = None
    base = endpoint_host or (f"[{host}]" if ":" in host else host)
    return f"http://{base}:{port}"


def _state(info: t.Mapping[str, t.Any], ready: bool, log_line: str | None) -> tuple[str, str | None]:
    state, restarts = info["State"], int(info.get("RestartCount") or 0)
    said = f"; its last words: {log_line}" if log_line else ""
    # With a restart policy, a container only stays ended when somebody has stopped it.
    stays_down = (info["HostConfig"].get("RestartPolicy") or {}).get("Name") in ("no", "", None)
    verdict: tuple[str, str | None] = ("unknown", f"its container is {state.get('Status')}")
    if is_on(info) and restarts >= _CRASHES and not ready:
        verdict = ("failed", f"it ended {restarts} times{_last_end(state)}{said}")
    elif state.get("Restarting"):
        verdict = ("starting", f"it ended {_end(state)} and is started again{said}")
    elif state.get("Paused"):
        verdict = ("unknown", "its container is paused; docker unpause lets it go on")
    elif state.get("Running"):
        verdict = ("running", None) if ready else ("starting", _loading(state))
    elif state.get("Status") == "created":
        error = state.get("Error")
        verdict = ("stopped", f"its last start failed: {error}" if error else None)
    elif state.get("Status") in ("exited", "dead"):
        crashed = stays_down and state.get("ExitCode") not in _CLEAN_EXITS
        verdict = ("failed", f"it ended {_end(state)}{said}") if crashed else ("stopped", None)
    return verdict


def _end(state: t.Mapping[str, t.Any]) -> str:
    if state.get("OOMKilled"):
        return "because the host ran out of memory"
    return f"with exit code {state.get('ExitCode')}"


def _last_end(state: t.Mapping[str, t.Any]) -> str:
    """Say how it ended, which Docker forgets when it starts the container again."""
    return "" if state.get("Running") and not state.get("Restarting") else f", last {_end(state)}"


def _loading(state: t.Mapping[str, t.Any]) -> str:
    started = str(state.get("StartedAt") or "")[:19]
    try:
        since = datetime.datetime.strptime(started, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return "it loads its model"
    minutes = int((datetime.datetime.now(datetime.timezone.utc) - since).total_seconds() // 60)
    return f"it has loaded its model for {minutes} min"


def answers(found: str | None) -> bool:
    """Ask the NIM itself, from the host it runs on, whether it is ready."""
    if found is None:
        return False
    host, _colon, port = found.rpartition(":")
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    connection = http.client.HTTPConnection(host, int(port), timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", d.HEALTH_PATH)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
