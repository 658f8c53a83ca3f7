# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server does with objects: read, list, create, update, patch, apply, scale and delete them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.kube.addresses import Addresses
from tests.sandbox.kube.apply import apply, note_update
from tests.sandbox.kube.checks import check, check_change
from tests.sandbox.kube.defaults import canonical, set_defaults, without_nulls
from tests.sandbox.kube.errors import (
    Cause,
    KubeError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    modified,
    not_found,
    not_simulated,
    required,
)
from tests.sandbox.kube.kinds import Kind
from tests.sandbox.kube.patches import merge_patch, strategic_merge_patch
from tests.sandbox.kube.requests import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, KubeRequest
from tests.sandbox.kube.schema import Problem, Schemas
from tests.sandbox.kube.selectors import matches_fields, matches_labels
from tests.sandbox.kube.store import ObjectStore, timestamp

#: What the server alone sets in the metadata.
SERVER_METADATA = ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "uid")
#: Kinds whose ``status`` is set by the cluster alone.
WITH_STATUS = ("DaemonSet", "Deployment", "Namespace", "PersistentVolumeClaim", "Service")
#: Kinds that mean nothing without a ``spec``.
WITH_SPEC = ("DaemonSet", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Service")
#: Kinds that count the changes of their ``spec``.
WITH_GENERATION = ("DaemonSet", "Deployment", "NetworkPolicy")
PATCH_TYPES = (APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


@dataclass
class Answer:
    """What goes back to the client: an object, or text."""

    status: int = 200
    body: Any = None
    text: str | None = None
    stream: Any = None
    warnings: list[str] = field(default_factory=list)


class Verbs:
    """The verbs on the objects of one cluster."""

    def __init__(
        self,
        store: ObjectStore,
        schemas: Schemas,
        addresses: Addresses,
        begin_deletion: Callable[[dict[str, Any]], bool],
    ) -> None:
        """``begin_deletion`` says whether an object is gone at once; otherwise it has marked it."""
        self._store = store
        self._schemas = schemas
        self._addresses = addresses
        self._begin_deletion = begin_deletion

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, request: KubeRequest, kind: Kind) -> Answer:
        """Return one object."""
        item = self._existing(request, kind)
        if request.wants("PartialObjectMetadata"):
            item = _metadata_only(item)
        return Answer(body=item)

    def list_items(self, request: KubeRequest, kind: Kind) -> Answer:
        """Return the objects that are selected, a page at a time where the client wants pages."""
        found = [item for item in self._store.all(kind.name, request.namespace) if selected(request, kind, item)]
        start, limit = _page(request)
        page = found[start : start + limit] if limit else found[start:]
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.version)}
        left = len(found) - start - len(page)
        if left:
            metadata["continue"] = str(start + len(page))
            if not request.query.get("labelSelector") and not request.query.get("fieldSelector"):
                metadata["remainingItemCount"] = left
        if request.wants("PartialObjectMetadataList"):
            items = [_metadata_only(item) for item in page]
            body = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        else:
            # Items of a list do not say what they are.
            items = [
                {name: value for name, value in item.items() if name not in ("apiVersion", "kind")} for item in page
            ]
            body = {"kind": f"{kind.name}List", "apiVersion": kind.api_version}
        return Answer(body={**body, "metadata": metadata, "items": items})

    def _existing(self, request: KubeRequest, kind: Kind) -> dict[str, Any]:
        name = request.name or ""
        item = self._store.get(kind.name, request.namespace, name)
        if item is None:
            raise not_found(kind.resource, name)
        return item

    # -- writing -----------------------------------------------------------------------------------------------------

    def create(self, request: KubeRequest, kind: Kind) -> Answer:
        """Make an object that must not be there yet."""
        body = request.body()
        self._check_identity(request, kind, body)
        if body["metadata"].get("generateName") and not body["metadata"].get("name"):
            raise not_simulated("generateName")
        name = str(body["metadata"].get("name", ""))
        if not name:
            raise invalid(kind.group_kind, "", [required("metadata.name", "name or generateName is required")])
        self._check_namespace(request, kind, name)
        if self._store.get(kind.name, request.namespace, name) is not None:
            raise already_exists(kind.resource, name)
        if body["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        warnings, new = self._decoded(request, kind, body)
        return self._save(request, kind, None, new, warnings, owner="update")

    def update(self, request: KubeRequest, kind: Kind) -> Answer:
        """Replace an object."""
        body = request.body()
        self._check_identity(request, kind, body)
        old = self._existing(request, kind)
        _check_version(kind, old, body)
        warnings, new = self._decoded(request, kind, body)
        return self._save(request, kind, old, new, warnings, owner="update")

    def patch(self, request: KubeRequest, kind: Kind) -> Answer:
        """Change an object by a merge patch or a strategic merge patch."""
        patch = _patch_body(request)
        old = self._existing(request, kind)
        node = self._schemas.node(kind)
        if request.content_type == MERGE_PATCH:
            value = merge_patch(old, patch)
        else:
            value = strategic_merge_patch(node, old, patch)
        self._check_identity(request, kind, value)
        _check_version(kind, old, value)
        warnings, new = self._decoded(request, kind, value)
        return self._save(request, kind, old, new, warnings, owner="update")

    def apply(self, request: KubeRequest, kind: Kind) -> Answer:
        """Make an object what the body says, by server-side apply."""
        manager = request.query.get("fieldManager")
        if not manager:
            why = "is required for apply patch"
            raise invalid("PatchOptions.meta.k8s.io", "", [required("fieldManager", why)])
        body = request.body()
        metadata = body.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        self._check_identity(request, kind, body)
        name = request.name or ""
        self._check_namespace(request, kind, name)
        node = self._schemas.node(kind)
        wanted = canonical(node, without_nulls(body))
        self._check_typed(kind, wanted)
        old = self._store.get(kind.name, request.namespace, name)
        if old is None and wanted["metadata"].get("resourceVersion"):
            # So says the storage of a real server, as an internal error.
            raise KubeError(500, "", "resourceVersion should not be set on objects to be created")
        _check_version(kind, old, wanted)
        live = old if old is not None else _shell(kind, request)
        force = request.query.get("force") in ("true", "1")
        merged = apply(node, live, wanted, manager, force=force, now=timestamp())
        return self._save(request, kind, old, merged, [], owner="apply")

    def _check_identity(self, request: KubeRequest, kind: Kind, body: dict[str, Any]) -> None:
        """Refuse a body that says it is something else than the URL says."""
        for name, expected in (("apiVersion", kind.api_version), ("kind", kind.name)):
            said = body.get(name)
            if said is None and request.verb == "apply":
                raise bad_request(f"Object '{name.capitalize()}' is missing in the body of an apply")
            if said is not None and said != expected:
                text = f"the {name} in the data ({said}) does not match the expected {name} ({expected})"
                raise bad_request(text)
            body[name] = expected
        metadata = body.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise bad_request("metadata must be an object")
        if request.name is not None and metadata.setdefault("name", request.name) != request.name:
            text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})"
            raise bad_request(text)
        said = metadata.get("namespace")
        if said and said != (request.namespace or ""):
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise bad_request(text)
        if request.namespace:
            metadata["namespace"] = request.namespace

    def _check_namespace(self, request: KubeRequest, kind: Kind, name: str) -> None:
        if request.namespace is None:
            return
        namespace = self._store.get("Namespace", None, request.namespace)
        if namespace is None:
            raise not_found("namespaces", request.namespace)
        is_new = self._store.get(kind.name, request.namespace, name) is None
        if is_new and "deletionTimestamp" in namespace["metadata"]:
            why = f"unable to create new content in namespace {request.namespace} because it is being terminated"
            raise KubeError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}')

    def _check_typed(self, kind: Kind, wanted: dict[str, Any]) -> None:
        """Refuse what cannot be applied because the schema does not have it. A real server answers 500 here."""
        metadata = wanted["metadata"]
        problems = [item for item in self._schemas.problems(kind, wanted) if item.kind != "required"]
        problems += _repeated_keys(self._schemas, kind, wanted)
        if problems:
            place = f"{metadata.get('namespace', '')}/{metadata['name']}; {kind.api_version}, Kind={kind.name}"
            text = ", ".join(f".{item.path}: {item.message}" for item in problems)
            raise KubeError(500, "", f"failed to create typed patch object ({place}): {text}")

    def _decoded(self, request: KubeRequest, kind: Kind, body: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Return an object as the server understands it. Unknown fields are an error, a warning or ignored."""
        value = canonical(self._schemas.node(kind), without_nulls(body))
        problems = self._schemas.problems(kind, value)
        wrong = [item for item in problems if item.kind == "type"]
        if wrong:
            text = f"{wrong[0].path}: {wrong[0].message}"
            version = kind.version
            raise bad_request(f'{kind.name} in version "{version}" cannot be handled as a {kind.name}: json: {text}')
        unknown = [f'unknown field "{item.path}"' for item in problems if item.kind == "unknown"]
        validation = request.query.get("fieldValidation") or "Warn"
        if unknown and validation == "Strict":
            raise bad_request(f"strict decoding error: {', '.join(unknown)}")
        for item in problems:
            if item.kind == "unknown":
                _remove_path(value, item.path)
        return (unknown if validation == "Warn" else []), value

    # -- storing -----------------------------------------------------------------------------------------------------

    def _save(
        self,
        request: KubeRequest,
        kind: Kind,
        old: dict[str, Any] | None,
        new: dict[str, Any],
        warnings: list[str],
        *,
        owner: str,
        subresource: str = "",
    ) -> Answer:
        """Complete, check and store an object; answer as it is stored, or as it would be."""
        new = self._completed(kind, old, new)
        causes = [_as_cause(item) for item in self._schemas.problems(kind, new) if item.kind == "required"]
        causes = causes or check(new)
        if old is not None and not causes:
            causes = check_change(old, new)
        if causes:
            raise invalid(kind.group_kind, new["metadata"]["name"], causes)
        if owner == "update":
            note_update(
                self._schemas.node(kind),
                old,
                new,
                manager=request.manager,
                subresource=subresource,
                api_version=kind.api_version,
                now=timestamp(),
            )
        status = 200 if old is not None else 201
        if old is not None and _is_same(old, new):
            return Answer(200, old, warnings=warnings)
        if kind.name in WITH_GENERATION and (old is None or old.get("spec") != new.get("spec")):
            new["metadata"]["generation"] = (old["metadata"]["generation"] if old is not None else 0) + 1
        if request.is_dry_run:
            return Answer(status, _as_dry_run(old, new), warnings=warnings)
        return Answer(status, self._store.put(new), warnings=warnings)

    def _completed(self, kind: Kind, old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
        """Set what the server sets: its own metadata, status, defaults and addresses."""
        new = copy.deepcopy(new)
        metadata = new["metadata"]
        before = old["metadata"] if old is not None else {}
        for name in (*SERVER_METADATA, "resourceVersion"):
            metadata.pop(name, None)
            if name in before:
                metadata[name] = before[name]
        if kind.name in WITH_STATUS:
            new.pop("status", None)
            if old is not None and "status" in old:
                new["status"] = copy.deepcopy(old["status"])
        if kind.name in WITH_SPEC:
            new.setdefault("spec", {})
        if not self._schemas.problems(kind, new):
            set_defaults(new)
            self._addresses.allocate(old, new)
        return _without_empty(new)

    # -- scale -------------------------------------------------------------------------------------------------------

    def get_scale(self, request: KubeRequest, kind: Kind) -> Answer:
        """Return how many copies of a Deployment there should be."""
        return Answer(body=_scale_of(self._existing(request, kind)))

    def set_scale(self, request: KubeRequest, kind: Kind) -> Answer:
        """Change how many copies of a Deployment there should be. The new owner of that field is the caller."""
        old = self._existing(request, kind)
        sent = _patch_body(request) if request.method == "PATCH" else request.body()
        scale = merge_patch(_scale_of(old), sent) if request.method == "PATCH" else sent
        if not isinstance(scale.get("spec"), dict) or not isinstance(scale.get("metadata", {}), dict):
            raise bad_request("a Scale needs a spec")
        unknown = sorted(set(scale) - {"apiVersion", "kind", "metadata", "spec", "status"})
        unknown += sorted(f"spec.{name}" for name in set(scale["spec"]) - {"replicas"})
        if unknown and request.query.get("fieldValidation") == "Strict":
            raise bad_request(f'strict decoding error: unknown field "{unknown[0]}"')
        replicas = scale["spec"].get("replicas", 0)
        if isinstance(replicas, bool) or not isinstance(replicas, int):
            raise bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
        _check_version(kind, old, {"metadata": scale.get("metadata", {})})
        new = copy.deepcopy(old)
        new["spec"]["replicas"] = replicas
        answer = self._save(request, kind, old, new, [], owner="update", subresource="scale")
        return Answer(200, _scale_of(answer.body))

    # -- delete ------------------------------------------------------------------------------------------------------

    def delete(self, request: KubeRequest, kind: Kind) -> Answer:
        """Delete an object, or begin to."""
        item = self._existing(request, kind)
        options = request.delete_options()
        _check_preconditions(kind, item, options.get("preconditions") or {})
        propagation = request.query.get("propagationPolicy") or options.get("propagationPolicy") or "Background"
        if propagation not in ("Background", "Foreground"):
            raise not_simulated(f"the propagation policy {propagation}")
        if kind.name == "Namespace" and item["metadata"]["name"] in ("default", "kube-system", "kube-public"):
            name = item["metadata"]["name"]
            raise KubeError(403, "Forbidden", f'namespaces "{name}" is forbidden: this namespace may not be deleted')
        if request.is_dry_run:
            return Answer(body=_deleted(kind, item))
        if not self._begin_deletion(item):
            return Answer(body=self._existing(request, kind))
        self._store.remove(item)
        return Answer(body=_deleted(kind, item))


# -- helpers ---------------------------------------------------------------------------------------------------------


def selected(request: KubeRequest, kind: Kind, item: dict[str, Any]) -> bool:
    """Whether an object is meant by the selectors of a request. Raises KubeError."""
    labels = item["metadata"].get("labels") or {}
    return matches_labels(request.query.get("labelSelector", ""), labels) and matches_fields(
        kind, request.query.get("fieldSelector", ""), item
    )


def _page(request: KubeRequest) -> tuple[int, int]:
    """Return where a page begins, and how many items it may have; 0 for all."""
    start, limit = request.query.get("continue") or "0", request.query.get("limit") or "0"
    if not start.isdigit() or not limit.isdigit():
        raise bad_request("limit and continue must be what an earlier answer said")
    return int(start), int(limit)


def _without_type(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("apiVersion", "kind")}


def _metadata_only(item: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _shell(kind: Kind, request: KubeRequest) -> dict[str, Any]:
    namespace = {"namespace": request.namespace} if request.namespace else {}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": request.name, **namespace}}


def _patch_body(request: KubeRequest) -> dict[str, Any]:
    if request.content_type not in PATCH_TYPES:
        if request.content_type == "application/json-patch+json":
            raise not_simulated("JSON patches")
        text = (
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(PATCH_TYPES)}"
        )
        raise KubeError(415, "UnsupportedMediaType", text)
    if request.query.get("force"):
        why = Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")
        raise invalid("PatchOptions.meta.k8s.io", "", [why])
    return request.body()


def _check_version(kind: Kind, old: dict[str, Any] | None, sent: dict[str, Any]) -> None:
    """Refuse a write that is based on an older version of the object, or on another object of the same name."""
    if old is None:
        return
    metadata = sent["metadata"]
    name = old["metadata"]["name"]
    if metadata.get("resourceVersion") and metadata["resourceVersion"] != old["metadata"]["resourceVersion"]:
        raise modified(kind.resource, name)
    if metadata.get("uid") and metadata["uid"] != old["metadata"]["uid"]:
        raise _wrong_uid(kind, old, metadata["uid"])


def _wrong_uid(kind: Kind, item: dict[str, Any], uid: str) -> KubeError:
    why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {item['metadata']['uid']}"
    return conflict(kind.resource, item["metadata"]["name"], why)


def _check_preconditions(kind: Kind, item: dict[str, Any], wanted: dict[str, Any]) -> None:
    metadata = item["metadata"]
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        raise _wrong_uid(kind, item, wanted["uid"])
    version = wanted.get("resourceVersion")
    if version and version != metadata["resourceVersion"]:
        have = metadata["resourceVersion"]
        why = f"ResourceVersion in precondition: {version}, ResourceVersion in object meta: {have}"
        raise conflict(kind.resource, metadata["name"], f"Precondition failed: {why}")


def _repeated_keys(schemas: Schemas, kind: Kind, wanted: dict[str, Any]) -> list[Problem]:
    """Find lists in which two items have the same key, such as two variables of one name."""
    found: list[Problem] = []

    def walk(node: Any, value: Any, at: str) -> None:
        if isinstance(value, dict):
            for name, content in value.items():
                child = node.child(name)
                if child is not None:
                    walk(child, content, f"{at}.{name}" if at else name)
        elif isinstance(value, list):
            seen: list[Any] = []
            for number, item in enumerate(value):
                key = [item.get(name) for name in node.list_keys] if isinstance(item, dict) else None
                if node.list_keys and key in seen:
                    shown = ",".join(f'{name}="{item.get(name)}"' for name in node.list_keys)
                    found.append(Problem(at, "type", f"duplicate entries for key [{shown}]"))
                seen.append(key)
                walk(node.item(), item, f"{at}[{number}]")

    walk(schemas.node(kind), wanted, "")
    return found


def _remove_path(value: Any, path: str) -> None:
    """Remove an unknown field, given as ``spec.containers[0].imag``."""
    steps = path.replace("[", ".[").split(".")
    for step in steps[:-1]:
        value = value[int(step[1:-1])] if step.startswith("[") else value[step]
    value.pop(steps[-1], None)


def _without_empty(item: dict[str, Any]) -> dict[str, Any]:
    """Drop empty labels, annotations and data: the server does not keep them."""
    for place, name in ((item["metadata"], "labels"), (item["metadata"], "annotations"), (item, "data")):
        if name in place and not place[name]:
            del place[name]
    return item


def _as_cause(problem: Problem) -> Cause:
    return required(problem.path)


def _is_same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether nothing would change but times in ``managedFields``."""

    def stripped(item: dict[str, Any]) -> dict[str, Any]:
        owners = [
            {name: value for name, value in entry.items() if name != "time"}
            for entry in item["metadata"].get("managedFields", [])
        ]
        return {**item, "metadata": {**item["metadata"], "managedFields": owners}}

    return stripped(old) == stripped(new)


def _as_dry_run(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Return what a dry run answers: an object that never was has an id that will never be."""
    if old is None:
        new["metadata"].setdefault("uid", "00000000-0000-0000-0000-000000000000")
        new["metadata"].setdefault("creationTimestamp", timestamp())
    return new


def _scale_of(item: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {name: item["metadata"][name] for name in names if name in item["metadata"]}
    labels = item["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": item["spec"]["replicas"]} if item["spec"]["replicas"] else {},
        "status": {"replicas": item.get("status", {}).get("replicas", 0), "selector": selector},
    }


def _deleted(kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
    details = {"name": item["metadata"]["name"], "kind": kind.plural, "uid": item["metadata"]["uid"]}
    if kind.group:
        details["group"] = kind.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
