# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Docker's description of a container means."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_containers as containers
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import DockerSettings

KEY = "nvapi-CaNaRy81Zr0QmTvX3"


def described(
    restart: str = "unless-stopped", restarts: int = 0, host_ip: str = "10.20.0.31", **state: t.Any
) -> dict[str, t.Any]:
    """Return what docker inspect says, as far as it is read."""
    return {
        "Name": "/nim-flux-dev-l40s",
        "Id": "1",
        "Created": "2026-11-23T18:00:00.123456789Z",
        "RestartCount": restarts,
        "State": {"Status": "running", "Running": False, **state},
        "Config": {
            "Env": ["PATH=/bin", "NIM_LOG_LEVEL=DEBUG", f"NGC_API_KEY={KEY}"],
            "Labels": {
                "budgetguard:managed": "true",
                "budgetguard:deployment": "nim-flux-dev-l40s",
                "budgetguard:node": "FLUX Dev",
                "budgetguard:serves": "FLUX Dev=base",
                "budgetguard:infer-path": "/v1/infer",
                "budgetguard:env": "NIM_LOG_LEVEL",
            },
        },
        "HostConfig": {
            "RestartPolicy": {"Name": restart},
            "PortBindings": {"8000/tcp": [{"HostIp": host_ip, "HostPort": "8003"}]},
            "DeviceRequests": [{"DeviceIDs": ["0"], "Capabilities": [["gpu"]]}],
        },
    }


RUNNING: dict[str, t.Any] = {"Status": "running", "Running": True, "StartedAt": "2026-11-23T18:00:00.1Z", "ExitCode": 0}


@pytest.mark.parametrize(
    ("info", "ready", "state", "told"),
    [
        (described(**RUNNING), True, "running", None),
        (described(**RUNNING), False, "starting", "has loaded its model for"),
        (described(restarts=5, **RUNNING), True, "running", None),
        (described(restarts=5, **RUNNING), False, "failed", "it ended 5 times; its last words: boom"),
        (described(Status="restarting", Restarting=True, Running=True, ExitCode=7), False, "starting", "exit code 7"),
        (described(restarts=3, Status="restarting", Restarting=True, Running=True, ExitCode=7, OOMKilled=True), False,
         "failed", "because the host ran out of memory"),
        (described(Status="created"), False, "stopped", None),
        (described(Status="created", Error="no GPU"), False, "stopped", "its last start failed: no GPU"),
        (described(Status="exited", ExitCode=1), False, "stopped", None),
        (described("no", Status="exited", ExitCode=137), False, "stopped", None),
        (described("no", Status="exited", ExitCode=1), False, "failed", "with exit code 1"),
        (described(Status="paused", Running=True, Paused=True), False, "unknown", "docker unpause"),
        (described(Status="removing"), False, "unknown", "removing"),
    ],
)  # fmt: skip
def test_states(info: dict[str, t.Any], ready: bool, state: str, told: str | None) -> None:
    status = containers.status(info, None, ready, "boom")
    assert status.state == state
    assert (status.reason is None) if told is None else (told in str(status.reason))
    assert status.running == int(state == "running")
    assert status.running_since == ("2026-11-23T18:00:00Z" if state == "running" else None)


@pytest.mark.parametrize(
    ("host_ip", "endpoint_host", "endpoint"),
    [
        ("10.20.0.31", None, "http://10.20.0.31:8003"),
        ("10.20.0.31", "gpu-box", "http://gpu-box:8003"),
        ("127.0.0.1", None, None),
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8003"),
        ("10.20.0.31", "127.0.0.1", "http://10.20.0.31:8003"),
        ("", None, None),
        ("::", "gpu-box", "http://gpu-box:8003"),
        ("fd00::1", None, "http://[fd00::1]:8003"),
    ],
)
def test_endpoint_is_one_that_workstations_can_use(host_ip: str, endpoint_host: str | None, endpoint: str) -> None:
    status = containers.status(described(host_ip=host_ip), endpoint_host, False, None)
    assert status.endpoint == endpoint


def test_keys_are_told_without_showing_them() -> None:
    def keys(given: str | None) -> t.Any:
        settings = DockerSettings.from_options({"ngc_api_key": given})
        resource = containers.resource(described(), settings, lambda gpu: f"GPU-{gpu}")
        assert "CaNaRy" not in repr(resource.spec)
        assert resource.spec["gpus"] == ["GPU-0"]
        assert resource.spec["env"] == {"NIM_LOG_LEVEL": "DEBUG"}
        return resource.spec["keys"]

    assert keys(KEY) == {"NGC_API_KEY": "current", "HF_TOKEN": "missing"}
    assert keys("nvapi-another81Zr0QmTvX3")["NGC_API_KEY"] == "another"


@pytest.mark.parametrize(
    ("host_config", "env", "gpus"),
    [
        ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, [], ["all"]),
        ({"DeviceRequests": [{"DeviceIDs": ["GPU-a"], "Capabilities": [["gpu", "utility"]]}]}, [], ["GPU-a"]),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=1"]}]}, [], ["1"]),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=0,2"], ["0", "2"]),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=void"], []),
        ({"DeviceRequests": None}, ["NVIDIA_VISIBLE_DEVICES=all"], []),
    ],
)
def test_gpus_that_any_container_has(host_config: dict[str, t.Any], env: list[str], gpus: list[str]) -> None:
    assert containers.reserved_gpus({"HostConfig": host_config, "Config": {"Env": env}}) == gpus
