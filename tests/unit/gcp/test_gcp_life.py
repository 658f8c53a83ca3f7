# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NIMs on GKE from the first deployment to the last teardown, against the sandbox."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._converge import Goal, Outcome, converge
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import resolve_all
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import ProviderError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _gcp_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_session import GcpSession
from ansible_collections.budgetguard.techops.plugins.module_utils._providers.gcp import Gcp
from tests.sandbox import Sandbox
from tests.unit.gcp.cases import settings

NGC_KEY = "nvapi-Zr81CANARYngcQm3vT0"
FLUX = "nim-flux-dev-a100-80gb"
A_LOOK = {"google-oauth": 1, "gke": 1, "kube": 7}
"""What looking at everything costs, for any number of NIMs."""


class Project:
    """A Google Cloud project in the sandbox, worked on as the module nim_gcp does it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.control = sandbox.control
        self.options: dict[str, t.Any] = {
            "location": "us-central1-a",
            "allowed_cidrs": ["10.20.0.0/16"],
            "ngc_api_key": NGC_KEY,
            "hf_token": "hf_Zr81CANARYhfQm3vT0",
        }

    def run(
        self, node: str, tier: str | None, state: str, settings: dict[str, t.Any] | None = None, **goal: t.Any
    ) -> Outcome:
        """Bring one NIM to a state."""
        entry = {"node": node, "gpu_tier": tier, "state": state}
        wanted, selections = resolve_all([entry], "gcp", _catalog.load({}))
        asked = {"wait_interval": 0.1, "wait_timeout": 20, **goal}
        provider = Gcp.connect({**self.options, **(settings or {})})
        return converge(provider, Goal(wanted=tuple(wanted), selections=tuple(selections), **asked))

    def flux(self, state: str = "present", settings: dict[str, t.Any] | None = None, **goal: t.Any) -> Outcome:
        """Bring FLUX Dev on an A100 to a state."""
        return self.run("FLUX Dev", "a100-80gb", state, settings, **goal)

    def begin_cluster(self) -> None:
        """Begin to create the cluster, as a run does that is then killed."""
        session = GcpSession(self.options)
        parent = f"projects/{session.project}/locations/us-central1-a"
        body = objects.cluster_body(session.project, settings())
        session.call("begin", "create_cluster", {"parent": parent, "cluster": body})

    def called(self) -> dict[str, int]:
        """Count the calls since the last look, by service, and forget them."""
        calls = self.control.calls()
        self.control.clear_calls()
        return {name: sum(call["service"] == name for call in calls) for name in {call["service"] for call in calls}}

    def actions(self) -> list[str]:
        """Return what GKE was asked for, in order."""
        return [call["action"] for call in self.control.calls() if call["service"] == "gke"]


@pytest.fixture
def project(running_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Give an empty project, and the environment that leads to it."""
    for name, value in running_sandbox.env.items():
        monkeypatch.setenv(name, value)
    running_sandbox.control.reset()
    yield Project(running_sandbox)
    running_sandbox.control.reset()


def done(outcome: Outcome) -> list[str]:
    """Return what was done to the cluster and its pools."""
    return [step.describe() for step in outcome.done if step.kind in ("gke_cluster", "gpu_pool")]


def states(outcome: Outcome) -> dict[str, str]:
    return {name: status.state for name, status in outcome.statuses.items()}


def test_life(project: Project) -> None:
    first = project.flux()
    assert done(first) == ["create gke_cluster budgetguard", "create gpu_pool nim-a2-ultragpu-1g"]
    assert (first.errors, first.target_error, first.warnings) == ({}, None, [])
    assert states(first) == {FLUX: "stopped"}
    project.called()

    assert project.flux().done == []
    assert project.called() == A_LOOK

    started = project.flux("started")
    assert states(started) == {FLUX: "running"}
    assert [step.describe() for step in started.done] == [f"update deployment {FLUX} (spec.replicas)"]

    other = project.run("Llama 3.1", "l4", "present")
    assert done(other) == ["create gpu_pool nim-g2-standard-8"]
    project.called()
    assert project.run("Llama 3.1", "l4", "present").done == []
    assert project.called() == A_LOOK

    assert states(project.flux("stopped")) == {FLUX: "stopped"}
    assert done(project.flux("absent")) == ["delete gpu_pool nim-a2-ultragpu-1g"]
    last = project.run("Llama 3.1", None, "absent", purge_shared=True)
    assert done(last) == ["delete gpu_pool nim-g2-standard-8", "delete gke_cluster budgetguard"]
    assert not project.control.resources("gcp")
    assert not project.control.calls_containing("PRIVATE KEY")


def test_check_mode_changes_nothing(project: Project) -> None:
    outcome = project.flux("started", check_mode=True)
    assert [step.describe() for step in outcome.steps][:2] == [
        "create gke_cluster budgetguard",
        "create gpu_pool nim-a2-ultragpu-1g",
    ]
    assert project.actions() == ["GetCluster"]


