# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server gives back: equal where only its own doing differs, and read as the state of a NIM."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing as t

import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils._plan import compare
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._kube_compare import (
    base_url,
    is_rolled_out,
    quantity,
    spec_of,
    status_of,
)
from tests.unit.kubernetes.examples import HF_TOKEN, NGC_KEY, NIM, SETTINGS, SPOT, manifests, stored

Live = dict[str, t.Any]
MANIFEST = "metadata.annotations.budgetguard.io/manifest"
POD = "spec.template.spec"
CONTAINER = f"{POD}.containers[nim]"


def drift(want: objects.Manifest, live: Live) -> list[str]:
    return [change.path for change in compare(spec_of(want), spec_of(live))]


def as_in_a_list(live: Live) -> Live:
    """Return an object as it comes in a list: without its kind."""
    return {field: value for field, value in live.items() if field not in ("apiVersion", "kind")}


@pytest.mark.parametrize("name", manifests())
def test_defaults_and_the_servers_own_fields_are_no_difference(name: str) -> None:
    assert drift(manifests()[name], stored()[name]) == []
    assert drift(manifests()[name], as_in_a_list(stored()[name])) == []


def pod(live: Live) -> Live:
    return t.cast(Live, live["spec"]["template"]["spec"])


def nim(live: Live) -> Live:
    return t.cast(Live, pod(live)["containers"][0])


DRIFTS: list[tuple[str, t.Callable[[Live], object], list[str]]] = [
    ("deployment", lambda live: live["spec"].update(replicas=3), ["spec.replicas"]),
    ("deployment", lambda live: nim(live).update(image="nvcr.io/nim/other:1"), [f"{CONTAINER}.image"]),
    (
        "deployment",
        lambda live: nim(live)["resources"]["requests"].update(memory="59Gi"),
        [f"{CONTAINER}.resources.requests.memory"],
    ),
    (
        "deployment",
        lambda live: nim(live)["resources"]["limits"].pop("nvidia.com/gpu"),
        [f"{CONTAINER}.resources.limits.nvidia.com/gpu"],
    ),
    (
        "deployment",
        lambda live: nim(live)["startupProbe"].pop("failureThreshold"),
        [f"{CONTAINER}.startupProbe.failureThreshold"],
    ),
    (
        "deployment",
        lambda live: nim(live)["env"].remove({"name": "NIM_LOG_LEVEL", "value": "INFO"}),
        [f"{CONTAINER}.env[NIM_LOG_LEVEL].name", f"{CONTAINER}.env[NIM_LOG_LEVEL].value"],
    ),
    (
        "deployment",
        lambda live: next(item for item in nim(live)["env"] if item["name"] == "EMPTY").update(value="full"),
        [f"{CONTAINER}.env[EMPTY].value"],
    ),
    ("deployment", lambda live: nim(live)["env"].reverse(), []),
    ("deployment", lambda live: nim(live)["env"].append({"name": "SIDE", "value": "x"}), []),
    ("deployment", lambda live: pod(live)["containers"].append({"name": "sidecar", "image": "x"}), []),
    ("deployment", lambda live: pod(live)["tolerations"].pop(), [f"{POD}.tolerations"]),
    (
        "deployment",
        lambda live: pod(live)["volumes"][1]["emptyDir"].update(sizeLimit="1Gi"),
        [f"{POD}.volumes[shm].emptyDir.sizeLimit"],
    ),
    (
        "deployment",
        lambda live: pod(live)["volumes"][1]["emptyDir"].update(sizeLimit=str(16 * 2**30)),
        [],
    ),
    (
        "deployment",
        lambda live: live["metadata"]["labels"].pop("budgetguard.io/gpu-tier"),
        ["metadata.labels.budgetguard.io/gpu-tier"],
    ),
    ("deployment", lambda live: live["metadata"]["annotations"].pop("budgetguard.io/manifest"), [MANIFEST]),
    (
        "gateway service",
        lambda live: live["spec"].update(loadBalancerSourceRanges=["0.0.0.0/0"]),
        ["spec.loadBalancerSourceRanges"],
    ),
    ("gateway service", lambda live: live["spec"].pop("loadBalancerSourceRanges"), ["spec.loadBalancerSourceRanges"]),
    ("gateway service", lambda live: live["spec"]["ports"][0].update(targetPort=9000), ["spec.ports[http].targetPort"]),
    ("gateway policy", lambda live: live["spec"]["ingress"][0].pop("from"), ["spec.ingress"]),
    ("policy", lambda live: live["spec"]["ingress"].append({}), ["spec.ingress"]),
    ("gateway config", lambda live: live["data"].update({"haproxy.cfg": "global"}), ["data.haproxy.cfg"]),
    ("role", lambda live: live["rules"][0]["verbs"].append("delete"), ["rules"]),
    (
        "cache",
        lambda live: live["spec"]["resources"]["requests"].update(storage="50Gi"),
        ["spec.resources.requests.storage"],
    ),
    (
        "device plugin",
        lambda live: pod(live)["containers"][0].pop("volumeMounts"),
        [
            f"{POD}.containers[device-plugin].volumeMounts[/var/lib/kubelet/device-plugins].{field}"
            for field in ("mountPath", "name")
        ],
    ),
]


