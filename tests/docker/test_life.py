# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of NIMs on a real Docker engine."""

from __future__ import annotations

import http.client
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.docker.engine import GPUS, NGC_KEY, REPOSITORY, Engine
from tests.docker.studio import NAME, OTHER, OTHER_NAME, Studio

STARTED = {"state": "started"}


def only(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the one NIM of a result that is no failure."""
    assert not result.get("failed"), result
    (found,) = result["deployments"]
    return t.cast("dict[str, t.Any]", found)


def gpus_of(engine: Engine, container: str) -> list[str]:
    """Return the GPUs that Docker has reserved for a container."""
    (request,) = engine.inspect(container)["HostConfig"]["DeviceRequests"]
    assert request["Capabilities"] == [["gpu"]]
    ids: list[str] = request["DeviceIDs"]
    return ids


def _answer(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/v1/health/ready")
    return connection.getresponse().status


def test_present_makes_a_container_that_does_not_run(studio: Studio, engine: Engine) -> None:
    found = only(studio.deploy({}))
    assert (found["name"], found["state"], found["replicas"]) == (NAME, "stopped", 0)
    assert found["gpu_tier"] == "l40s", "the tier is the one that nvidia-smi tells"
    info = engine.inspect(NAME)
    assert info["State"]["Status"] == "created"
    assert gpus_of(engine, NAME) == [GPUS[0]]
    assert info["HostConfig"]["ShmSize"] == 2**30
    assert info["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert info["HostConfig"]["CapDrop"] == ["ALL"]
    assert info["Config"]["User"] == "1000"
    assert info["Config"]["Healthcheck"]["StartPeriod"] == 1800 * 10**9
    assert "@sha256:" in info["Config"]["Image"], "the container is made from the image's digest"
    assert info["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18000"}]}


def test_whole_life(studio: Studio, engine: Engine) -> None:
    created = only(studio.deploy({}))
    assert created["changed"]
    assert not studio.deploy({})["changed"]

    started = only(studio.deploy(STARTED))
    assert (started["state"], started["running"]) == ("running", 1)
    assert started["steps"] == [f"update docker_container {NAME} (running)"]
    assert started["endpoint"] == "http://127.0.0.1:18000"
    assert _answer(18000) == 200
    assert not studio.deploy(STARTED)["changed"]
    for check in (False, True):
        kept = only(studio.deploy({}, check=check))
        assert (kept["changed"], kept["state"], kept["running"]) == (False, "running", 1), "present leaves it running"
    assert [item["state"] for item in studio.read()] == ["running"]
    model = engine.docker("exec", NAME, "cat", "/opt/nim/.cache/model")
    assert model == "", "a NIM that is not root can write into its volume"

    stopped = only(studio.deploy({"state": "stopped"}))
    assert (stopped["state"], stopped["replicas"]) == ("stopped", 0)
    assert engine.inspect(NAME)["State"]["Status"] == "exited"
    assert not studio.deploy({"state": "stopped"})["changed"]

    gone = only(studio.deploy({"state": "absent"}))
    assert gone["state"] == "absent"
    assert (engine.containers(), engine.volumes(), engine.images()) == (set(), set(), set())
    assert not studio.deploy({"state": "absent"})["changed"]


def test_check_mode_changes_nothing_and_asks_the_registry(studio: Studio, engine: Engine) -> None:
    result = studio.deploy(STARTED, check=True)
    assert result["changed"]
    assert result["steps"] == [
        f"create docker_image {engine.registry}/{REPOSITORY}:1.0",
        f"create docker_volume {NAME}-cache",
        f"create docker_container {NAME}",
    ]
    assert (engine.containers(), engine.images()) == (set(), set())
    missing = studio.deploy({"tag": "9.9"}, check=True)
    assert missing["failed"]
    assert "The registry has no such tag" in missing["msg"]


def test_changes_replace_the_container_and_a_running_one_runs_again(studio: Studio, engine: Engine) -> None:
    studio.deploy({**STARTED, "env": {"NIM_LOG_LEVEL": "DEBUG"}})
    before = engine.inspect(NAME)["Id"]
    changed = only(studio.deploy({"tag": "1.1"}))
    assert changed["steps"] == [
        f"update docker_container {NAME} (env.NIM_LOG_LEVEL, image)",
    ]
    info = engine.inspect(NAME)
    assert info["Id"] != before
    assert info["State"]["Running"]
    assert "NIM_LOG_LEVEL=DEBUG" not in info["Config"]["Env"]
    assert engine.images() == {f"{engine.registry}/{REPOSITORY}:1.1"}, "the old image is given back"
    assert engine.containers() == {NAME}
    assert not studio.deploy({"tag": "1.1"})["changed"]


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"ports": {"stand-in": 18111}}, "address", "18111"),
        ({"run_as": "1001:0"}, "user", "1001:0"),
    ],
)
def test_options_are_reconciled(
    studio: Studio, engine: Engine, options: dict[str, t.Any], field: str, value: str
) -> None:
    studio.deploy({})
    changed = only(studio.deploy({}, **options))
    assert changed["steps"] == [f"update docker_container {NAME} ({field})"]
    info = engine.inspect(NAME)
    seen = {
        "address": info["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"],
        "user": info["Config"]["User"],
    }
    assert seen[field] == value
    assert not studio.deploy({}, **options)["changed"]


def test_image_can_be_named_by_its_digest(studio: Studio, engine: Engine) -> None:
    studio.deploy({})
    digest = engine.inspect(NAME)["Config"]["Image"].partition("@")[2]
    changed = only(studio.deploy({**STARTED, "tag": f"1.0@{digest}"}))
    assert changed["state"] == "running"
    assert engine.inspect(NAME)["Config"]["Image"].endswith(f"{REPOSITORY}@{digest}")
    assert not studio.deploy({**STARTED, "tag": f"1.0@{digest}"})["changed"]


def test_two_runs_at_the_same_time_do_not_give_out_one_gpu_twice(engine: Engine, tmp_path: Path) -> None:
    studios = [Studio(tmp_path / name, engine) for name in ("one", "two")]
    for studio in studios:
        studio.folder.mkdir()
    studios[0].deploy({"node": OTHER}, {"state": "absent"})
    engine.docker(
        "rm", OTHER_NAME
    )  # The image is there now, so that both runs come to the GPUs at about the same time.
    with ThreadPoolExecutor() as pool:
        first = pool.submit(studios[0].deploy, {})
        second = pool.submit(studios[1].deploy, {"node": OTHER})
    for result in (first.result(), second.result()):
        assert not result.get("failed"), result
    assert {gpus_of(engine, name)[0] for name in (NAME, OTHER_NAME)} == set(GPUS)


def test_restart_policy_changes_in_place(studio: Studio, engine: Engine) -> None:
    studio.deploy({})
    before = engine.inspect(NAME)["Id"]
    assert studio.deploy({}, restart_policy="never")["changed"]
    info = engine.inspect(NAME)
    assert (info["Id"], info["HostConfig"]["RestartPolicy"]["Name"]) == (before, "no")


def test_two_nims_get_different_gpus_and_ports_and_a_third_is_refused(studio: Studio, engine: Engine) -> None:
    result = studio.deploy(STARTED, {"node": OTHER, **STARTED})
    assert not result.get("failed"), result
    assert {gpus_of(engine, name)[0] for name in (NAME, OTHER_NAME)} == set(GPUS)
    assert len({item["endpoint"] for item in result["deployments"]}) == 2
    engine.docker("rm", "--force", OTHER_NAME)
    engine.docker("run", "--detach", "--name=render", f"--gpus=device={GPUS[1]}", "--entrypoint=sleep",
                  f"{engine.registry}/{REPOSITORY}:1.0", "600")  # fmt: skip
    refused = studio.deploy({"node": OTHER})
    assert refused["failed"]
    assert "GPU 1 is held by the container render" in refused["msg"]
    assert f"GPU 0 is held by {NAME}" in refused["msg"]
    assert engine.containers() == {NAME, "render"}


def test_one_call_can_give_the_gpu_of_one_nim_to_another(studio: Studio, engine: Engine) -> None:
    (engine.programs / "nvidia-smi").rename(engine.programs / "both")
    try:
        smi = engine.programs / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\n{engine.programs}/both | head -n 1\n", encoding="utf-8")
        smi.chmod(0o755)
        studio.deploy({})
        refused = studio.deploy({"node": OTHER})
        assert "set share_gpus: true" in refused["msg"]
        swapped = studio.deploy({"state": "absent"}, {"node": OTHER})
        assert not swapped.get("failed"), swapped
        assert engine.containers() == {OTHER_NAME}

        shared = studio.deploy({}, {"node": OTHER, **STARTED}, share_gpus=True)
        assert not shared.get("failed"), shared
        assert gpus_of(engine, NAME) == gpus_of(engine, OTHER_NAME)
        twice = studio.deploy(STARTED, share_gpus=True)
        assert "share a GPU; stop one before you start another" in twice["msg"]
        assert not engine.inspect(NAME)["State"]["Running"]
    finally:
        (engine.programs / "both").replace(engine.programs / "nvidia-smi")


def test_models_can_be_on_another_disk(studio: Studio, engine: Engine, tmp_path: Path) -> None:
    cache = tmp_path / "big disk" / "nim"
    assert only(studio.deploy(STARTED, cache_path=str(cache)))["state"] == "running"
    folder = cache / f"{NAME}-cache"
    assert (folder / "model").exists()
    assert (folder / "model").stat().st_uid == 1000
    assert not studio.deploy(STARTED, cache_path=str(cache))["changed"]
    only(studio.deploy({"state": "absent"}, cache_path=str(cache)))
    assert cache.exists()
    assert not folder.exists()


def test_keys_stay_in_the_container_only(studio: Studio, engine: Engine) -> None:
    studio.deploy(STARTED)
    assert f"NGC_API_KEY={NGC_KEY}" in engine.inspect(NAME)["Config"]["Env"]
    assert not list(Path("/dev/shm").glob("budgetguard-docker-*"))
    without = studio.deploy({**STARTED, "tag": "1.1"}, ngc_api_key=None)
    assert only(without)["state"] == "running", "the key of the old container goes into the new one"
    rotated = only(studio.deploy({"tag": "1.1"}, ngc_api_key="nvapi-CaNaRyanother81Zr0Qm"))
    assert rotated["steps"] == [f"update docker_container {NAME} (keys.NGC_API_KEY)"]
    assert "CaNaRy" not in studio.printed


def test_what_a_killed_run_left_is_finished(studio: Studio, engine: Engine) -> None:
    studio.deploy(STARTED)
    engine.docker("stop", NAME)
    engine.docker("rename", NAME, f"{NAME}-next")
    result = only(studio.deploy({}))
    assert engine.containers() == {NAME}
    assert engine.inspect(NAME)["State"]["Running"]
    assert not result["changed"]
