# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""A NIM as a function of NVIDIA Cloud Functions: what is sent, and what is read back. Pure.

A function has versions, which cannot be changed. Facts about a NIM are variables ``BUDGETGUARD_...`` of its container:
they cannot be changed either, and they come back with the list of functions, so one call tells of all NIMs. Fields and
limits: NVIDIA/nvcf, com.nvidia.nvcf.rest.function, ``CreateFunctionRequest`` and ``FunctionDto``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    HEALTH_PATH,
    Status,
    Wanted,
    decode_serves,
    encode_serves,
    spec_hash,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import (
    AUTH,
    NvidiaSettings,
)

FUNCTION = "nvcf_function"
DEPLOYMENT = "nvcf_deployment"

STOCK_REGISTRY = "nvcr.io/nim/"
"""Where NVIDIA publishes NIMs. Functions cannot use images from there."""

INVOCATION_HOST = "invocation.api.nvcf.nvidia.com"
"""A function is reached as a host of this domain, by its id; the path goes through to the container."""

RESERVED_PORTS = (8080, 8010)
"""Ports that NVIDIA's own container beside the NIM uses. Source: NVIDIA/nvcf docs/user/container-functions.md."""

REPLACING_FIELDS = frozenset(
    {"version", "gpu", "gpus", "instance_type", "max_request_concurrency", "clusters", "regions", "usable"}
)
"""What cannot be changed in a deployment: it is taken down and made anew."""

_FACT = "BUDGETGUARD_"
_TAG = "budgetguard"
_KEYS_TAG = "budgetguard-keys-"
_PORT = 8000
_PORT_VARIABLES = ("NIM_HTTP_API_PORT", "NIM_SERVER_PORT")
_OFF = "INACTIVE"
_CALLABLE = frozenset({"ACTIVE", "DEGRADING"})
_INSTANCES_THAT_RUN = frozenset({"ACTIVE", "RUNNING"})

Json = t.Mapping[str, t.Any]


# ---- what is sent ----------------------------------------------------------------------------------------------------


def own_image(settings: NvidiaSettings, item: Wanted) -> str:
    """Return where the NIM's image lies in the organisation's own registry. Raises ValueError if nobody can know."""
    if not item.image.startswith(STOCK_REGISTRY):
        return _tag_or_digest(item.image)
    if settings.registry is None:
        raise ValueError(
            f"{item.node}: NVIDIA Cloud Functions run no image from {STOCK_REGISTRY.rstrip('/')}. Copy {item.image} to "
            "your organisation's own registry, and set org, or image_registry to the place, such as nvcr.io/my-org"
        )
    return _tag_or_digest(f"{settings.registry}/{item.image.rsplit('/', 1)[-1]}")


def _tag_or_digest(image: str) -> str:
    """Leave the tag out where there is a digest.

    NVIDIA refuses an image with both: its client of the registry takes one colon after the registry's name at most
    (NgcContainerRegistryClient in github.com/NVIDIA/nvcf).
    """
    tagged, at_sign, digest = image.partition("@")
    return f"{tagged.rpartition(':')[0]}@{digest}" if at_sign else image


def copy_commands(item: Wanted, image: str) -> str:
    """Return the commands that copy a stock image, in one line.

    One that is named by its digest is copied with skopeo, because docker may push it with another digest.
    """
    tagged, at_sign, digest = item.image.partition("@")
    if at_sign:
        name, _colon, tag = tagged.rpartition(":")
        copy = f"{image.partition('@')[0]}:{tag}"
        return f"skopeo copy --all --preserve-digests docker://{name}@{digest} docker://{copy}"
    return f"docker pull {item.image} && docker tag {item.image} {image} && docker push {image}"


