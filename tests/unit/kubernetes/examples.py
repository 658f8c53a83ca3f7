# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One NIM and one cluster's settings, every object they give, and how an API server shows each after a while."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._gpu import Machine
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects

NGC_KEY = "nvapi-Zr81CANARYngcQm3vT0"
HF_TOKEN = "hf_Zr81CANARYhfQm3vT0"
CIDRS = ("10.20.0.0/16", "fd00:20::/32")
INTERNAL = {"networking.gke.io/load-balancer-type": "Internal"}

SETTINGS = objects.KubeSettings(
    allowed_cidrs=CIDRS, endpoint_host="nims.studio.example", ngc_api_key=NGC_KEY, hf_token=HF_TOKEN
)

NIM = Wanted(
    name="nim-flux-dev-l4",
    node="FLUX Dev",
    gpu_tier="l4",
    image="nvcr.io/nim/black-forest-labs/flux.1-dev:1.2.3",
    kind="image",
    machine=Machine("gcp", "g2-standard-20", "l4", 1, 20, 100, 0, "made up, so that processors come out whole"),
    gpus=1,
    replicas=1,
    start=True,
    serves={"FLUX Dev": "base", "FLUX Canny": "canny"},
    env={"NIM_LOG_LEVEL": "INFO", "EMPTY": ""},
    infer_path="/v1/infer",
    disk_gib=100,
    shm_gib=16,
    needs_hf_token=True,
)
COPIES = dataclasses.replace(NIM, name="nim-llama-3-1-l4", replicas=2, needs_hf_token=False, shm_gib=0, machine=None)
SPOT = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}


def manifests() -> dict[str, objects.Manifest]:
    """Return every object that is ever written, by a name of its own."""
    registry, keys = objects.secrets(SETTINGS)
    return {
        "namespace": objects.namespace(SETTINGS),
        "registry secret": registry,
        "keys secret": keys,
        "role": objects.artists_role(SETTINGS),
        "gateway config": objects.gateway_config_map(SETTINGS),
        "gateway deployment": objects.gateway_deployment(SETTINGS, {"kubernetes.azure.com/mode": "system"}),
        "gateway service": objects.gateway_service(SETTINGS, CIDRS, INTERNAL),
        "gateway policy": objects.gateway_network_policy(SETTINGS, CIDRS),
        "device plugin": objects.device_plugin("nvcr.io/nvidia/k8s-device-plugin:v0.18.0"),
        "cache": objects.nim_cache(SETTINGS, NIM),
        "deployment": objects.nim_deployment(SETTINGS, NIM, "nim-g2-standard-20", 1, [SPOT]),
        "deployment of copies": objects.nim_deployment(SETTINGS, COPIES, "nim-g2-standard-20", 0, []),
        "service": objects.nim_service(SETTINGS, NIM),
        "policy": objects.nim_network_policy(SETTINGS, NIM),
    }


_POD: dict[str, t.Any] = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
    "securityContext": {},
}
_CONTAINER = {
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE = {"successThreshold": 1}
_SERVICE = {
    "clusterIP": "10.0.171.239",
    "clusterIPs": ["10.0.171.239"],
    "internalTrafficPolicy": "Cluster",
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "sessionAffinity": "None",
}


def stored() -> dict[str, dict[str, t.Any]]:
    """Return the same objects as an API server shows them: with its defaults, its own fields and its spelling.

    Defaults are those of ``zz_generated.defaults.go`` of Kubernetes' core, apps and networking APIs.
    """
    live = {name: _stored(manifest) for name, manifest in manifests().items()}

    live["namespace"]["metadata"]["labels"]["kubernetes.io/metadata.name"] = "budgetguard"
    live["namespace"]["spec"] = {"finalizers": ["kubernetes"]}
    live["namespace"]["status"] = {"phase": "Active"}

    gateway = live["gateway deployment"]
    _fill(gateway["spec"], {"progressDeadlineSeconds": 600})
    _fill(gateway["spec"]["template"]["spec"]["volumes"][0]["configMap"], {"defaultMode": 420})

    service = live["gateway service"]
    _fill(service["spec"], {**_SERVICE, "allocateLoadBalancerNodePorts": True, "healthCheckNodePort": 30911})
    _fill(service["spec"]["ports"][0], {"nodePort": 31544})
    service["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.7", "ipMode": "VIP"}]}}

    plugin = live["device plugin"]
    plugin["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = "1"
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    _fill(plugin["spec"], {"revisionHistoryLimit": 10, "updateStrategy": rolling})
    _fill(plugin["spec"]["template"]["spec"]["volumes"][0]["hostPath"], {"type": ""})

    cache = live["cache"]
    cache["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
    cache["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
    _fill(cache["spec"], {"volumeMode": "Filesystem", "storageClassName": "standard-rwo", "volumeName": "pvc-1"})

    deployment = live["deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["requests"] = {"cpu": "12", "memory": "60Gi"}
    for variable in container["env"]:
        if variable["name"] == "EMPTY":
            del variable["value"]
    deployment["status"] = {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ],
    }
    for variable in live["deployment of copies"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "EMPTY":
            del variable["value"]
    claim = live["deployment of copies"]["spec"]["template"]["spec"]["volumes"][0]["ephemeral"]["volumeClaimTemplate"]
    claim["metadata"] = {"creationTimestamp": None}
    _fill(claim["spec"], {"volumeMode": "Filesystem"})

    _fill(live["service"]["spec"], _SERVICE)
    live["service"]["status"] = {"loadBalancer": {}}
    return live


def _stored(manifest: objects.Manifest) -> dict[str, t.Any]:
    """Return an object with what the API server adds to all of them and to all pods."""
    live = copy.deepcopy(manifest)
    live["metadata"].update(
        {
            "creationTimestamp": "2026-11-23T18:00:00Z",
            "generation": 1,
            "managedFields": [{"manager": "budgetguard-techops", "operation": "Apply"}],
            "resourceVersion": "8121",
            "uid": "1c6a7f4e-8f2f-4c7d-9d5b-6a6f0d3d1c11",
        }
    )
    template = live.get("spec", {}).get("template")
    if template:
        template["metadata"]["creationTimestamp"] = None
        _fill(template["spec"], _POD)
        for container in template["spec"]["containers"]:
            _fill(container, _CONTAINER)
            for probe in (container[name] for name in container if name.endswith("Probe")):
                _fill(probe, _PROBE)
                _fill(probe["httpGet"], {"scheme": "HTTP"})
    if live["kind"] == "Deployment":
        live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    return live


def _fill(part: dict[str, t.Any], defaults: t.Mapping[str, t.Any]) -> None:
    for field, value in defaults.items():
        part.setdefault(field, copy.deepcopy(value))
