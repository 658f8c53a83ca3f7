# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks package_build and package_install, and what a workstation's config says of its own NIMs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.docker import packages
from tests.docker.engine import NGC_KEY, Engine
from tests.docker.packages import Desk
from tests.docker.studio import HOST_PYTHON, PLAYBOOK
from tests.ssh.playing import PLUGINS, make_ansible_windows
from tests.tools import layout

STUDIO_KEY = "b7Vq-2mXe9Lw4Rt_6Yp1Uo8Ks3Dh5Fj0GzCn"


@pytest.fixture
def run(desk: Desk, engine: Engine) -> t.Callable[..., str]:
    """Return a function that runs playbooks on one workstation, and returns what they printed."""
    comfy = desk.folder / "ComfyUI"
    (comfy / "custom_nodes").mkdir(parents=True)
    (comfy / "main.py").touch()
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": HOST_PYTHON,
        "comfyui_path": str(comfy),
        "nim_package_path": str(desk.package),
        "nim_package_nodes": ["FLUX Dev", {"node": "FLUX Canny", "port": packages.FIRST_PORT + 7}],
        "nim_catalog": packages.CATALOG,
        "nim_ngc_api_key": "{{ lookup('ansible.builtin.env', 'STUDIO_NGC') }}",
        "nim_studio_key": STUDIO_KEY,
        "nim_own_nims": True,
        "nim_export_dir": str(desk.folder / "exports"),
        "local_package_registry": engine.registry,
        "local_package_registry_username": "$oauthtoken",
        "local_package_registry_password": "{{ nim_ngc_api_key }}",
        "local_package_docker_host": engine.socket,
        "local_package_first_port": packages.FIRST_PORT,
        "local_package_folder": str(desk.folder / "copied"),
        "workstation_config_docker_host": engine.socket,
        "workstation_config_user": "root",
        "workstation_config_become": False,
        "workstation_config_docker_become": False,
        "local_package_become": False,
    }
    inventory = desk.folder / "inventory.json"
    groups: dict[str, t.Any] = {"artist_workstations": {"hosts": {"ws-01": {}}}, "nim_providers": {}}
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": groups}}), encoding="utf-8")

    def go(*words: str, **others: str) -> str:
        done = subprocess.run(
            [str(PLAYBOOK), "-i", str(inventory), *words],
            env={
                **os.environ,
                "ANSIBLE_CALLBACKS_ENABLED": "budgetguard.techops.preload",
                "ANSIBLE_COLLECTIONS_PATH": str(layout.LINKS),
                "ANSIBLE_HOME": str(desk.folder / "ansible"),
                "ANSIBLE_NOCOLOR": "1",
                "STUDIO_NGC": NGC_KEY,
                **others,
            },
            cwd=desk.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert "CaNaRy" not in done.stdout
        return done.stdout

    return go


def recap(printed: str, host: str) -> dict[str, int]:
    """Return what the last lines of all playbooks say of a host."""
    found: dict[str, int] = {}
    for line in re.findall(rf"^{host}\s+: (ok=.*)$", printed, re.MULTILINE):
        for key, value in (pair.split("=") for pair in line.split()):
            found[key] = found.get(key, 0) + int(value)
    return found


BUILD, INSTALL = "budgetguard.techops.package_build", "budgetguard.techops.package_install"


def test_build_copy_install_and_publish(desk: Desk, engine: Engine, run: t.Callable[..., str]) -> None:
    first = run(BUILD, INSTALL, "budgetguard.techops.workstations")
    assert recap(first, "ws-01")["failed"] == 0, first
    assert "does not allow commercial work" in " ".join(first.split())
    assert engine.containers() == {"nim-flux-dev-l40s", "nim-flux-canny-l40s"}
    assert not any(engine.inspect(name)["State"]["Running"] for name in engine.containers())
    copied = {path.name for path in (desk.folder / "copied").iterdir()}
    assert copied == {"nims.zip", "install.py"}

    path = desk.folder / "ComfyUI" / "budgetguard" / "budgetguard_backend_config.json"
    config = json.loads(path.read_text())
    (canny,) = config["nim_endpoints"]["FLUX Canny"]["local"]
    assert canny["url"] == f"http://127.0.0.1:{packages.FIRST_PORT + 7}"
    assert (canny["target"], canny["gpu_tier"]) == ("ws-01", "l40s")
    published = json.loads((desk.folder / "exports" / "budgetguard_artists_config.json").read_text())
    assert published["nim_endpoints"] == {}, "nobody else gets to know a workstation's own NIMs"

    again = run(INSTALL, "budgetguard.techops.workstations")
    assert recap(again, "ws-01")["changed"] == 0, again

    before = path.read_bytes()
    unread = run("budgetguard.techops.workstations", "-e", "workstation_config_docker_host=unix:///no/socket")
    assert recap(unread, "ws-01")["failed"] == 0, unread
    (kept,) = json.loads(path.read_text())["nim_endpoints"]["FLUX Canny"]["local"]
    assert (kept["url"], kept["stale"]) == (canny["url"], True)
    assert path.read_bytes() != before

    gone = run(INSTALL, "-e", "local_package_state=absent")
    assert recap(gone, "ws-01")["changed"] == 2, gone
    assert (engine.containers(), engine.images()) == (set(), set())


def test_windows_runs_the_same_code_with_a_python_of_its_own(
    desk: Desk, engine: Engine, run: t.Callable[..., str]
) -> None:
    """What ansible-core sends to a Windows workstation for it, run here: all but PowerShell and Windows is real."""
    share = desk.folder / "it's a share"
    share.mkdir()
    run(BUILD, "-e", json.dumps({"nim_package_path": str(share / "nims.zip")}))
    host = {"ansible_connection": "windows_over_here"}
    windows = desk.folder / "windows.json"
    windows.write_text(json.dumps({"all": {"hosts": {"ws-01": host}}}), encoding="utf-8")
    extra = {
        "local_package__is_windows": True,
        "local_package_share": there(share / "nims.zip"),
        "local_package_path": str(share / "nims.zip"),
        "local_package_comfyui_python": there(HOST_PYTHON),
        "local_package_windows_folder": there(desk.home / ".budgetguard_local"),
        "local_package_install_nodes": ["FLUX Dev"],
    }
    words = ("-i", str(windows), INSTALL, "-e", json.dumps(extra))
    others = {
        "ANSIBLE_COLLECTIONS_PATH": f"{layout.LINKS}:{make_ansible_windows(desk.folder / 'stub')}",
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
        "PYTHONPATH": str(layout.ROOT),
    }
    predicted = run(*words, "--check", **others)
    assert recap(predicted, "ws-01")["changed"] == 1, predicted
    assert engine.containers() == set()
    told = desk.folder / "told.json"
    look = desk.folder / "look.json"
    look.write_text(json.dumps(_looking(told, engine)), encoding="utf-8")
    first = run(*words[:3], str(look), *words[3:], **others)
    assert recap(first, "ws-01")["failed"] == 0, first
    assert "changed: [ws-01]" in first, first
    assert engine.containers() == {"nim-flux-dev-l40s"}
    (found,) = json.loads(told.read_text())
    assert (found["node"], found["gpu_tier"], found["state"]) == ("FLUX Dev", "l40s", "stopped")
    assert found["endpoint"] == f"http://127.0.0.1:{packages.FIRST_PORT}"
    gone = run(*words, "-e", "local_package_state=absent", **others)
    assert recap(gone, "ws-01")["changed"] == 1, gone
    assert engine.containers() == set()


def _looking(told: Path, engine: Engine) -> list[dict[str, t.Any]]:
    """Return a play that asks the workstation's Docker, and writes on the controller what NIMs it has."""
    ask = {"endpoint_host": "127.0.0.1", "comfyui_python": there(HOST_PYTHON), "docker_host": engine.socket}
    kept = {"content": "{{ found.deployments | to_json }}", "dest": str(told), "mode": "0600"}
    local = {"ansible_connection": "local"}
    return [
        {
            "hosts": "ws-01",
            "gather_facts": False,
            "tasks": [
                {"budgetguard.techops.nim_local_info": ask, "register": "found"},
                {"ansible.builtin.copy": kept, "delegate_to": "localhost", "vars": local},
            ],
        }
    ]


def there(path: Path | str) -> str:
    """Return the path as the connection windows_over_here has it."""
    return "\\\\here" + str(path).replace("/", "\\")