def function_body(settings: NvidiaSettings, item: Wanted) -> dict[str, t.Any]:
    """Return a version of the function without its keys. Raises ValueError for what NVIDIA would refuse."""
    port = _port(item)
    variables = {
        **dict.fromkeys(_PORT_VARIABLES, str(port)),
        "NIM_JSONL_LOGGING": "1",
        **({"NIM_MODEL_VARIANT": "+".join(item.variants)} if item.variants else {}),
        **_checked_variables(item),
        f"{_FACT}MANAGED": "true",
        f"{_FACT}NODE": item.node,
        f"{_FACT}GPU_TIER": item.gpu_tier,
        f"{_FACT}KIND": item.kind,
        f"{_FACT}SERVES": encode_serves(item.serves),
        f"{_FACT}INFER_PATH": item.infer_path,
    }
    body = {
        "name": item.name,
        "description": f"NIM {item.node} on {item.gpu_tier}, made by budgetguard.techops",
        "containerImage": own_image(settings, item),
        "inferenceUrl": item.infer_path,
        "inferencePort": port,
        "health": {
            "protocol": "HTTP",
            "uri": HEALTH_PATH,
            "port": port,
            "timeout": "PT10S",
            "expectedStatusCode": 200,
        },
        "containerEnvironment": variables,
        "apiBodyFormat": "CUSTOM",
        "functionType": "DEFAULT",
    }
    variables[f"{_FACT}CONTENT"] = spec_hash([body, settings.key_delivery])
    return {**body, "containerEnvironment": _entries(variables), "tags": [_TAG]}


def with_keys(settings: NvidiaSettings, item: Wanted, body: Json) -> dict[str, t.Any]:
    """Return the body with the keys that the NIM needs, and a one-way mark of them."""
    keys = nim_keys(settings, item)
    filled = {**body, "tags": tags(settings, item)}
    if settings.key_delivery == "secret":
        return {**filled, "secrets": _secrets(keys)}
    return {**filled, "containerEnvironment": [*body["containerEnvironment"], *_entries(keys)]}


def secrets_body(settings: NvidiaSettings, item: Wanted) -> dict[str, t.Any]:
    """Return the body that replaces the secrets of a version."""
    return {"secrets": _secrets(nim_keys(settings, item))}


def tags(settings: NvidiaSettings, item: Wanted) -> list[str]:
    """Return the tags of a version: letters, digits and hyphens only, since NVIDIA's rule for them is not published."""
    mark = keys_mark(settings, item)
    return [_TAG, *([_KEYS_TAG + mark] if mark else [])]


def nim_keys(settings: NvidiaSettings, item: Wanted) -> dict[str, str]:
    """Return the keys that the container gets, by name."""
    keys = {"NGC_API_KEY": settings.ngc_api_key, "HF_TOKEN": settings.hf_token if item.needs_hf_token else None}
    return {name: key for name, key in keys.items() if key}