def test_nims_on_the_same_machines_share_a_pool(project: Project) -> None:
    project.run("Llama 3.1", "l4", "present")
    outcome = project.run("Llama 3", "l4", "present")
    assert done(outcome) == ["update gpu_pool nim-g2-standard-8 (max_nodes)"]
    assert done(project.run("Llama 3.1", None, "absent")) == []


def test_spot_machines(project: Project) -> None:
    with pytest.raises(ValueError, match="does not rent a3-highgpu-1g on demand"):
        project.run("FLUX Dev", "h100", "started")
    assert project.actions() == ["GetCluster"]
    outcome = project.run("FLUX Dev", "h100", "started", {"spot": "where_needed"})
    assert "create gpu_pool nim-a3-highgpu-1g-spot" in done(outcome)
    assert states(outcome) == {"nim-flux-dev-h100": "running"}


def test_a_region(project: Project) -> None:
    with pytest.raises(ValueError, match="set zone to the zone"):
        project.flux(settings={"location": "us-central1"})
    outcome = project.flux("started", {"location": "us-central1", "zone": "us-central1-a"})
    assert states(outcome) == {FLUX: "running"}


def test_a_cluster_that_a_killed_run_has_begun(project: Project) -> None:
    project.control.defaults(cluster_seconds=1)
    project.begin_cluster()
    outcome = project.flux()
    assert done(outcome) == ["create gpu_pool nim-a2-ultragpu-1g"]
    assert project.actions().count("CreateCluster") == 1


def test_an_answer_that_was_lost(project: Project) -> None:
    project.control.fault("CreateCluster", "UNAVAILABLE", status=503, service="gke", when="after")
    project.control.fault("CreateNodePool", "UNAVAILABLE", status=503, service="gke", when="after")
    outcome = project.flux("started")
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert states(outcome) == {FLUX: "running"}


def test_somebody_else_is_at_work_on_the_cluster(project: Project) -> None:
    project.flux()
    project.control.clear_calls()
    message = "Cluster is running incompatible operation operation-17-ab."
    project.control.fault("CreateNodePool", "FAILED_PRECONDITION", message=message, service="gke")
    outcome = project.run("Llama 3.1", "l4", "started")
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert project.actions().count("CreateNodePool") == 2


@pytest.mark.parametrize("action", ["CreateCluster", "CreateNodePool"])
def test_an_operation_that_fails(project: Project, action: str) -> None:
    message = "Insufficient regional quota to satisfy request: resource CPUS: is short 8.0."
    project.control.fault(action, "GCE_QUOTA_EXCEEDED", message=message, service="gke", when="operation")
    outcome = project.flux()
    told = outcome.target_error or outcome.errors[FLUX]
    what = "the GKE cluster budgetguard in us-central1-a" if action == "CreateCluster" else "the GPU pool nim-a2-"
    assert told.startswith(f"cannot create {what}")
    assert "GCE_QUOTA_EXCEEDED" in told
    assert message in told


def test_a_pool_that_failed_is_made_again(project: Project) -> None:
    project.control.fault("CreateNodePool", "GCE_STOCKOUT", service="gke", when="operation")
    assert FLUX in project.flux().errors
    outcome = project.flux("started")
    assert (outcome.errors, outcome.target_error) == ({}, None)
    assert states(outcome) == {FLUX: "running"}


def test_a_quota_that_is_too_small(project: Project) -> None:
    project.control.quota("gcp", "us-central1", "NVIDIA_A100_80GB_GPUS", 0)
    with pytest.raises(ProviderError, match="the quota NVIDIA_A100_80GB_GPUS of region us-central1 is 0, 0 are in use"):
        project.flux("started")
    assert project.actions() == ["GetCluster"]


def test_a_key_of_somebody_else(project: Project, tmp_path: Path, running_sandbox: Sandbox) -> None:
    key = json.loads(Path(running_sandbox.env["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key["private_key"] = other.private_bytes(*encoding).decode()
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    with pytest.raises(ProviderError) as caught:
        project.flux(settings={"service_account_file": str(path)})
    assert f"Google does not accept the service account {key['client_email']} ({path})" in str(caught.value)
    assert "Invalid JWT Signature" in str(caught.value)


def test_a_cluster_of_somebody_else_stays_as_it_is(project: Project) -> None:
    session = GcpSession(project.options)
    parent = f"projects/{session.project}/locations/us-central1-a"
    body = {**objects.cluster_body(session.project, settings()), "resource_labels": {"team": "other"}}
    operation = session.call("begin", "create_cluster", {"parent": parent, "cluster": body})
    session.wait("begin", operation, "us-central1-a")
    assert done(project.flux("started")) == ["create gpu_pool nim-a2-ultragpu-1g"]
    assert done(project.flux("absent", purge_shared=True)) == ["delete gpu_pool nim-a2-ultragpu-1g"]
    assert project.control.resources("gcp")
