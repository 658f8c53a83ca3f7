# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a problem, what is none, and how it is told."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.budgetguard.techops.plugins.filter.nim_endpoints import nim_endpoints
from ansible_collections.budgetguard.techops.plugins.filter.nim_health import nim_health
from ansible_collections.budgetguard.techops.plugins.module_utils import _health, _health_report
from ansible_collections.budgetguard.techops.plugins.modules import nim_endpoint_info

NOW = datetime.datetime(2026, 11, 23, 18, 0, tzinfo=datetime.timezone.utc)
BASE = "https://nim.studio.example"


def deployment(node: str, state: str = "running", reason: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    url = f"{BASE}/{node.lower().replace(' ', '-')}"
    return {
        "name": f"nim-{node}",
        "node": node,
        "serves": [node],
        "gpu_tier": "l40s",
        "state": state,
        "reason": reason,
        "endpoint": url,
        "health_url": f"{url}/v1/health/ready",
        "infer_url": f"{url}/v1/infer",
        **more,
    }


def target(*deployments: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    found = {"target": "aws-us-east-1", "provider": "aws", "read": True, "asleep": False, "error": None}
    return {**found, "deployments": list(deployments), **more}


def finding(asked: t.Mapping[str, t.Any], result: str, reason: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    told = {"status": 200, "latency_ms": 12.4, "certificate_expires_at": None, "model": None}
    return {**asked, "result": result, "reason": reason, **told, **more}


def report(targets: list[dict[str, t.Any]], *results: tuple[t.Any, ...]) -> dict[str, t.Any]:
    """Report on targets whose endpoints answer like this, in the order in which they are asked."""
    asked = _health_report.endpoints(targets)
    findings = [finding(item, *result) for item, result in zip(asked, results, strict=True)]
    return _health_report.report(targets, findings, now=NOW)


def test_endpoints_are_options_of_the_module() -> None:
    asked = nim_endpoints([target(deployment("FLUX Dev")), target(read=False, error="no network", target="gcp")])
    assert asked == [
        {
            "url": f"{BASE}/flux-dev",
            "health_url": f"{BASE}/flux-dev/v1/health/ready",
            "infer_url": f"{BASE}/flux-dev/v1/infer",
            "auth": "none",
            "node": "FLUX Dev",
            "target": "aws-us-east-1",
            "provider": "aws",
            "gpu_tier": "l40s",
            "state": "running",
        }
    ]
    assert set(asked[0]) <= set(nim_endpoint_info.ARGUMENT_SPEC["endpoints"]["options"])


@pytest.mark.parametrize(
    "silent", [deployment("X", "stopped"), deployment("X", "stopping"), deployment("X", "starting", endpoint=None)]
)
def test_what_is_off_or_has_no_address_is_not_asked(silent: dict[str, t.Any]) -> None:
    assert nim_endpoints([target(silent)]) == []


def test_what_nvidia_hosts_wants_its_key() -> None:
    hosted = deployment("SDXL", endpoint=f"{BASE}/sdxl", health_url=None, infer_url=f"{BASE}/sdxl")
    (asked,) = nim_endpoints([target(hosted, provider="nvidia")])
    assert (asked["auth"], "health_url" in asked) == ("bearer", False)


def test_every_result_of_the_check_has_its_place() -> None:
    assert set(_health.RESULTS) < set(_health_report.ORDER)


@pytest.mark.parametrize(
    ("state", "why", "result", "said", "row_result", "problem"),
    [
        ("running", None, "ready", None, "ready", None),
        ("starting", "pulling the image", "starting", "answers 503", "starting", None),
        ("running", None, "starting", "answers 503", "starting", "starting: should be running, but answers 503"),
        ("failed", "no quota", "starting", "answers 503", "failed", "failed: no quota"),
        ("failed", "one of two", "ready", None, "ready", None),
        ("running", None, "unreachable", "x did not answer", "unreachable", "unreachable: x did not answer"),
        ("starting", None, "refused", "answers 401", "refused", "refused: answers 401"),
        ("unknown", None, "wrong_service", "answers 404", "wrong_service", "wrong service: answers 404"),
    ],
)
def test_what_is_a_problem(
    state: str, why: str | None, result: str, said: str | None, row_result: str, problem: str | None
) -> None:
    found = report([target(deployment("FLUX Dev", state, why))], (result, said))
    assert found["rows"][0]["result"] == row_result
    assert found["problems"] == ([f"FLUX Dev on aws-us-east-1: {problem}"] if problem else [])
    assert found["ok"] == (problem is None)


@pytest.mark.parametrize(
    ("nim", "result", "ok"),
    [
        (deployment("X", "stopped"), "stopped", True),
        (deployment("X", "starting", "waiting for a GPU", endpoint=None), "starting", True),
        (deployment("X", "unknown", endpoint=None), "not_asked", True),
        (deployment("X", "failed", "no quota", endpoint=None), "failed", False),
    ],
)
def test_what_was_not_asked(nim: dict[str, t.Any], result: str, ok: bool) -> None:
    found = report([target(nim)])
    assert (found["rows"][0]["result"], found["ok"]) == (result, ok)


def test_targets_that_were_not_read() -> None:
    unread = target(read=False, error="cannot log in", target="gcp-1")
    asleep = target(read=False, error="switched off", asleep=True, target="azure-1")
    found = report([unread, asleep])
    assert found["problems"] == ["gcp-1: unreadable: cannot log in"]
    assert 'target_read{target="azure-1"} 1' in found["prometheus"]
    assert 'target_read{target="gcp-1"} 0' in found["prometheus"]


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    targets = [target(deployment("FLUX Dev"), deployment("SDXL"))]
    asked = _health_report.endpoints(targets)
    ends = ("2026-12-01T00:00:00Z", "2027-12-01T00:00:00Z")
    findings = [finding(item, "ready", certificate_expires_at=end) for item, end in zip(asked, ends, strict=True)]
    found = _health_report.report(targets, findings, now=NOW)
    assert found["warnings"] == [f"the certificate of {BASE}/flux-dev ends on 2026-12-01"]
    assert found["ok"]


def test_lines_for_people() -> None:
    targets = [target(deployment("FLUX Dev"), deployment("Mixtral"), deployment("SDXL", "stopped"))]
    found = report(targets, ("ready", None), ("unreachable", "did not\nanswer"))
    assert found["lines"] == [
        "NODE      TARGET         TIER  RESULT       LATENCY",
        "Mixtral   aws-us-east-1  l40s  unreachable  12 ms",
        "    why: did not answer",
        "FLUX Dev  aws-us-east-1  l40s  ready        12 ms",
        "SDXL      aws-us-east-1  l40s  stopped      -",
        "1 unreachable, 1 ready, 1 stopped.",
    ]
    assert report([])["lines"][-1] == "nothing to check."


def test_text_for_prometheus() -> None:
    found = report([target(deployment('A "b" \\c'))], ("unreachable", "x"))
    labels = 'node="A \\"b\\" \\\\c",target="aws-us-east-1",provider="aws",gpu_tier="l40s"'
    lines = found["prometheus"].splitlines()
    assert f"budgetguard_nim_ready{{{labels}}} 0" in lines
    assert f"budgetguard_nim_problem{{{labels}}} 1" in lines
    assert f'budgetguard_nim_result{{{labels},result="unreachable"}} 1' in lines
    assert f"budgetguard_nim_latency_seconds{{{labels}}} 0.0124" in lines
    assert f"budgetguard_nim_check_timestamp_seconds {NOW.timestamp():.0f}" in lines
    assert found["prometheus"].endswith("\n")
    # A family has its type once, before its samples, and no sample stands alone.
    samples = [line.partition("{")[0].partition(" ")[0] for line in lines if not line.startswith("#")]
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert list(dict.fromkeys(samples)) == typed


@pytest.mark.parametrize(
    ("targets", "endpoints", "message"),
    [
        ("x", [], "targets: must be a list"),
        ([{"read": True}], [], r"targets\[0\]: must be a mapping with target and read"),
        ([], "x", "endpoints: must be a list"),
        ([], ["x"], "endpoints: must be a list"),
    ],
)
def test_bad_input(targets: t.Any, endpoints: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        nim_health(targets, endpoints)


def test_bad_targets_of_nim_endpoints() -> None:
    with pytest.raises(AnsibleFilterError, match="targets: must be a list"):
        nim_endpoints("x")
