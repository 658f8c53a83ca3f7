# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server writes into objects by itself: defaults of fields, and amounts in their usual form."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.sandbox.kube.schema import Node

QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?")
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
#: Permissions of files from ConfigMaps and Secrets: 0644.
DEFAULT_MODE = 420


def amount(value: object) -> Decimal:
    """Return a quantity as a number; 1Gi is 1073741824. Raises ValueError."""
    match = QUANTITY.fullmatch(str(value))
    if isinstance(value, bool) or match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, suffix = Decimal(match.group(1)), match.group(2) or ""
    if suffix in BINARY:
        return number * Decimal(1024) ** BINARY[suffix]
    if suffix in DECIMAL:
        return number.scaleb(DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def canonical_quantity(value: object) -> str:
    """Return a quantity as the API server stores it: 1000m becomes 1, 1024Mi becomes 1Gi. Raises ValueError."""
    number = amount(value)
    if number == 0:
        return "0"
    if str(value)[-2:] in BINARY and number == number.to_integral_value():
        # The largest unit of which it is a whole number.
        for name, power in reversed(BINARY.items()):
            if number % 1024**power == 0:
                return f"{int(number // 1024**power)}{name}"
        return str(int(number))
    for name, power in reversed(DECIMAL.items()):
        scaled = number.scaleb(-power)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{name}"
    raise ValueError("quantities must not be smaller than a billionth")


def without_nulls(value: Any) -> Any:
    """Return a value without fields that are null: they mean that nothing is set."""
    if isinstance(value, dict):
        return {name: without_nulls(content) for name, content in value.items() if content is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def canonical(node: Node, value: Any) -> Any:
    """Return a value with every quantity in its usual form; what is none stays as it is, for the checks to find."""
    if node.is_quantity:
        try:
            return canonical_quantity(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        children = {name: node.child(name) for name in value}
        return {
            name: content if (child := children[name]) is None else canonical(child, content)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [canonical(node.item(), item) for item in value]
    return value


def _fill(target: dict[str, Any], **defaults: Any) -> None:
    for name, value in defaults.items():
        target.setdefault(name, value)


# -- pods ------------------------------------------------------------------------------------------------------------


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Set the defaults of a pod's spec, also one in a template."""
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if spec.get("serviceAccountName"):
        # The old name of the same field.
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        _default_container(container)
    for volume in spec.get("volumes", []):
        _default_volume(volume)


def _default_container(container: dict[str, Any]) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2] if "@" not in image else "digest"
    _fill(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if tag in ("", "latest") else "IfNotPresent",
        resources={},
    )
    for port in container.get("ports", []):
        _fill(port, protocol="TCP")
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("fieldRef")
        if reference is not None:
            _fill(reference, apiVersion="v1")
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name in container:
            _default_probe(container[name])


def _default_probe(probe: dict[str, Any]) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _fill(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        _fill(probe["grpc"], service="")


def _default_volume(volume: dict[str, Any]) -> None:
    sources = [name for name in volume if name != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "projected", "downwardAPI"):
        if name in volume:
            _fill(volume[name], defaultMode=DEFAULT_MODE)
    if "ephemeral" in volume:
        _fill(volume["ephemeral"].get("volumeClaimTemplate", {}).get("spec", {}), volumeMode="Filesystem")
    if "hostPath" in volume:
        _fill(volume["hostPath"], type="")


# -- one function per kind -------------------------------------------------------------------------------------------


def _deployment(item: dict[str, Any]) -> None:
    spec = item["spec"]
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    strategy = spec["strategy"]
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        _fill(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    default_pod_spec(spec["template"].setdefault("spec", {}))


def _daemon_set(item: dict[str, Any]) -> None:
    spec = item["spec"]
    _fill(spec, revisionHistoryLimit=10, updateStrategy={})
    _fill(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _fill(spec["updateStrategy"], rollingUpdate={})
        _fill(spec["updateStrategy"]["rollingUpdate"], maxUnavailable=1, maxSurge=0)
    default_pod_spec(spec["template"].setdefault("spec", {}))


def _service(item: dict[str, Any]) -> None:
    spec = item.setdefault("spec", {})
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] == "ExternalName":
        return
    _fill(spec, internalTrafficPolicy="Cluster", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    for port in spec.get("ports", []):
        _fill(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] in ("LoadBalancer", "NodePort"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _fill(spec, allocateLoadBalancerNodePorts=True)


def _claim(item: dict[str, Any]) -> None:
    _fill(item.setdefault("spec", {}), volumeMode="Filesystem", storageClassName="default")
    finalizers = item["metadata"].setdefault("finalizers", [])
    if "kubernetes.io/pvc-protection" not in finalizers:
        finalizers.append("kubernetes.io/pvc-protection")
    item.setdefault("status", {"phase": "Pending"})


def _network_policy(item: dict[str, Any]) -> None:
    spec = item.setdefault("spec", {})
    _fill(spec, policyTypes=["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for port in rule.get("ports", []):
            _fill(port, protocol="TCP")


def _secret(item: dict[str, Any]) -> None:
    _fill(item, type="Opaque")
    texts = item.pop("stringData", None) or {}
    if texts:
        encoded = {name: base64.b64encode(text.encode()).decode("ascii") for name, text in texts.items()}
        item["data"] = {**item.get("data", {}), **encoded}


def _namespace(item: dict[str, Any]) -> None:
    _fill(item.setdefault("spec", {}), finalizers=["kubernetes"])
    labels = item["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    item.setdefault("status", {"phase": "Active"})


def _role_binding(item: dict[str, Any]) -> None:
    group = "rbac.authorization.k8s.io"
    _fill(item.get("roleRef", {}), apiGroup=group)
    for subject in item.get("subjects", []):
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, apiGroup=group)


BY_KIND: dict[str, Callable[[dict[str, Any]], None]] = {
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "NetworkPolicy": _network_policy,
    "Secret": _secret,
    "Namespace": _namespace,
    "RoleBinding": _role_binding,
}


def set_defaults(item: dict[str, Any]) -> None:
    """Set the defaults of an object that its schema allows."""
    default = BY_KIND.get(item["kind"])
    if default is not None:
        default(item)
