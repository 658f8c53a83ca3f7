# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules, run by Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.tools import layout
from tests.unit.nvidia.organisation import FLUX, HF_TOKEN, NGC_KEY, Organisation


def run_module(org: Organisation, name: str, **options: t.Any) -> tuple[dict[str, t.Any], str]:
    """Run one task; return its result and everything that was printed."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible"),
            "localhost",
            "-vvv",
            "-m",
            f"budgetguard.techops.{name}",
            "-a",
            json.dumps({"endpoint": org.url, "org": org.app.account.org, **options}),
        ],
        env={
            **os.environ,
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "NVIDIA_API_KEY": org.app.account.key,
            "SSL_CERT_FILE": org.ca_bundle,
        },
        cwd=layout.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    _head, _arrow, body = done.stdout.partition(" => ")
    result: dict[str, t.Any] = json.JSONDecoder().raw_decode(body)[0]
    return result, done.stdout


def test_modules(org: Organisation) -> None:
    """The key comes from the environment, and so does the certificate authority."""
    wanted = [{"node": "FLUX Dev", "gpu_tier": "l40s", "state": "started"}, {"node": "SDXL"}]
    keys = {"ngc_api_key": NGC_KEY, "hf_token": HF_TOKEN}
    result, printed = run_module(org, "nim_nvidia", deployments=wanted, wait_interval=0.1, **keys)
    assert result["changed"] is True
    assert result["steps"] == [f"create nvcf_function {FLUX}", f"create nvcf_deployment {FLUX}"]
    assert [item["state"] for item in result["deployments"]] == ["running", "running"]
    assert "does not allow commercial work" in printed
    for secret in (NGC_KEY, HF_TOKEN, org.app.account.key):
        assert secret not in printed

    found, _printed = run_module(org, "nim_nvidia_info", hosted_nodes=["SDXL"])
    as_left = {item["name"]: item for item in result["deployments"]}
    for item in found["deployments"]:
        assert item == {key: as_left[item["name"]][key] for key in item}
    assert len(found["deployments"]) == 2


def test_a_failure_names_what_is_wrong(org: Organisation) -> None:
    result, printed = run_module(
        org, "nim_nvidia", deployments=[{"node": "FLUX Dev", "gpu_tier": "t4"}, {"node": "FLUX Deev"}]
    )
    assert "FAILED! =>" in printed
    assert "deployments[0] (FLUX Dev): FLUX Dev cannot run on t4 on nvidia" in result["msg"]
    assert "deployments[1] (FLUX Deev): There is no node 'FLUX Deev'" in result["msg"]
    assert "Traceback" not in printed
