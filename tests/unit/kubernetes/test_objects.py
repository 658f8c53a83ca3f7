# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written into a cluster: valid for every supported Kubernetes, and saying what a NIM needs."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import re
import typing as t

import kubernetes_validate
import pytest

from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import KeyFormatError
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from tests.unit.kubernetes.examples import (
    CIDRS,
    COPIES,
    HF_TOKEN,
    INTERNAL,
    NGC_KEY,
    NIM,
    SETTINGS,
    SPOT,
    manifests,
)

OLDEST, NEWEST = "1.34", "1.37"
"""The supported versions of Kubernetes."""


def pod_of(manifest: objects.Manifest) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], manifest["spec"]["template"]["spec"])


def deployment(item: t.Any = NIM, replicas: int = 1) -> objects.Manifest:
    return objects.nim_deployment(SETTINGS, item, "nim-g2-standard-20", replicas, [SPOT])


def environment(manifest: objects.Manifest) -> dict[str, t.Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in pod_of(manifest)["containers"][0]["env"]}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", manifests())
def test_every_object_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(manifests()[name], version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_wrong_field_would_be_noticed(version: str) -> None:
    broken = manifests()["deployment"]
    pod_of(broken)["automountServiceAccountTokn"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize("name", manifests())
def test_every_object_is_labelled_and_signed(name: str) -> None:
    metadata = manifests()[name]["metadata"]
    component = metadata["labels"]["app.kubernetes.io/component"]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "budgetguard-techops"
    assert metadata["labels"]["app.kubernetes.io/part-of"] == "budgetguard"
    assert metadata["labels"]["app.kubernetes.io/name"] == metadata["name"]
    assert component in ("nim", "gateway", "shared")
    assert re.fullmatch("[0-9a-f]{16}", metadata["annotations"]["budgetguard.io/manifest"])
    if component == "nim":
        assert metadata["labels"]["budgetguard.io/deployment"].startswith("nim-")
        assert metadata["labels"]["budgetguard.io/gpu-tier"] == "l4"
        assert metadata["annotations"]["budgetguard.io/node"] == "FLUX Dev"


@pytest.mark.parametrize("name", manifests())
def test_nothing_is_written_that_kubernetes_drops(name: str) -> None:
    def walk(value: t.Any) -> None:
        assert value not in ({}, [], None)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)

    walk(manifests()[name])


@pytest.mark.parametrize("name", ["gateway deployment", "deployment", "deployment of copies", "device plugin"])
def test_a_selector_finds_its_own_pods_and_no_others(name: str) -> None:
    def found(manifest: objects.Manifest, by: objects.Manifest) -> bool:
        labels = manifest["spec"]["template"]["metadata"]["labels"]
        return bool(by["spec"]["selector"]["matchLabels"].items() <= labels.items())

    running = {key: item for key, item in manifests().items() if "template" in item.get("spec", {})}
    assert [key for key, item in running.items() if found(item, running[name])] == [name]


def test_what_a_nims_pod_needs() -> None:
    pod = pod_of(deployment())
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == {"budgetguard.io/gpu-pool": "nim-g2-standard-20"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, SPOT]
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    assert container["image"] == NIM.image
    assert container["resources"] == {
        "requests": {"cpu": "12000m", "memory": "61440Mi"},
        "limits": {"nvidia.com/gpu": "1"},
    }
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 3600
    assert pod["volumes"] == [
        {"name": "cache", "persistentVolumeClaim": {"claimName": "nim-flux-dev-l4-cache"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},
    ]


def test_the_deployment_replaces_its_pod_only_after_the_old_one_has_gone() -> None:
    spec = deployment()["spec"]
    assert (spec["strategy"], spec["progressDeadlineSeconds"], spec["replicas"]) == ({"type": "Recreate"}, 5400, 1)


def test_a_nim_that_takes_half_of_a_machine_asks_for_half() -> None:
    assert NIM.machine is not None
    item = dataclasses.replace(NIM, machine=dataclasses.replace(NIM.machine, gpus=2))
    resources = pod_of(deployment(item))["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "6000m", "memory": "30720Mi"}


def test_several_copies_have_a_disk_each() -> None:
    (cache, shm) = pod_of(deployment(COPIES))["volumes"]
    assert cache["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"] == {"requests": {"storage": "100Gi"}}
    assert shm == {"name": "shm", "emptyDir": {"medium": "Memory"}}


def test_the_environment_says_what_is_asked_for_and_hides_the_keys() -> None:
    item = dataclasses.replace(NIM, env={"PRICE": "$5 or $(HOME)", "NIM_JSONL_LOGGING": "0"})
    assert environment(deployment(item)) == {
        "HF_TOKEN": {"secretKeyRef": {"name": "ngc-api", "key": "HF_TOKEN"}},
        "NGC_API_KEY": {"secretKeyRef": {"name": "ngc-api", "key": "NGC_API_KEY"}},
        "NIM_CACHE_PATH": "/opt/nim/.cache",
        "NIM_HTTP_API_PORT": "8000",
        "NIM_JSONL_LOGGING": "0",
        "NIM_MODEL_VARIANT": "base+canny",
        "NIM_SERVER_PORT": "8000",
        "PRICE": "$$5 or $$(HOME)",
    }
    assert "HF_TOKEN" not in environment(deployment(COPIES))


@pytest.mark.parametrize("name", ["nim-" + "a" * 54, "nim-flux.dev-l4", "nim-FLUX-l4", "nim-flux-"])
def test_a_name_that_cannot_be_a_service_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="nim_catalog"):
        objects.nim_service(SETTINGS, dataclasses.replace(NIM, name=name))


def test_the_longest_name_fits_everywhere() -> None:
    item = dataclasses.replace(NIM, name="nim-" + "a" * 53)
    longest = objects.nim_cache(SETTINGS, item)["metadata"]
    assert max(len(value) for value in longest["labels"].values()) <= 63
    assert len(objects.path_of(item.name)) - 1 <= _gateway.LONGEST_NAME


def test_the_hash_is_of_all_but_the_number_of_copies_that_run() -> None:
    def mark(manifest: objects.Manifest) -> str:
        return str(manifest["metadata"]["annotations"]["budgetguard.io/manifest"])

    assert mark(deployment(replicas=0)) == mark(deployment(replicas=1))
    assert mark(deployment()) != mark(deployment(dataclasses.replace(NIM, replicas=2)))
    assert mark(deployment()) != mark(deployment(dataclasses.replace(NIM, env={})))


def test_the_secrets_hold_the_keys_for_registry_and_nims() -> None:
    registry, keys = objects.secrets(SETTINGS)
    login = json.loads(base64.b64decode(registry["data"][".dockerconfigjson"]))["auths"]["nvcr.io"]
    assert base64.b64decode(login.pop("auth")).decode() == f"$oauthtoken:{NGC_KEY}"
    assert login == {"username": "$oauthtoken", "password": NGC_KEY}
    held = {key: base64.b64decode(value).decode() for key, value in keys["data"].items()}
    assert held == {"NGC_API_KEY": NGC_KEY, "HF_TOKEN": HF_TOKEN}
    assert keys["metadata"]["annotations"]["budgetguard.io/fields"] == "HF_TOKEN NGC_API_KEY"


def test_without_a_key_there_is_no_secret_to_write() -> None:
    assert objects.secrets(dataclasses.replace(SETTINGS, ngc_api_key=None)) == []


def test_the_secrets_mark_changes_with_key_and_place_and_does_not_give_the_key_away() -> None:
    def marks(settings: objects.KubeSettings) -> list[str]:
        return [item["metadata"]["annotations"]["budgetguard.io/manifest"] for item in objects.secrets(settings)]

    known = marks(SETTINGS)
    others = [
        marks(dataclasses.replace(SETTINGS, ngc_api_key=NGC_KEY + "x")),
        marks(dataclasses.replace(SETTINGS, namespace="other")),
    ]
    for other in others:
        assert not set(known) & set(other)
    assert marks(dataclasses.replace(SETTINGS, hf_token=None))[0] == known[0]


def test_settings_do_not_show_their_keys() -> None:
    assert "CANARY" not in repr(SETTINGS)


def test_the_role_lets_artists_look_start_and_stop_and_nothing_else() -> None:
    assert objects.artists_role(SETTINGS)["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
    ]


def test_only_the_gateway_reaches_a_nim_and_only_the_studio_the_gateway() -> None:
    nim, gateway = (manifests()[name]["spec"] for name in ("policy", "gateway policy"))
    pods = manifests()["gateway deployment"]["spec"]["template"]["metadata"]["labels"]
    (rule,) = nim["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"]["matchLabels"].items() <= pods.items()
    assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert gateway["ingress"] == [
        {"from": [{"ipBlock": {"cidr": cidr}} for cidr in CIDRS], "ports": [{"protocol": "TCP", "port": 8080}]}
    ]
    assert nim["policyTypes"] == gateway["policyTypes"] == ["Ingress"]


def test_the_load_balancer_lets_the_studio_in_and_keeps_its_addresses() -> None:
    service = objects.gateway_service(SETTINGS, CIDRS, INTERNAL)
    annotations = dict(service["metadata"]["annotations"])
    del annotations["budgetguard.io/manifest"]
    assert annotations == {**INTERNAL, "budgetguard.io/endpoint-host": "nims.studio.example"}
    assert service["spec"]["loadBalancerSourceRanges"] == list(CIDRS)
    assert service["spec"]["externalTrafficPolicy"] == "Local"


@pytest.mark.parametrize(
    "make",
    [lambda: objects.gateway_service(SETTINGS, [], INTERNAL), lambda: objects.gateway_network_policy(SETTINGS, [])],
)
def test_a_gateway_that_would_let_everybody_in_is_refused(make: t.Callable[[], objects.Manifest]) -> None:
    with pytest.raises(ValueError, match="allowed_cidrs"):
        make()


FRONT = _gateway.Front(
    target="aks-eastus",
    studio="example-studio",
    public_keys=("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",),
    denied={"ws-07": "2026-11-28T15:00:00Z"},
    certificate="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    private_key="-----BEGIN PRIVATE KEY-----\nCANARYkey\n-----END PRIVATE KEY-----",
)
GUARDED = dataclasses.replace(SETTINGS, gateway=FRONT)


def _mark(settings: objects.KubeSettings) -> str:
    template = objects.gateway_deployment(settings, {})["spec"]["template"]
    return str(template["metadata"]["annotations"]["budgetguard.io/config"])


@pytest.mark.parametrize(
    "changed",
    [
        {"denied": {"ws-08": "2026-11-28T15:00:00Z"}},
        {"certificate": "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----"},
        {"private_key": "-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----"},
        {"public_keys": (*FRONT.public_keys, "-----BEGIN PUBLIC KEY-----\nBBBB\n-----END PUBLIC KEY-----")},
        {"limits": _gateway.Limits(requests_per_minute=5)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_gateway_starts_anew_when_something_changes_that_it_has_read(changed: dict[str, t.Any]) -> None:
    before = _mark(GUARDED)
    assert before == _mark(dataclasses.replace(SETTINGS, gateway=dataclasses.replace(FRONT)))
    assert before != _mark(dataclasses.replace(SETTINGS, gateway=dataclasses.replace(FRONT, **changed)))


def test_new_copies_take_over_before_old_ones_go_and_these_finish_their_requests() -> None:
    spec = objects.gateway_deployment(GUARDED, {})["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == _gateway.REQUEST_SECONDS + 60


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_guarded_gateway_is_valid(version: str) -> None:
    for manifest in (
        objects.gateway_config_map(GUARDED),
        objects.gateway_deployment(GUARDED, {}),
        objects.gateway_service(GUARDED, CIDRS, INTERNAL),
        *objects.gateway_secrets(GUARDED),
    ):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_certificate_makes_the_gateway_speak_https_and_its_key_is_in_a_secret_only() -> None:
    (secret,) = objects.gateway_secrets(GUARDED)
    content = base64.b64decode(secret["data"]["certificate.pem"]).decode()
    assert content == f"{FRONT.certificate}\n{FRONT.private_key}\n"
    config = objects.gateway_config_map(GUARDED)
    assert "CANARYkey" not in json.dumps([config, objects.gateway_deployment(GUARDED, {})])
    assert set(config["data"]) == {"haproxy.cfg", "public0.pem", "denied.map"}
    pod = pod_of(objects.gateway_deployment(GUARDED, {}))
    folders = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert f"ssl crt {folders['tls']}/certificate.pem" in config["data"]["haproxy.cfg"]
    assert f'jwt_verify(ES256,"{folders["config"]}/public0.pem")' in config["data"]["haproxy.cfg"]
    assert {"name": "tls", "secret": {"secretName": secret["metadata"]["name"]}} in pod["volumes"]
    (port,) = objects.gateway_service(GUARDED, CIDRS, INTERNAL)["spec"]["ports"]
    assert (port["name"], port["port"]) == ("https", 443)
    assert objects.gateway_secrets(SETTINGS) == []


def test_the_gateway_needs_no_rights_and_no_gpu_machine() -> None:
    pod = pod_of(manifests()["gateway deployment"])
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == {"kubernetes.azure.com/mode": "system"}
    assert pod["securityContext"]["runAsUser"] == 99
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == _gateway.IMAGE
    assert "nodeSelector" not in pod_of(objects.gateway_deployment(SETTINGS, {}))


def test_the_gateways_probes_and_paths_are_those_of_its_configuration() -> None:
    config = manifests()["gateway config"]["data"]["haproxy.cfg"]
    gateway, health = config.split("frontend health")
    (container,) = pod_of(manifests()["gateway deployment"])["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"bind *:{ports['http']}\n" in gateway
    assert f"bind *:{ports['health']}\n" in health
    for probe in (container["readinessProbe"]["httpGet"], container["livenessProbe"]["httpGet"]):
        assert probe["port"] == "health"
        assert f"path {probe['path']}" in health
    (mount,) = container["volumeMounts"]
    assert container["command"][-1] == f"{mount['mountPath']}/haproxy.cfg"
    (port,) = manifests()["gateway service"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    (rule,) = manifests()["gateway policy"]["spec"]["ingress"]
    assert [entry["port"] for entry in rule["ports"]] == [ports["http"]]


def test_the_device_plugin_runs_on_our_gpu_machines_only_and_on_all_of_them() -> None:
    pod = pod_of(manifests()["device plugin"])
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "budgetguard.io/gpu-pool", "operator": "Exists"}]}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert manifests()["device plugin"]["metadata"]["namespace"] == "kube-system"


def test_options_become_settings() -> None:
    options = {
        "cluster": "budgetguard",
        "namespace": "nims",
        "allowed_cidrs": ["10.0.0.0/8"],
        "ngc_api_key": f"{NGC_KEY}\n",
        "hf_token": "",
        "gateway_image": None,
        "gateway_replicas": 3,
    }
    settings = objects.KubeSettings.from_options(options)
    assert settings == objects.KubeSettings(
        namespace="nims",
        allowed_cidrs=("10.0.0.0/8",),
        ngc_api_key=NGC_KEY,
        gateway_replicas=3,
        gateway=_gateway.Front(target="budgetguard"),
    )
    gateway = _gateway.Front(target="cluster")
    assert objects.KubeSettings.from_options({}) == objects.KubeSettings(gateway=gateway)


def test_the_option_gateway_becomes_a_gateway() -> None:
    options = {
        "target": "aks-eastus",
        "studio": "example-studio",
        "public_keys": list(FRONT.public_keys),
        "denied": dict(FRONT.denied),
        "certificate": FRONT.certificate,
        "private_key": FRONT.private_key,
        "body_mib": 64,
        "requests_per_minute": None,
        "concurrent_requests": None,
    }
    settings = objects.KubeSettings.from_options({"gateway": options, "endpoint_host": "nims.studio.example"})
    assert settings.gateway == FRONT
    assert (settings.gateway.tls, settings.gateway.login) == (True, True)
    assert "CANARYkey" not in repr(settings)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"private_key": None}, "go together"),
        ({"certificate": "x"}, "certificate must be PEM"),
        ({"private_key": "CANARYkey"}, "private_key must be PEM"),
        ({"public_keys": ("-----BEGIN PRIVATE KEY-----\nCANARYkey\n-----END PRIVATE KEY-----",)}, "public_keys[0]"),
        ({"studio": ""}, "studio is"),
        ({"denied": {"ws-07": "soon"}}, "must be a time"),
    ],
)
def test_a_gateway_that_cannot_be_is_refused_without_showing_keys(changed: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        dataclasses.replace(FRONT, **changed)
    assert "CANARY" not in str(caught.value)


def test_https_needs_a_name_that_workstations_call() -> None:
    with pytest.raises(ValueError, match="needs endpoint_host"):
        objects.KubeSettings(gateway=FRONT)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"namespace": "Budget"}, "namespace is 'Budget'"),
        ({"namespace": "kube-system"}, "must not start with kube-"),
        ({"namespace": "a" * 64}, "at most 63"),
        ({"endpoint_host": "http://nims.example"}, "without scheme"),
        ({"gateway_replicas": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        objects.KubeSettings.from_options(options)


def test_what_is_no_key_is_refused_without_being_shown() -> None:
    with pytest.raises(KeyFormatError) as caught:
        objects.KubeSettings.from_options({"ngc_api_key": "two CANARYwords here"})
    assert "CANARY" not in str(caught.value)


def test_the_storage_class_is_only_named_if_it_is_chosen() -> None:
    assert "storageClassName" not in objects.nim_cache(SETTINGS, NIM)["spec"]
    chosen = dataclasses.replace(SETTINGS, storage_class="premium-rwo")
    assert objects.nim_cache(chosen, NIM)["spec"]["storageClassName"] == "premium-rwo"


def test_manifests_share_no_parts_that_a_caller_could_change() -> None:
    first = manifests()
    kept = copy.deepcopy(first)
    for manifest in manifests().values():
        manifest["metadata"]["labels"]["changed"] = "yes"
    assert first == kept
