# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop of the process, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.sandbox import ControlError, Sandbox, SandboxStartError

VARIABLES = {
    "AWS_ENDPOINT_URL",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_EC2_METADATA_DISABLED",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_RESOURCE_MANAGER_ENDPOINT",
    "AZURE_GRAPH_ENDPOINT",
    "AZURE_LOG_ANALYTICS_ENDPOINT",
    "AZURE_LOG_ANALYTICS_WORKSPACE_ID",
    "AZURE_RETAIL_PRICES_ENDPOINT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "NGC_ENDPOINT",
    "NGC_ORG",
    "NVIDIA_API_KEY",
    "no_proxy",
    "BUDGETGUARD_SANDBOX_URL",
}


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not merely waiting to be reaped."""
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return False


def test_env_file_has_all_variables_and_can_be_sourced(running_sandbox: Sandbox) -> None:
    env_file = running_sandbox.directory / "env"
    shown = subprocess.run(
        ["sh", "-c", f"set -a; . {env_file}; env"], capture_output=True, text=True, check=True
    ).stdout
    sourced = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert set(running_sandbox.env) == VARIABLES
    assert {name: sourced[name] for name in VARIABLES} == running_sandbox.env
    assert running_sandbox.env["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
    assert len(running_sandbox.env["AWS_SECRET_ACCESS_KEY"]) == 40


def test_private_files_are_private_and_the_servers_keys_are_not_on_disk(running_sandbox: Sandbox) -> None:
    for name in ("env", "google.json"):
        assert stat.S_IMODE((running_sandbox.directory / name).stat().st_mode) == 0o600
    with_keys = [path.name for path in running_sandbox.directory.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert with_keys == ["google.json"]


def test_only_loopback_is_listened_on(running_sandbox: Sandbox) -> None:
    links = Path(f"/proc/{running_sandbox.pid}/fd").iterdir()
    inodes = {str(link.readlink()) for link in links if link.is_symlink()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1].split(":")[0])
    assert listening == ["0100007F", "0100007F"]


def test_certificate_is_verified_and_belongs_to_the_throw_away_ca(running_sandbox: Sandbox) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        opener.open(running_sandbox.env["BUDGETGUARD_SANDBOX_URL"] + "/ready", timeout=10)
    assert running_sandbox.control.request("GET", "ready") == {"ready": True}


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_cleanly(tmp_path: Path, signal_number: signal.Signals) -> None:
    with Sandbox(tmp_path) as sandbox:
        pid = sandbox.pid
        ca_file = Path(sandbox.env["SSL_CERT_FILE"])
        os.kill(pid, signal_number)
        deadline = time.monotonic() + 10
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(pid)
        assert not (tmp_path / "env").exists()
        assert not ca_file.exists()
        assert not (tmp_path / "google.json").exists()
        assert "Traceback" not in (tmp_path / "sandbox.log").read_text()


def test_context_manager_cleans_up_after_a_failure() -> None:
    sandbox = Sandbox()
    pids: list[int] = []

    def fail_within() -> None:
        with sandbox:
            pids.append(sandbox.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert not is_running(pids[0])
    assert not sandbox.directory.exists()


def test_it_does_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom tests.sandbox import Sandbox\nsandbox = Sandbox(sys.argv[1])\nsandbox.start()\n"
        "print(sandbox.pid, flush=True)\ntime.sleep(60)\n"
    )
    repository = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=repository, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert is_running(pid)
        run.kill()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)
    assert not (tmp_path / "env").exists()


def test_one_directory_serves_one_sandbox(running_sandbox: Sandbox) -> None:
    with pytest.raises(SandboxStartError, match="Another sandbox is running"):
        Sandbox(running_sandbox.directory).start()
    assert running_sandbox.control.request("GET", "ready") == {"ready": True}


def test_control_answers_unknown_routes_and_bad_bodies(running_sandbox: Sandbox) -> None:
    control = running_sandbox.control
    for method, path, body, message in [
        ("GET", "nothing", None, "404 .*no such route"),
        ("POST", "calls", {}, "404 .*no such route"),
        ("POST", "fault", {"action": "X"}, "400 .*needs a code"),
        ("POST", "fault", {"code": "X"}, "400 .*action must name"),
        ("POST", "fault", {"action": "X", "code": "Y", "times": 0}, "400 .*times must be"),
        ("POST", "fault", {"action": "X", "code": "Y", "status": 200}, "400 .*status must be"),
        ("POST", "fault", {"action": "X", "code": "Y", "colour": "red"}, "400 .*unknown field 'colour'"),
        ("POST", "hook", {"action": "X", "delay_seconds": 1, "when": "during"}, "400 .*when must be"),
        ("POST", "hook", {"action": "X"}, "400 .*needs delay_seconds"),
        ("POST", "fault", {"action": "X", "code": "Y", "headers": {"Retry-After": 1}}, "400 .*headers must be"),
        ("POST", "quota", {"cloud": "azure", "colour": "red"}, "400 .*unknown field 'colour'"),
        ("POST", "nim", {"deployment": "x", "outcome": "explodes"}, "400 .*outcome must be one of"),
        ("POST", "nim", {"outcome": "ready"}, "400 .*deployment must be"),
        ("POST", "nim", {"deployment": "x", "log_lines": "text"}, "400 .*log_lines must be"),
        ("POST", "defaults", {"startup_seconds": -1}, "400 .*startup_seconds must be"),
        ("POST", "defaults", {"speed": 1}, "400 .*unknown default"),
        ("POST", "dns", {"host": "a b", "target": "x"}, "400 .*host must be"),
    ]:
        with pytest.raises(ControlError, match=message):
            control.request(method, path, body)
