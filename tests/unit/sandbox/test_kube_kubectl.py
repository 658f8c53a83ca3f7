# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second, independent client: kubectl works against the simulated API server, over TLS and with a token."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.kube.server import KubeServer
from tests.unit.sandbox.kube_cluster import (
    NIM,
    SPACE,
    api_secret,
    balancer,
    changed,
    claim,
    gateway,
    manifest,
    namespace,
    nim,
    nim_service,
    pull_secret,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeServer]:
    """Give a cluster with a server of its own."""
    with KubeServer(tmp_path_factory.mktemp("kube")) as found:
        yield found


class Kubectl:
    """Runs kubectl in a folder of its own."""

    def __init__(self, server: KubeServer, folder: Path, token: str) -> None:
        self.folder = folder
        context = {"cluster": "test", "user": "test", "namespace": SPACE}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": context}],
            "clusters": [
                {"name": "test", "cluster": {"server": server.url, "certificate-authority": str(server.ca_file)}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        (folder / "config").write_text(json.dumps(content))

    def run(self, *arguments: str, items: tuple[dict[str, Any], ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run kubectl; ``items`` are what it gets on standard input."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.folder / "config")}
        return subprocess.run(
            ["kubectl", *arguments],
            # Not as a List: kubectl then wants a description of the whole API.
            input="\n".join(json.dumps(item) for item in items),
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments: str, items: tuple[dict[str, Any], ...] = ()) -> str:
        """Run kubectl, which must succeed, and return what it printed."""
        done = self.run(*arguments, items=items)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *items: dict[str, Any]) -> list[str]:
        """Apply manifests on the server's side; what was said of each."""
        return self("apply", "--server-side", "-f", "-", items=items).splitlines()


@pytest.fixture
def kubectl(server: KubeServer, tmp_path: Path) -> Kubectl:
    """Give kubectl with an empty cluster."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    server.reset()
    return Kubectl(server, tmp_path, server.token)


def names(text: str) -> list[str]:
    return text.split()


def test_apply_get_scale_logs_and_delete(kubectl: Kubectl) -> None:
    everything = (namespace(), pull_secret(), api_secret(), claim(), nim(), nim_service(), gateway(), balancer())
    said = kubectl.apply(*everything)
    assert said[4] == f"deployment.apps/{NIM} serverside-applied"
    assert len(said) == len(everything)
    kubectl("rollout", "status", f"deployment/{NIM}", "--timeout=20s")
    assert names(kubectl("get", "deployments", "-o", "name")) == ["deployment.apps/gateway", f"deployment.apps/{NIM}"]
    assert "Application startup complete." in kubectl("logs", f"deployment/{NIM}", "--tail=1")
    kubectl("wait", "--for=jsonpath={.status.loadBalancer.ingress}", "service/gateway", "--timeout=20s")

    kubectl("scale", f"deployment/{NIM}", "--replicas=0")
    assert kubectl("get", "pods", "-o", "name", "-l", f"app.kubernetes.io/name={NIM}") == ""
    conflict = kubectl.run("apply", "--server-side", "-f", "-", items=(nim(1),))
    assert conflict.returncode == 1
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in conflict.stderr
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", items=(nim(1),))
    assert kubectl("get", f"deployment/{NIM}", "-o", "jsonpath={.spec.replicas}") == "1"

    kubectl("delete", f"deployment/{NIM}", "service/gateway", "--timeout=20s")
    assert names(kubectl("get", "deployments", "-o", "name")) == ["deployment.apps/gateway"]
    kubectl("delete", "namespace", SPACE, "--timeout=20s")
    assert SPACE not in kubectl("get", "namespaces", "-o", "name")


def test_diff_shows_what_an_apply_would_change_and_changes_nothing(kubectl: Kubectl) -> None:
    kubectl.apply(namespace(), nim(0))
    assert kubectl.run("diff", "--server-side", "-f", "-", items=(nim(0),)).returncode == 0
    other = changed(nim(0), "spec", "template", "spec", "containers", 0, "image", to="nvcr.io/nim/other:1")
    shown = kubectl.run("diff", "--server-side", "-f", "-", items=(other,))
    assert shown.returncode == 1
    assert "+        image: nvcr.io/nim/other:1\n" in shown.stdout
    assert "other" not in kubectl("get", f"deployment/{NIM}", "-o", "jsonpath={..image}")


def test_client_side_apply_works_with_strategic_patches(kubectl: Kubectl) -> None:
    kubectl.apply(namespace())
    kubectl("apply", "-f", "-", items=(manifest("ConfigMap", "c", data={"a": "1", "b": "2"}),))
    kubectl("apply", "-f", "-", items=(manifest("ConfigMap", "c", data={"a": "2"}),))
    assert json.loads(kubectl("get", "configmap/c", "-o", "jsonpath={.data}")) == {"a": "2"}


def test_a_typing_mistake_is_refused(kubectl: Kubectl) -> None:
    kubectl.apply(namespace())
    refused = kubectl.run("create", "-f", "-", items=(changed(nim(0), "spec", "replica", to=1),))
    assert refused.returncode == 1
    assert 'strict decoding error: unknown field "spec.replica"' in refused.stderr


def test_another_token_is_refused(server: KubeServer, kubectl: Kubectl, tmp_path: Path) -> None:
    stranger = Kubectl(server, tmp_path, "another-token")
    refused = stranger.run("get", "pods")
    assert refused.returncode == 1
    assert "Unauthorized" in refused.stderr or "You must be logged in" in refused.stderr
