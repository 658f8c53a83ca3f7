# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""What the API server gives back, in the form that is compared and reported. Pure, makes no calls.

The API server fills in defaults and rewrites quantities. So both sides are cut into one entry per field, and only the
entries of our own manifest are looked for in the other.
"""

from __future__ import annotations

import re
import typing as t
from decimal import Decimal

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, decode_serves
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _kube_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._cluster import TIER_LABEL

_NOT_COMPARED = ("apiVersion", "kind", "metadata", "status")

_MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists whose items are told apart by a field, as the API server does: name of the list, name of the field."""

_QUANTITY_PARENTS = ("requests", "limits")
_QUANTITY_FIELDS = ("sizeLimit",)
_QUANTITY = re.compile(r"([+-]?[0-9]+\.?[0-9]*|[+-]?\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_SUFFIXES = {
    **{
        suffix: Decimal(1000) ** power
        for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def spec_of(manifest: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return an object as one entry per field, such as ``spec.template.spec.containers[nim].image``.

    Takes our manifests and what the API server gives back. Of a Secret only the mark of its content is returned.
    """
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    if _is_secret(manifest):
        mark = annotations.get(objects.MANIFEST_ANNOTATION)
        return {f"metadata.annotations.{objects.MANIFEST_ANNOTATION}": mark}
    fields: dict[str, t.Any] = {}
    _flatten(fields, "metadata.labels", "labels", metadata.get("labels") or {})
    _flatten(fields, "metadata.annotations", "annotations", annotations)
    for name, value in manifest.items():
        if name not in _NOT_COMPARED:
            _flatten(fields, name, name, value)
    return fields


def _is_secret(manifest: t.Mapping[str, t.Any]) -> bool:
    """Say whether it is a Secret. In lists the API server leaves the kind out, but no other kind has both of these."""
    return manifest.get("kind") == "Secret" or ("type" in manifest and ("data" in manifest or "stringData" in manifest))


def _flatten(fields: dict[str, t.Any], path: str, name: str, value: t.Any) -> None:
    """Add what is at a path; ``name`` is the last field's name."""
    key = _MERGE_KEYS.get(name)
    if isinstance(value, dict) and value:
        for field, item in value.items():
            is_quantity = name in _QUANTITY_PARENTS or field in _QUANTITY_FIELDS
            _flatten(fields, f"{path}.{field}", field, quantity(item) if is_quantity else item)
    elif isinstance(value, list) and key and value and all(isinstance(item, dict) and key in item for item in value):
        for item in value:
            _flatten(fields, f"{path}[{item[key]}]", "", _with_value(item) if name == "env" else item)
    else:
        fields[path] = value


def _with_value(variable: dict[str, t.Any]) -> dict[str, t.Any]:
    """Give a variable that is empty the value that the API server leaves out."""
    return variable if "valueFrom" in variable else {"value": "", **variable}


def quantity(value: t.Any) -> t.Any:
    """Return a quantity in one spelling: a whole number, or else a decimal one as text. Other text comes back as is."""
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        return value
    number, suffix = match.group(1), match.group(2) or ""
    exact = Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else Decimal(number + suffix)
    return int(exact) if exact == exact.to_integral_value() else f"{exact.normalize():f}"


def status_of(live: t.Mapping[str, t.Any], region: str | None, base: str | None) -> Status:
    """Describe a NIM by its Deployment, without a reason. ``base`` is what :func:`base_url` returned."""
    metadata, spec, status = live["metadata"], live["spec"], live.get("status") or {}
    annotations = metadata.get("annotations") or {}
    name = metadata["name"]
    containers = {item["name"]: item for item in spec["template"]["spec"]["containers"]}
    state = _state(live)
    return Status(
        name=name,
        node=annotations.get(objects.NODE_ANNOTATION, name),
        gpu_tier=metadata.get("labels", {}).get(TIER_LABEL, ""),
        image=containers.get(objects.CONTAINER, {}).get("image"),
        kind=annotations.get(objects.KIND_ANNOTATION),
        serves=decode_serves(annotations.get(objects.SERVES_ANNOTATION, "")),
        replicas=spec.get("replicas", 1),
        running=status.get("readyReplicas", 0),
        state=state,
        endpoint=f"{base}{objects.path_of(name)}" if base else None,
        infer_path=annotations.get(objects.INFER_PATH_ANNOTATION),
        region=region,
        deployed_at=metadata.get("creationTimestamp"),
        running_since=_available_since(status) if state == "running" else None,
    )


def _available_since(status: t.Mapping[str, t.Any]) -> str | None:
    """Return since when all copies are ready. A Deployment that is scaled up is not available until they are.

    Source: kubernetes/kubernetes pkg/controller/deployment/util (MinimumReplicasAvailable; Recreate allows none to be
    missing).
    """
    return next(
        (
            condition.get("lastTransitionTime")
            for condition in status.get("conditions", ())
            if condition["type"] == "Available" and condition["status"] == "True"
        ),
        None,
    )


def _state(live: t.Mapping[str, t.Any]) -> str:
    """Return the state; it is ``running`` only if every copy that is asked for is ready and of the newest form."""
    wanted, status = live["spec"].get("replicas", 1), live.get("status") or {}
    if "deletionTimestamp" in live["metadata"]:
        return "stopping"
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        # Kubernetes has not looked at the last change yet, so the rest still tells of the time before.
        return "starting" if wanted else _stopped(status)
    if not wanted:
        return _stopped(status)
    if min(status.get(field, 0) for field in ("readyReplicas", "updatedReplicas", "availableReplicas")) >= wanted:
        return "running"
    gave_up = any(
        condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
        for condition in status.get("conditions", ())
    )
    return "failed" if gave_up else "starting"


def _stopped(status: t.Mapping[str, t.Any]) -> str:
    return "stopping" if status.get("replicas", 0) else "stopped"


def is_rolled_out(live: t.Mapping[str, t.Any]) -> bool:
    """Say whether all copies of a Deployment are of its newest form and take requests, and no others do."""
    wanted, status = live["spec"].get("replicas", 1), live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return False
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3


def auth_of(service: t.Mapping[str, t.Any] | None) -> str:
    """Return what the gateway asks its clients for: C(none) or C(gateway)."""
    annotations = ((service or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(objects.AUTH_ANNOTATION, "none"))


def base_url(service: t.Mapping[str, t.Any] | None) -> str | None:
    """Return the URL of the gateway, or None while its load balancer has no address.

    The studio's own name for it is returned if there is one, but not before there is something that it can lead to.
    """
    if service is None:
        return None
    metadata = service["metadata"]
    found = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = [item.get("ip") or item.get("hostname") for item in found]
    if not any(addresses):
        return None
    host = (metadata.get("annotations") or {}).get(objects.ENDPOINT_HOST_ANNOTATION)
    host = host or next(address for address in addresses if address)
    ports = (service.get("spec") or {}).get("ports") or []
    scheme = "https" if any(item.get("port") == objects.HTTPS_PORT for item in ports) else "http"
    return f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