@pytest.mark.parametrize(("name", "change", "expected"), DRIFTS)
def test_exactly_what_drifted_is_told(name: str, change: t.Callable[[Live], object], expected: list[str]) -> None:
    live = stored()[name]
    change(live)
    assert drift(manifests()[name], live) == expected


def test_what_is_no_longer_wanted_is_told_by_the_hash() -> None:
    live = stored()["deployment"]
    fewer = dataclasses.replace(NIM, env={"EMPTY": ""})
    want = objects.nim_deployment(SETTINGS, fewer, "nim-g2-standard-20", 1, [SPOT])
    assert drift(want, live) == [MANIFEST]


def test_a_stop_and_start_is_a_difference_in_one_field() -> None:
    want = objects.nim_deployment(SETTINGS, NIM, "nim-g2-standard-20", 0, [SPOT])
    assert drift(want, stored()["deployment"]) == ["spec.replicas"]


@pytest.mark.parametrize("name", ["registry secret", "keys secret"])
@pytest.mark.parametrize("show", [lambda live: live, as_in_a_list])
def test_of_a_secret_only_its_mark_is_compared(name: str, show: t.Callable[[Live], Live]) -> None:
    for item in (manifests()[name], show(stored()[name])):
        assert list(spec_of(item)) == [MANIFEST]
    changed = objects.secrets(dataclasses.replace(SETTINGS, ngc_api_key=NGC_KEY[::-1], hf_token=None))
    for item in changed:
        if item["metadata"]["name"] == stored()[name]["metadata"]["name"]:
            assert drift(item, stored()[name]) == [MANIFEST]


def test_no_key_is_in_what_a_diff_shows() -> None:
    shown = json.dumps([spec_of(item) for item in (*manifests().values(), *stored().values())])
    assert NGC_KEY not in shown
    assert HF_TOKEN not in shown
    assert objects.secrets(SETTINGS)[1]["data"]["NGC_API_KEY"] not in shown


def test_metadata_alone_is_enough_for_a_secret() -> None:
    live = stored()["keys secret"]
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": live["metadata"]}
    assert drift(manifests()["keys secret"], partial) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1000m", "1"),
        ("1", 1),
        ("1Gi", str(2**30)),
        ("1Gi", "1024Mi"),
        ("1G", "1000M"),
        ("1e3", "1k"),
        ("1E", "1000P"),
        ("0.5Gi", "512Mi"),
        ("0.1", "100m"),
        ("100n", "0.1u"),
    ],
)
def test_quantities_are_compared_by_their_value(one: str, other: str) -> None:
    assert quantity(one) == quantity(other)


@pytest.mark.parametrize(("one", "other"), [("1Gi", "1G"), ("1", "1m"), ("1k", "1Ki"), ("1E", "1e1")])
def test_different_quantities_stay_different(one: str, other: str) -> None:
    assert quantity(one) != quantity(other)


@pytest.mark.parametrize(
    ("text", "value"), [("1Gi", 2**30), ("4800m", "4.8"), ("61440Mi", 60 * 2**30), ("abc", "abc"), ("1Xi", "1Xi")]
)
def test_a_quantity_is_shown_as_a_number(text: str, value: object) -> None:
    assert quantity(text) == value


# ---- the state of a NIM ----------------------------------------------------------------------------------------------

READY = stored()["deployment"]["status"]
GAVE_UP = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
GOES_ON = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}


