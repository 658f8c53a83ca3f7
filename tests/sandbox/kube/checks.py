# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server refuses although the schema allows it: names, choices, ranges, and fields that must agree.

Each check yields causes, which are answered together as 422 Invalid. The rules are those of the Kubernetes
documentation and of pkg/apis/*/validation in kubernetes/kubernetes, for the kinds and fields in use here.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.sandbox.kube.defaults import amount
from tests.sandbox.kube.errors import Cause, duplicate, forbidden_field, invalid_value, not_supported, required

LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9])*")

BAD_LABEL_NAME = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
BAD_SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
BAD_SERVICE_NAME = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', and start with a letter"
BAD_LABEL_VALUE = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
BAD_LABEL_KEY = "name part must consist of alphanumeric characters, '-', '_' or '.'"
NOT_WHOLE = "must be an integer"

#: Total size of all annotations, and of the data of a ConfigMap or Secret, in bytes.
MAX_ANNOTATIONS = 256 * 1024
MAX_DATA = 1024 * 1024

PROTOCOLS = ("TCP", "UDP", "SCTP")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"

Causes = Iterator[Cause]


def check(item: dict[str, Any]) -> list[Cause]:
    """Return everything that is wrong with an object that has its defaults."""
    causes = list(_metadata(item))
    causes.extend(BY_KIND.get(item["kind"], _nothing)(item))
    return causes


def _nothing(_item: dict[str, Any]) -> Causes:
    yield from ()


def _one_of(field: str, value: object, choices: tuple[str, ...]) -> Causes:
    if value is not None and value not in choices:
        yield not_supported(field, value, choices)


def _port(field: str, value: object) -> Causes:
    if isinstance(value, int) and not 1 <= value <= 65535:
        yield invalid_value(field, value, "must be between 1 and 65535, inclusive")
    if isinstance(value, str) and not (len(value) <= 15 and PORT_NAME.fullmatch(value)):
        yield invalid_value(field, value, "must contain only alphanumeric characters (a-z, 0-9), and hyphens ('-')")


def _not_negative(field: str, value: object) -> Causes:
    if isinstance(value, int) and value < 0:
        yield invalid_value(field, value, "must be greater than or equal to 0")


def _repeated(field: str, values: list[Any], key: str) -> Causes:
    seen: list[Any] = []
    for number, value in enumerate(values):
        if value is not None and value in seen:
            yield duplicate(f"{field}[{number}].{key}", value)
        seen.append(value)


# -- metadata --------------------------------------------------------------------------------------------------------


def _metadata(item: dict[str, Any]) -> Causes:
    metadata = item["metadata"]
    yield from _name(item["kind"], str(metadata.get("name", "")))
    yield from labels("metadata.labels", metadata.get("labels") or {})
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _label_key("metadata.annotations", key)
    size = sum(len(key) + len(value) for key, value in annotations.items())
    if size > MAX_ANNOTATIONS:
        yield Cause(
            "FieldValueTooLong", f"Too long: may not be more than {MAX_ANNOTATIONS} bytes", "metadata.annotations"
        )


def _name(kind: str, name: str) -> Causes:
    if kind in ("Role", "RoleBinding"):
        # These may be called anything that can stand in a path.
        return
    rules = {
        "Service": (SERVICE_NAME, 63, BAD_SERVICE_NAME),
        "Namespace": (LABEL_NAME, 63, BAD_LABEL_NAME),
    }
    pattern, longest, message = rules.get(kind, (SUBDOMAIN, 253, BAD_SUBDOMAIN))
    if not pattern.fullmatch(name) or len(name) > longest:
        yield invalid_value("metadata.name", name, message)


def labels(field: str, values: dict[str, Any]) -> Causes:
    """Check the keys and values of labels."""
    for key, value in values.items():
        yield from _label_key(field, key)
        text = str(value)
        if text and (len(text) > 63 or not QUALIFIED.fullmatch(text)):
            yield invalid_value(field, text, BAD_LABEL_VALUE)


def _label_key(field: str, key: str) -> Causes:
    prefix, slash, name = key.rpartition("/")
    if len(name) > 63 or not QUALIFIED.fullmatch(name):
        yield invalid_value(field, key, BAD_LABEL_KEY)
    if slash and (len(prefix) > 253 or not SUBDOMAIN.fullmatch(prefix)):
        yield invalid_value(field, key, f"prefix part {BAD_SUBDOMAIN}")


# -- pods ------------------------------------------------------------------------------------------------------------


def _template(spec: dict[str, Any]) -> Causes:
    """Check the template of a Deployment or DaemonSet against its selector, then the pod."""
    template = spec.get("template") or {}
    found = (template.get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector") or {}
    wanted = selector.get("matchLabels") or {}
    if not wanted and not selector.get("matchExpressions"):
        yield invalid_value("spec.selector", json.dumps(selector), "empty selector is invalid for deployment")
    elif any(found.get(key) != value for key, value in wanted.items()):
        shown = json.dumps(found, separators=(",", ":"))
        yield Cause(
            "FieldValueInvalid",
            f"Invalid value: {shown}: `selector` does not match template `labels`",
            "spec.template.metadata.labels",
        )
    yield from labels("spec.selector.matchLabels", wanted)
    yield from labels("spec.template.labels", found)
    pod = template.get("spec") or {}
    yield from _one_of("spec.template.spec.restartPolicy", pod.get("restartPolicy"), ("Always",))
    yield from _pod("spec.template.spec", pod)


def _pod(at: str, pod: dict[str, Any]) -> Causes:
    containers = pod.get("containers") or []
    if not containers:
        yield required(f"{at}.containers")
    volumes = {volume.get("name") for volume in pod.get("volumes") or []}
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(pod.get(kind) or []):
            yield from _container(f"{at}.{kind}[{number}]", container, volumes)
    names = [container.get("name") for container in containers]
    yield from _repeated(f"{at}.containers", names, "name")
    yield from _volumes(at, pod.get("volumes") or [])
    yield from _tolerations(at, pod.get("tolerations") or [])
    yield from labels(f"{at}.nodeSelector", pod.get("nodeSelector") or {})
    yield from _not_negative(f"{at}.terminationGracePeriodSeconds", pod.get("terminationGracePeriodSeconds"))
    policies = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    yield from _one_of(f"{at}.dnsPolicy", pod.get("dnsPolicy"), policies)
    context = pod.get("securityContext") or {}
    change = context.get("fsGroupChangePolicy")
    yield from _one_of(f"{at}.securityContext.fsGroupChangePolicy", change, ("OnRootMismatch", "Always"))
    yield from _seccomp(f"{at}.securityContext", context)


def _seccomp(at: str, context: dict[str, Any]) -> Causes:
    kind = (context.get("seccompProfile") or {}).get("type")
    yield from _one_of(f"{at}.seccompProfile.type", kind, ("Localhost", "RuntimeDefault", "Unconfined"))


def _volumes(at: str, volumes: list[dict[str, Any]]) -> Causes:
    yield from _repeated(f"{at}.volumes", [volume.get("name") for volume in volumes], "name")
    for number, volume in enumerate(volumes):
        field = f"{at}.volumes[{number}]"
        if not LABEL_NAME.fullmatch(str(volume.get("name", ""))):
            yield invalid_value(f"{field}.name", volume.get("name"), BAD_LABEL_NAME)
        if len(volume) > 2:
            yield forbidden_field(field, "may not specify more than 1 volume type")
        empty = volume.get("emptyDir") or {}
        yield from _one_of(f"{field}.emptyDir.medium", empty.get("medium", ""), ("", "Memory", "HugePages"))
        yield from _quantity(f"{field}.emptyDir.sizeLimit", empty.get("sizeLimit"))


def _tolerations(at: str, tolerations: list[dict[str, Any]]) -> Causes:
    for number, toleration in enumerate(tolerations):
        field = f"{at}.tolerations[{number}]"
        operator = toleration.get("operator", "Equal")
        yield from _one_of(f"{field}.operator", operator, ("Equal", "Exists"))
        yield from _one_of(f"{field}.effect", toleration.get("effect") or None, EFFECTS)
        if operator == "Exists" and toleration.get("value"):
            yield invalid_value(f"{field}.operator", operator, "value must be empty when `operator` is 'Exists'")
        if operator == "Equal" and not toleration.get("key"):
            yield invalid_value(f"{field}.operator", operator, "operator must be Exists when `key` is empty")


def _container(at: str, container: dict[str, Any], volumes: set[Any]) -> Causes:
    if not LABEL_NAME.fullmatch(str(container.get("name", ""))):
        yield invalid_value(f"{at}.name", container.get("name"), BAD_LABEL_NAME)
    if not container.get("image"):
        yield required(f"{at}.image")
    elif str(container["image"]) != str(container["image"]).strip():
        yield invalid_value(f"{at}.image", container["image"], "must not have leading or trailing whitespace")
    yield from _one_of(f"{at}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    policies = ("File", "FallbackToLogsOnError")
    yield from _one_of(f"{at}.terminationMessagePolicy", container.get("terminationMessagePolicy"), policies)
    yield from _container_ports(at, container.get("ports") or [])
    yield from _environment(at, container.get("env") or [])
    yield from _mounts(at, container.get("volumeMounts") or [], volumes)
    yield from _resources(f"{at}.resources", container.get("resources") or {})
    for name in PROBES:
        if name in container:
            yield from _probe(f"{at}.{name}", name, container[name])
    yield from _seccomp(f"{at}.securityContext", container.get("securityContext") or {})


def _container_ports(at: str, ports: list[dict[str, Any]]) -> Causes:
    for number, port in enumerate(ports):
        field = f"{at}.ports[{number}]"
        yield from _port(f"{field}.containerPort", port.get("containerPort"))
        yield from _port(f"{field}.name", port.get("name"))
        yield from _one_of(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
    yield from _repeated(f"{at}.ports", [port.get("name") for port in ports], "name")


def _environment(at: str, variables: list[dict[str, Any]]) -> Causes:
    for number, variable in enumerate(variables):
        field = f"{at}.env[{number}]"
        if not ENV_NAME.fullmatch(str(variable.get("name", ""))):
            yield invalid_value(f"{field}.name", variable.get("name"), "a valid environment variable name must consist")
        source = variable.get("valueFrom")
        if source is not None and variable.get("value"):
            yield invalid_value(f"{field}.valueFrom", "", "may not be specified when `value` is not empty")
        if source is not None and len(source) != 1:
            yield invalid_value(f"{field}.valueFrom", "", "must specify exactly one of the sources")


def _mounts(at: str, mounts: list[dict[str, Any]], volumes: set[Any]) -> Causes:
    for number, mount in enumerate(mounts):
        if mount.get("name") not in volumes:
            yield Cause("FieldValueNotFound", f'Not found: "{mount.get("name")}"', f"{at}.volumeMounts[{number}].name")
        if not mount.get("mountPath"):
            yield required(f"{at}.volumeMounts[{number}].mountPath")
    yield from _repeated(f"{at}.volumeMounts", [mount.get("mountPath") for mount in mounts], "mountPath")


def _quantity(field: str, value: object) -> Causes:
    if value is None:
        return
    try:
        number = amount(value)
    except ValueError as error:
        yield invalid_value(field, value, str(error))
        return
    if number < 0:
        yield invalid_value(field, value, "must be greater than or equal to 0")


def _is_extended(name: str) -> bool:
    return "/" in name and not name.startswith(("kubernetes.io/", "requests."))


def _resources(at: str, resources: dict[str, Any]) -> Causes:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    bad: set[str] = set()
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            field = f"{at}.{kind}[{name}]"
            causes = list(_quantity(field, value))
            if not causes and _is_extended(name) and amount(value) != int(amount(value)):
                causes.append(invalid_value(field, value, NOT_WHOLE))
            if "/" not in name and name not in ("cpu", "memory", "ephemeral-storage"):
                causes.append(invalid_value(field, name, "must be a standard resource type or fully qualified"))
            bad.update(name for _cause in causes)
            yield from causes
    for name, value in requests.items():
        if name in bad:
            continue
        if name in limits and amount(value) > amount(limits[name]):
            yield invalid_value(
                f"{at}.requests", value, f"must be less than or equal to {name} limit of {limits[name]}"
            )
        if _is_extended(name) and name not in limits:
            yield required(f"{at}.limits", "Limit must be set for non overcommitable resources")
        elif _is_extended(name) and amount(value) != amount(limits[name]):
            yield invalid_value(f"{at}.requests", value, f"must be equal to {name} limit of {limits[name]}")


def _probe(at: str, kind: str, probe: dict[str, Any]) -> Causes:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if not handlers:
        yield required(at, "must specify a handler type")
    if len(handlers) > 1:
        yield forbidden_field(f"{at}.{handlers[1]}", "may not specify more than 1 handler type")
    for name in ("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"):
        if isinstance(probe.get(name), int) and probe[name] < 1:
            yield invalid_value(f"{at}.{name}", probe[name], "must be greater than or equal to 1")
    yield from _not_negative(f"{at}.initialDelaySeconds", probe.get("initialDelaySeconds"))
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield invalid_value(f"{at}.successThreshold", probe["successThreshold"], "must be 1")
    request = probe.get("httpGet") or {}
    yield from _one_of(f"{at}.httpGet.scheme", request.get("scheme"), ("HTTP", "HTTPS"))
    yield from _port(f"{at}.httpGet.port", request.get("port"))


# -- kinds -----------------------------------------------------------------------------------------------------------


def _deployment(item: dict[str, Any]) -> Causes:
    spec = item["spec"]
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from _not_negative(f"spec.{name}", spec.get(name))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        yield invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy = spec.get("strategy") or {}
    yield from _one_of("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        yield forbidden_field("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    yield from _template(spec)


def _daemon_set(item: dict[str, Any]) -> Causes:
    strategy = item["spec"].get("updateStrategy") or {}
    yield from _one_of("spec.updateStrategy.type", strategy.get("type"), ("OnDelete", "RollingUpdate"))
    yield from _template(item["spec"])


def _service(item: dict[str, Any]) -> Causes:
    spec = item["spec"]
    yield from _one_of("spec.type", spec.get("type"), ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    yield from _one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    yield from labels("spec.selector", spec.get("selector") or {})
    yield from _service_ports(spec)
    reaches_out = spec.get("type") in ("LoadBalancer", "NodePort")
    policy = spec.get("externalTrafficPolicy")
    yield from _one_of("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    if policy is not None and not reaches_out:
        why = "may only be set for externally-accessible services"
        yield invalid_value("spec.externalTrafficPolicy", policy, why)
    for number, cidr in enumerate(spec.get("loadBalancerSourceRanges") or []):
        yield from _cidr(f"spec.loadBalancerSourceRanges[{number}]", cidr)
    if spec.get("loadBalancerSourceRanges") and spec.get("type") != "LoadBalancer":
        yield forbidden_field("spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")


def _service_ports(spec: dict[str, Any]) -> Causes:
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    for number, port in enumerate(ports):
        field = f"spec.ports[{number}]"
        if len(ports) > 1 and not port.get("name"):
            yield required(f"{field}.name")
        if port.get("name") and not LABEL_NAME.fullmatch(str(port["name"])):
            yield invalid_value(f"{field}.name", port["name"], BAD_LABEL_NAME)
        yield from _port(f"{field}.port", port.get("port"))
        yield from _port(f"{field}.targetPort", port.get("targetPort"))
        yield from _one_of(f"{field}.protocol", port.get("protocol"), PROTOCOLS)
    yield from _repeated("spec.ports", [port.get("name") for port in ports], "name")


def _cidr(field: str, value: object) -> Causes:
    text = str(value)
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError:
        yield invalid_value(field, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        return
    if "/" not in text or str(network) != text:
        yield invalid_value(field, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


def _claim(item: dict[str, Any]) -> Causes:
    spec = item["spec"]
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    modes = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    for mode in spec.get("accessModes") or []:
        yield from _one_of("spec.accessModes", mode, modes)
    yield from _one_of("spec.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        yield required("spec.resources[storage]")
        return
    causes = list(_quantity("spec.resources[storage]", size))
    if not causes and amount(size) == 0:
        causes.append(invalid_value("spec.resources[storage]", size, "must be greater than zero"))
    yield from causes


def _network_policy(item: dict[str, Any]) -> Causes:
    spec = item["spec"]
    for kind in spec.get("policyTypes") or []:
        yield from _one_of("spec.policyTypes", kind, ("Egress", "Ingress"))
    yield from labels("spec.podSelector.matchLabels", (spec.get("podSelector") or {}).get("matchLabels") or {})
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(spec.get(direction) or []):
            yield from _policy_rule(f"spec.{direction}[{number}]", side, rule)


def _policy_rule(at: str, side: str, rule: dict[str, Any]) -> Causes:
    for number, port in enumerate(rule.get("ports") or []):
        yield from _port(f"{at}.ports[{number}].port", port.get("port"))
        yield from _one_of(f"{at}.ports[{number}].protocol", port.get("protocol"), PROTOCOLS)
    for number, peer in enumerate(rule.get(side) or []):
        field = f"{at}.{side}[{number}]"
        if not peer:
            yield required(field, "must specify a peer")
        if "ipBlock" in peer:
            if len(peer) > 1:
                yield forbidden_field(field, "may not specify both ipBlock and another peer")
            yield from _cidr(f"{field}.ipBlock.cidr", peer["ipBlock"].get("cidr"))


def _config_map(item: dict[str, Any]) -> Causes:
    data = item.get("data") or {}
    yield from _data_keys(data)
    yield from _data_size(sum(len(value.encode()) for value in data.values()))


def _secret(item: dict[str, Any]) -> Causes:
    data = item.get("data") or {}
    yield from _data_keys(data)
    yield from _data_size(sum(len(value) * 3 // 4 for value in data.values()))
    if item.get("type") == DOCKER_CONFIG:
        yield from _docker_config(data)


def _data_keys(data: dict[str, Any]) -> Causes:
    for key in data:
        if len(key) > 253 or not DATA_KEY.fullmatch(key) or key in (".", ".."):
            yield invalid_value(f"data[{key}]", key, "a valid config key must consist of alphanumeric characters")


def _data_size(size: int) -> Causes:
    if size > MAX_DATA:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {MAX_DATA} bytes", "data")


def _docker_config(data: dict[str, Any]) -> Causes:
    encoded = data.get(".dockerconfigjson")
    if encoded is None:
        yield required("data[.dockerconfigjson]")
        return
    try:
        json.loads(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        yield invalid_value("data[.dockerconfigjson]", "<secret contents redacted>", "invalid character")


def _role(item: dict[str, Any]) -> Causes:
    for number, rule in enumerate(item.get("rules") or []):
        field = f"rules[{number}]"
        if not rule.get("verbs"):
            yield required(f"{field}.verbs", "verbs must contain at least one value")
        if not rule.get("apiGroups"):
            yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{field}.resources", "resource rules must supply at least one resource")


def _role_binding(item: dict[str, Any]) -> Causes:
    reference = item.get("roleRef") or {}
    yield from _one_of("roleRef.kind", reference.get("kind"), ("ClusterRole", "Role"))
    if not reference.get("name"):
        yield required("roleRef.name")
    for number, subject in enumerate(item.get("subjects") or []):
        field = f"subjects[{number}]"
        yield from _one_of(f"{field}.kind", subject.get("kind"), ("Group", "ServiceAccount", "User"))
        if not subject.get("name"):
            yield required(f"{field}.name")
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            yield required(f"{field}.namespace")


BY_KIND: dict[str, Callable[[dict[str, Any]], Causes]] = {
    "ConfigMap": _config_map,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "NetworkPolicy": _network_policy,
    "PersistentVolumeClaim": _claim,
    "Role": _role,
    "RoleBinding": _role_binding,
    "Secret": _secret,
    "Service": _service,
}

# -- what may not change ---------------------------------------------------------------------------------------------

IMMUTABLE = "field is immutable"


def check_change(old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """Return what an update changes that cannot be changed."""
    return list(CHANGES.get(new["kind"], _no_change)(old, new))


def _no_change(_old: dict[str, Any], _new: dict[str, Any]) -> Causes:
    yield from ()


def _fixed_selector(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    if old["spec"].get("selector") != new["spec"].get("selector"):
        shown = json.dumps(new["spec"].get("selector"), separators=(",", ":"))
        yield Cause("FieldValueInvalid", f"Invalid value: {shown}: {IMMUTABLE}", "spec.selector")


def _claim_change(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    before, after = old["spec"], new["spec"]

    def fixed(spec: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in spec.items() if name not in ("resources", "volumeName")}

    if fixed(before) != fixed(after):
        yield forbidden_field(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
        return
    old_size, new_size = (amount(spec["resources"]["requests"]["storage"]) for spec in (before, after))
    if new_size < old_size:
        yield forbidden_field("spec.resources.requests.storage", "field can not be less than status.capacity")
    if new_size > old_size and old["status"]["phase"] != "Bound":
        yield forbidden_field("spec", "spec is immutable after creation except resources.requests for bound claims")


def _secret_change(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    if old.get("type") != new.get("type"):
        yield invalid_value("type", new.get("type"), IMMUTABLE)
    yield from _immutable_data(old, new)


def _immutable_data(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    if old.get("immutable") and (old.get("data") != new.get("data") or not new.get("immutable")):
        yield forbidden_field("data", "field is immutable when `immutable` is set")


def _service_change(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    before, after = old["spec"], new["spec"]
    if before.get("clusterIP") and after.get("clusterIP") != before["clusterIP"]:
        yield invalid_value("spec.clusterIPs[0]", after.get("clusterIP"), "may not change once set")
    if before.get("loadBalancerClass") != after.get("loadBalancerClass"):
        yield invalid_value("spec.loadBalancerClass", after.get("loadBalancerClass"), "may not change once set")


def _role_binding_change(old: dict[str, Any], new: dict[str, Any]) -> Causes:
    if old.get("roleRef") != new.get("roleRef"):
        yield invalid_value("roleRef", json.dumps(new.get("roleRef")), "cannot change roleRef")


CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Causes]] = {
    "ConfigMap": _immutable_data,
    "DaemonSet": _fixed_selector,
    "Deployment": _fixed_selector,
    "PersistentVolumeClaim": _claim_change,
    "RoleBinding": _role_binding_change,
    "Secret": _secret_change,
    "Service": _service_change,
}