def keys_mark(settings: NvidiaSettings, item: Wanted) -> str | None:
    """Return a one-way mark of the keys, or None where there are none to compare."""
    keys = nim_keys(settings, item)
    if "NGC_API_KEY" not in keys:
        return None
    text = "\0".join([item.name, *(f"{name}={keys[name]}" for name in sorted(keys))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def function_spec(settings: NvidiaSettings, item: Wanted) -> dict[str, t.Any]:
    """Return what is compared of a function."""
    body = function_body(settings, item)
    content = next(entry["value"] for entry in body["containerEnvironment"] if entry["key"] == f"{_FACT}CONTENT")
    spec = {"image": body["containerImage"], "content": content, "leftovers": []}
    mark = keys_mark(settings, item)
    return {**spec, "keys": mark} if mark else spec


def deployment_spec(settings: NvidiaSettings, item: Wanted, version: t.Any, least: int) -> dict[str, t.Any]:
    """Return what is compared of a deployment. ``least`` is how many instances are always up.

    Raises ValueError where fewer are allowed than should run.
    """
    if settings.max_instances is not None and settings.max_instances < item.replicas:
        raise ValueError(
            f"{item.name}: max_instances is {settings.max_instances}, fewer than the {item.replicas} replicas asked for"
        )
    spec: dict[str, t.Any] = {
        "deployed": True,
        "version": version,
        "min_instances": least,
        "max_instances": max(settings.max_instances or item.replicas, least),
        "max_request_concurrency": settings.max_request_concurrency,
    }
    if item.gpu_tier in settings.instance_types:
        spec["instance_type"] = settings.instance_types[item.gpu_tier]
    else:
        spec.update(gpu=plain(item.gpu_tier), gpus=item.gpus)
    if settings.clusters:
        spec["clusters"] = list(settings.clusters)
    if settings.regions:
        spec["regions"] = list(settings.regions)
    if item.start:
        spec["usable"] = True
    return spec


def deployment_body(spec: Json, offer: Offer) -> dict[str, t.Any]:
    """Return the body of a deployment on one kind of instance."""
    wanted = {
        "gpu": offer.gpu,
        "instanceType": offer.instance_type,
        "minInstances": spec["min_instances"],
        "maxInstances": spec["max_instances"],
        "maxRequestConcurrency": spec["max_request_concurrency"],
        **{name: spec[name] for name in ("clusters", "regions") if spec.get(name)},
    }
    return {"deploymentSpecifications": [wanted]}


def _port(item: Wanted) -> int:
    named = {item.env[name] for name in _PORT_VARIABLES if name in item.env} or {str(_PORT)}
    port = named.pop()
    if named or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{item.name}: env sets {' and '.join(_PORT_VARIABLES)}; both must be the same port")
    if int(port) in RESERVED_PORTS:
        taken = " and ".join(str(number) for number in RESERVED_PORTS)
        raise ValueError(f"{item.name}: env sets the port {port}; NVIDIA Cloud Functions keep {taken} for themselves")
    return int(port)


def _checked_variables(item: Wanted) -> t.Mapping[str, str]:
    wrong = sorted(name for name in item.env if name.startswith(("NVCF_", _FACT)))
    if wrong:
        raise ValueError(
            f"{item.name}: env sets {', '.join(wrong)}; names that begin with NVCF_ are NVIDIA's, {_FACT} is ours"
        )
    return item.env


def _entries(values: t.Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(values.items())]


def _secrets(keys: t.Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(keys.items())]


# ---- kinds of instance -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Offer:
    """One kind of instance that the organisation may use. ``gpus`` is how many GPUs one has."""

    gpu: str
    instance_type: str
    default: bool = False

    @property
    def gpus(self) -> int:
        """The number at the end of the name: ``DGX-CLOUD.GPU.L40_2x`` has 2. A name without one has 1."""
        return gpus_of(self.instance_type)


def gpus_of(instance_type: str) -> int:
    """Return how many GPUs an instance type has by its name."""
    found = re.search(r"_(\d+)x(?:\.|$)", instance_type)
    return int(found[1]) if found else 1


def plain(gpu: str) -> str:
    """Return the name of a GPU without case and separators: ``a100-80gb`` and ``A100_80GB`` are the same one."""
    return re.sub(r"[^A-Z0-9]", "", gpu.upper())


def offers(answer: t.Any) -> list[Offer]:
    """Read what ``GET /clusterGroups`` says, each kind once."""
    found = [
        Offer(str(gpu.get("name")), str(kind["name"]), bool(kind.get("default")))
        for group in (answer or {}).get("clusterGroups") or []
        for gpu in group.get("gpus") or []
        for kind in gpu.get("instanceTypes") or []
    ]
    return sorted(set(found), key=lambda offer: (not offer.default, offer.instance_type))


def choose(settings: NvidiaSettings, item: Wanted, found: t.Sequence[Offer] | None) -> Offer:
    """Return the instance type for a NIM. ``found`` None: the key may not ask. Raises ValueError if there is none."""
    asked = settings.instance_types.get(item.gpu_tier)
    if asked and found is None:
        return Offer(item.gpu_tier.upper().replace("-", "_"), asked)
    hint = f"set instance_types, for example {{{item.gpu_tier}: DGX-CLOUD.GPU.{plain(item.gpu_tier)}_{item.gpus}x}}"
    if found is None:
        raise ValueError(f"{item.name}: the key may not list instance types (scope list_cluster_groups); {hint}")
    if asked:
        fitting = [offer for offer in found if offer.instance_type == asked]
    else:
        fitting = [offer for offer in found if plain(offer.gpu) == plain(item.gpu_tier) and offer.gpus == item.gpus]
    if fitting:
        return fitting[0]
    offered = ", ".join(f"{offer.gpu} ({offer.instance_type})" for offer in found) or "none at all"
    what = f"instance type {asked}" if asked else f"instance type with {item.gpus} {item.gpu_tier.upper()}"
    raise ValueError(f"{item.name}: NVIDIA offers your organisation no {what}. It offers: {offered}")


# ---- what is read ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of a function, as the list shows it."""

    function_id: str
    version_id: str
    name: str
    status: str
    created: str
    image: str | None
    facts: t.Mapping[str, str]
    keys: str | None
    instances: tuple[str, ...]

    @classmethod
    def read(cls, answer: Json) -> Version:
        """Take what counts out of an answer, and no key that stands in it."""
        entries = answer.get("containerEnvironment") or []
        variables = {str(entry.get("key")): str(entry.get("value")) for entry in entries}
        marks = [tag[len(_KEYS_TAG) :] for tag in answer.get("tags") or [] if str(tag).startswith(_KEYS_TAG)]
        return cls(
            function_id=str(answer["id"]),
            version_id=str(answer["versionId"]),
            name=str(answer.get("name")),
            status=str(answer.get("status")),
            created=str(answer.get("createdAt") or ""),
            image=answer.get("containerImage"),
            facts={key[len(_FACT) :]: value for key, value in variables.items() if key.startswith(_FACT)},
            keys=marks[0] if marks else None,
            instances=tuple(
                str(instance.get("instanceStatus") or instance.get("status"))
                for instance in answer.get("activeInstances") or []
            ),
        )

    @property
    def managed(self) -> bool:
        """Whether this collection made it."""
        return self.facts.get("MANAGED") == "true"

    @property
    def deployed(self) -> bool:
        """Whether it has a deployment, in whatever state."""
        return self.status != _OFF

    @property
    def hides_instances(self) -> bool:
        """Whether it can be called and does not show by what: NVIDIA leaves instances out of some answers."""
        return self.status in _CALLABLE and not self.instances


@dataclasses.dataclass(frozen=True)
class Function:
    """All versions of the functions of one name, which is one NIM.

    ``current`` is what counts: the newest version of the function that is in use. ``deployed`` is the version that has
    a deployment, perhaps an older one. ``leftovers`` are what an interrupted run has left.
    """

    current: Version
    deployed: Version | None
    leftovers: tuple[Version, ...]

    @classmethod
    def of(cls, versions: t.Sequence[Version]) -> Function:
        """Sort the versions of one name. Two runs at once may have made two functions; the first one counts."""
        by_age = sorted(versions, key=lambda version: (version.created, version.version_id))
        first = next((version for version in by_age if version.deployed), by_age[0])
        own = [version for version in by_age if version.function_id == first.function_id]
        current = own[-1]
        deployed = current if current.deployed else next((version for version in own if version.deployed), None)
        return cls(current, deployed, tuple(version for version in by_age if version not in (current, deployed)))


def functions(answer: t.Any, names: t.Sequence[str]) -> dict[str, Function]:
    """Read the list of functions: ours, and whatever has one of the names."""
    by_name: dict[str, list[Version]] = {}
    for entry in (answer or {}).get("functions") or []:
        version = Version.read(entry)
        if version.status != "DELETED" and (version.managed or version.name in names):
            by_name.setdefault(version.name, []).append(version)
    found = {}
    for name, versions in by_name.items():
        ours = [version for version in versions if version.managed]
        found[name] = Function.of(ours or versions)
    return found


def read_deployment(answer: Json, version: Version) -> dict[str, t.Any]:
    """Return what is compared of a deployment that exists."""
    spec = (answer.get("deploymentSpecifications") or [{}])[0]
    kind = str(spec.get("instanceType"))
    return {
        "deployed": True,
        "version": version.version_id,
        "gpu": plain(str(spec.get("gpu"))),
        "gpus": gpus_of(kind),
        "instance_type": kind,
        "min_instances": int(spec.get("minInstances") or 0),
        "max_instances": int(spec.get("maxInstances") or 0),
        "max_request_concurrency": int(spec.get("maxRequestConcurrency") or 1),
        "clusters": sorted(spec.get("clusters") or []),
        "regions": sorted(spec.get("regions") or []),
        "usable": version.status != "ERROR",
    }


def deployment_ids(answer: Json) -> tuple[str, str]:
    """Return the ids of the deployment and of its first kind of instance, which scaling needs."""
    spec = (answer.get("deploymentSpecifications") or [{}])[0]
    return str(answer.get("deploymentId")), str(spec.get("gpuSpecificationId"))


def status(found: Function, deployment: Json | None) -> Status:
    """Return the state of a NIM. ``deployment`` is what was read of it, None where it has none."""
    current, shown = found.current, found.deployed or found.current
    least = read_deployment(deployment, shown)["min_instances"] if deployment else 0
    running = sum(instance in _INSTANCES_THAT_RUN for instance in shown.instances)
    if shown.hides_instances:
        running = least
    state, reason = _state(shown, deployment, least, running)
    if state == "stopped" and found.leftovers:
        reason = "a change of it was interrupted; deploy it again, and start it if it ran before"
    return Status(
        name=current.name,
        node=current.facts.get("NODE", current.name),
        gpu_tier=current.facts.get("GPU_TIER", ""),
        image=shown.image,
        kind=current.facts.get("KIND"),
        serves=decode_serves(current.facts.get("SERVES", "")),
        replicas=least or running,
        running=running,
        state=state,
        reason=reason,
        endpoint=f"https://{current.function_id}.{INVOCATION_HOST}",
        infer_path=current.facts.get("INFER_PATH"),
        auth=AUTH,
        deployed_at=_seconds_only(current.created),
    )


def _state(version: Version, deployment: Json | None, least: int, running: int) -> tuple[str, str | None]:
    told = _health_errors(deployment)
    states: dict[str, tuple[str, str | None]] = {
        _OFF: ("stopped", None),
        "DEPLOYING": ("starting", told or _waiting_for(version)),
        "ACTIVE": ("running" if least or running else "stopped", None),
        "DEGRADING": ("running", told or "some of its instances do not answer"),
        "DEGRADED": ("starting", told or "no instance of it answers any more; NVIDIA starts another one"),
        "ERROR": ("failed", told or "NVIDIA reports an error and gives no reason"),
    }
    unknown = ("unknown", f"NVIDIA reports the state {version.status}, which is not known here")
    return states.get(version.status, unknown)


def _health_errors(deployment: Json | None) -> str | None:
    found = [str(item.get("error")) for item in (deployment or {}).get("healthInfo") or [] if item.get("error")]
    return " ".join("; ".join(dict.fromkeys(found)).split()) or None


def _waiting_for(version: Version) -> str:
    if version.instances:
        return "an instance is there; the container starts and loads the model"
    return f"waiting for an instance with {version.facts.get('GPU_TIER', 'a GPU').upper()}"


def _seconds_only(moment: str) -> str | None:
    """Cut the fraction off a time in UTC."""
    return re.sub(r"\.\d+(?=Z$)", "", moment) or None