def starting(condition: Live) -> Live:
    return {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": [condition]}


@pytest.mark.parametrize(
    ("replicas", "generation", "status", "state", "running"),
    [
        (1, 1, READY, "running", 1),
        (0, 1, {"observedGeneration": 1}, "stopped", 0),
        (0, 1, {**READY, "replicas": 1}, "stopping", 1),
        (0, 2, READY, "stopping", 1),
        (1, 1, {}, "starting", 0),
        (1, 1, starting(GOES_ON), "starting", 0),
        (1, 1, starting(GAVE_UP), "failed", 0),
        # What gave up was another form of it; Kubernetes has not looked at the new one yet.
        (1, 2, starting(GAVE_UP), "starting", 0),
        (1, 2, READY, "starting", 1),
        (2, 1, READY, "starting", 1),
        (1, 1, {**READY, "updatedReplicas": 0}, "starting", 1),
        # A pod that was lost after the start had succeeded.
        (1, 1, {**READY, "readyReplicas": 0, "availableReplicas": 0}, "starting", 0),
        (2, 1, {**starting(GAVE_UP), "readyReplicas": 1, "availableReplicas": 1}, "failed", 1),
    ],
)
def test_the_state_of_a_nim(replicas: int, generation: int, status: Live, state: str, running: int) -> None:
    live = stored()["deployment"]
    live["spec"]["replicas"] = replicas
    live["metadata"]["generation"] = generation
    live["status"] = copy.deepcopy(status)
    found = status_of(live, "europe-west4", None)
    assert (found.state, found.replicas, found.running, found.endpoint) == (state, replicas, running, None)


def test_a_nim_that_is_being_deleted_is_stopping() -> None:
    live = stored()["deployment"]
    live["metadata"]["deletionTimestamp"] = "2026-11-23T19:00:00Z"
    assert status_of(live, None, None).state == "stopping"


def test_all_that_a_deployment_tells_of_its_nim() -> None:
    live = stored()["deployment"]
    since = {"type": "Available", "status": "True", "lastTransitionTime": "2026-11-28T09:12:40Z"}
    live["status"]["conditions"] = [{"type": "Progressing", "status": "True"}, since]
    status = status_of(live, "europe-west4", "http://10.0.0.7")
    # A NIM that is not ready has not begun to run, whatever its conditions say.
    stopped = copy.deepcopy(live)
    stopped["spec"]["replicas"] = 0
    assert status_of(stopped, None, None).running_since is None
    assert status.as_dict() == {
        "name": "nim-flux-dev-l4",
        "node": "FLUX Dev",
        "gpu_tier": "l4",
        "image": NIM.image,
        "kind": "image",
        "serves": ["FLUX Canny", "FLUX Dev"],
        "variants": {"FLUX Canny": "canny", "FLUX Dev": "base"},
        "replicas": 1,
        "running": 1,
        "state": "running",
        "reason": None,
        "endpoint": "http://10.0.0.7/flux-dev-l4",
        "infer_url": "http://10.0.0.7/flux-dev-l4/v1/infer",
        "health_url": "http://10.0.0.7/flux-dev-l4/v1/health/ready",
        "region": "europe-west4",
        "deployed_at": "2026-11-23T18:00:00Z",
        "auth": "none",
        "running_since": "2026-11-28T09:12:40Z",
    }


def test_a_deployment_that_somebody_stripped_is_still_told() -> None:
    live = {"metadata": {"name": "nim-x-l4"}, "spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}
    status = status_of(live, None, None)
    assert (status.node, status.gpu_tier, status.image, status.state) == ("nim-x-l4", "", None, "starting")


@pytest.mark.parametrize(
    ("ingress", "host", "url"),
    [
        ([{"ip": "10.0.0.7"}], None, "http://10.0.0.7"),
        ([{"ip": "fd00::7"}], None, "http://[fd00::7]"),
        ([{"hostname": "lb.cloud.example"}], None, "http://lb.cloud.example"),
        ([{}, {"ip": "10.0.0.7"}], None, "http://10.0.0.7"),
        ([{"ip": "10.0.0.7"}], "nims.studio.example", "http://nims.studio.example"),
        ([], "nims.studio.example", None),
        ([], None, None),
        (None, None, None),
    ],
)
def test_the_gateways_url(ingress: list[Live] | None, host: str | None, url: str | None) -> None:
    live = as_in_a_list(stored()["gateway service"])
    live["status"] = {"loadBalancer": {} if ingress is None else {"ingress": ingress}}
    del live["metadata"]["annotations"]["budgetguard.io/endpoint-host"]
    if host:
        live["metadata"]["annotations"]["budgetguard.io/endpoint-host"] = host
    assert base_url(live) == url


def test_without_a_gateway_there_is_no_url() -> None:
    assert base_url(None) is None
    assert base_url({"metadata": {"name": "gateway"}}) is None


def test_a_gateway_with_a_certificate_has_an_https_url() -> None:
    live = as_in_a_list(stored()["gateway service"])
    live["spec"]["ports"][0].update(name="https", port=443)
    assert base_url(live) == "https://nims.studio.example"


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}, False),
        ({}, False),
    ],
)
def test_a_new_configuration_holds_when_no_old_copy_takes_requests(status: dict[str, int], done: bool) -> None:
    assert is_rolled_out({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}) == done
