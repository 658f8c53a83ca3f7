# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs at NVIDIA: models of its API catalogue, and functions of NVIDIA Cloud Functions on NVIDIA's GPUs.

A function that is not deployed costs nothing. Whether it is deployed, or how many instances are always up, is the
switch. A function keeps its id, and so its address, through all versions.
"""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import Status, Wanted
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import missing_keys
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import UNKNOWN, Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    Provider,
    ProviderError,
    Snapshot,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _nvidia_objects as objects
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_hosted import (
    HOSTED,
    HOSTED_TIER,
    HostedModels,
    names_of,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_session import (
    NvidiaError,
    NvidiaSession,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._nvidia_settings import (
    AUTH,
    NvidiaSettings,
)

UNDEPLOY_SECONDS = 900.0
"""How long requests that are under way may take when a deployment is taken down."""

WORKERS = 8

Json = t.Mapping[str, t.Any]


class Nvidia(Provider):
    """One organisation at NVIDIA."""

    kinds = (
        Kind(HOSTED, per_nim=True, adoptable=True),
        Kind(objects.FUNCTION, per_nim=True),
        Kind(objects.DEPLOYMENT, per_nim=True),
    )

    def __init__(
        self,
        session: NvidiaSession,
        settings: NvidiaSettings,
        catalog: t.Mapping[str, _catalog.Node],
        hosted_nodes: t.Sequence[str] = (),
    ) -> None:
        self.session = session
        self.settings = settings
        self._hosted = HostedModels(session, catalog, settings.hosted_check)
        self._registered = names_of(catalog, hosted_nodes)
        self._functions: dict[str, objects.Function] = {}
        self._offers: list[list[objects.Offer] | None] = []

    @classmethod
    def connect(cls, options: t.Mapping[str, t.Any]) -> Nvidia:
        """Open a session with a module's options. Makes no call."""
        catalog = _catalog.load(options.get("nim_catalog") or {})
        settings = NvidiaSettings.from_options(options)
        return cls(NvidiaSession(options), settings, catalog, options.get("hosted_nodes") or ())

    # ---- look ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Do nothing: what an earlier run has started is waited for where it stands in the way."""

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read all functions in one call, each deployment in one more, and the key where there are hosted models."""
        self._functions = self._read_functions(names)
        deployments = self._read_deployments(self._functions)
        resources: dict[Key, Resource] = {}
        statuses: dict[str, Status] = {}
        for name, found in self._functions.items():
            deployment = deployments.get(name)
            for item in self._resources_of(found, deployment):
                resources[item.key] = item
            if found.current.managed:
                statuses[name] = objects.status(found, deployment)
        hosted = self._hosted.statuses([*self._registered, *names])
        for name in hosted:
            resources[HOSTED, name] = Resource(HOSTED, name, {}, name, managed=False)
        return Snapshot(resources, {**statuses, **hosted})

    def _read_functions(self, names: t.Sequence[str]) -> dict[str, objects.Function]:
        if not self.settings.cloud_functions:
            return {}
        answer = self.session.call("list the functions", "GET", "/functions", query="visibility=private")
        return objects.functions(answer, names)

    def _read_deployments(self, found: t.Mapping[str, objects.Function]) -> dict[str, Json]:
        deployed = {name: function.deployed for name, function in found.items() if function.deployed is not None}
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            answers = list(pool.map(self._read_deployment, deployed.values()))
        return {name: answer for name, answer in zip(deployed, answers) if answer is not None}

    def _read_deployment(self, version: objects.Version) -> Json | None:
        answer = self.session.call(
            f"read the deployment of {version.name}", "GET", _deployment_path(version), missing=True
        )
        return answer["deployment"] if answer else None

    def _resources_of(self, found: objects.Function, deployment: Json | None) -> list[Resource]:
        current = found.current
        spec = {
            "image": current.image,
            "content": current.facts.get("CONTENT"),
            "keys": current.keys,
            "leftovers": [version.version_id for version in found.leftovers],
        }
        function = Resource(
            objects.FUNCTION, current.name, spec, current.name, {"function": found}, managed=current.managed
        )
        if found.deployed is None or deployment is None:
            return [function]
        return [
            function,
            Resource(
                objects.DEPLOYMENT,
                current.name,
                objects.read_deployment(deployment, found.deployed),
                current.name,
                {"ids": objects.deployment_ids(deployment), "version": found.deployed},
                managed=current.managed,
            ),
        ]

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, Status]:
        """Read the state of NIMs: one call, one more for each that is deployed, and one for the key."""
        self._functions = self._read_functions(names or ())
        found = {
            name: function
            for name, function in self._functions.items()
            if function.current.managed and (names is None or name in names)
        }
        deployments = self._read_deployments(found)
        own = {name: objects.status(function, deployments.get(name)) for name, function in found.items()}
        return {**own, **self._hosted.statuses(self._registered if names is None else names)}

    def progress(self, names: t.Sequence[str]) -> dict[str, Status]:
        """Read how far functions are: one call for any number, and at most one more.

        The list tells all but why one has failed, and whether a function that is up and shows no instances keeps any.
        That is read for one function at a time; of the others nothing new is known until the next look.
        """
        found = self._read_functions(names)
        chosen = {name: item for name, item in found.items() if item.current.managed and name in names}
        unclear = [name for name, item in chosen.items() if item.deployed is not None and item.deployed.hides_instances]
        deployments = self._read_deployments({name: chosen[name] for name in unclear[:1]})
        own = {name: objects.status(item, deployments.get(name)) for name, item in chosen.items()}
        waiting = {name: dataclasses.replace(own[name], state="starting", reason=None) for name in unclear[1:]}
        return {**own, **waiting, **self._hosted.statuses(names)}

    # ---- translate -----------------------------------------------------------------------------------------------

    def resources(self, wanted: t.Sequence[Wanted], seen: Snapshot) -> list[Resource]:
        """Return functions and deployments. Raises ValueError with everything that NVIDIA would refuse."""
        found: list[Resource] = []
        problems: list[str] = []
        for item in sorted(wanted, key=lambda item: item.name):
            try:
                found += self._nim_resources(item, seen)
            except ValueError as exc:
                problems.append(str(exc))
        if problems:
            raise ValueError("\n".join(problems))
        return found

    def _nim_resources(self, item: Wanted, seen: Snapshot) -> list[Resource]:
        if item.gpu_tier == HOSTED_TIER:
            return [Resource(HOSTED, item.name, {}, item.name)]
        if not self.settings.cloud_functions:
            raise ValueError(f"{item.name} would be a function, and cloud_functions is false; leave gpu_tier out")
        spec = objects.function_spec(self.settings, item)
        facts = {"wanted": item}
        function = Resource(objects.FUNCTION, item.name, spec, item.name, facts)
        deployment = seen.resources.get((objects.DEPLOYMENT, item.name))
        if not item.start and deployment is None and not self.settings.scales_to_zero:
            return [function]
        have = seen.resources.get(function.key)
        version: t.Any = UNKNOWN
        if have is not None and not self._needs_version(spec, have):
            version = have.facts["function"].current.version_id
        left = deployment.spec["min_instances"] if deployment else 0
        least = item.replicas if item.start else left
        wanted_deployment = objects.deployment_spec(self.settings, item, version, least)
        return [function, Resource(objects.DEPLOYMENT, item.name, wanted_deployment, item.name, facts)]

    def foreseen(self, item: Wanted) -> t.Mapping[str, t.Any]:
        """Return where the image lies in the organisation's own registry; a hosted model has none."""
        image = item.image if item.gpu_tier == HOSTED_TIER else objects.own_image(self.settings, item)
        return {"image": image, "auth": AUTH}

    def _needs_version(self, spec: Json, have: Resource) -> bool:
        """Say whether a function can only be brought to its specification by a new version."""
        other_keys = "keys" in spec and spec["keys"] != have.spec["keys"]
        changes_keys = other_keys and self.settings.key_delivery == "environment"
        return spec["content"] != have.spec["content"] or changes_keys

    def stop_resource(self, status: Status) -> Resource:
        """Return what switches a NIM off: no deployment, or a deployment that keeps no instance up."""
        if status.gpu_tier == HOSTED_TIER:
            return Resource(HOSTED, status.name, {}, status.name)
        switch = {"min_instances": 0} if self.settings.scales_to_zero else {"deployed": False}
        return Resource(objects.DEPLOYMENT, status.name, switch, status.name)

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        """Look at keys, images and instance types before anything is changed."""
        problems: list[str] = []
        for item in wanted:
            status = seen.statuses.get(item.name)
            if item.gpu_tier == HOSTED_TIER and status is not None and status.state == "failed":
                problems.append(f"{item.node}: {status.reason}")
        by_name = {item.name: item for item in wanted}
        versions = [by_name[step.name] for step in steps if step.name in by_name and self._makes_version(step)]
        if versions and self.settings.ngc_api_key is None:
            problems.append("ngc_api_key is not set; every new version of a function is given its keys anew")
        else:
            problems += missing_keys(versions, self.settings.ngc_api_key, self.settings.hf_token, stored=None)
        for item in versions:
            problems += self._image_problems(item)
        problems += self._instance_problems(
            [by_name[step.name] for step in steps if step.name in by_name and _makes_deployment(step)]
        )
        if problems:
            # One key serves all hosted models, so they share its problem.
            raise ProviderError("\n".join(dict.fromkeys(problems)))

    def _makes_version(self, step: Step) -> bool:
        if step.kind != objects.FUNCTION or step.want is None:
            return False
        return step.have is None or self._needs_version(step.want.spec, step.have)

    def _image_problems(self, item: Wanted) -> list[str]:
        """Look whether the image was copied to the organisation's registry. Only that of NGC can be asked."""
        image = objects.own_image(self.settings, item)
        # The answer lists tags without their digests, so of a digest only the repository can be looked for.
        named, at_sign, _digest = image.partition("@")
        path, _colon, tag = (named, "", "") if at_sign else named.rpartition(":")
        host, _slash, place = path.partition("/")
        parts = place.split("/")
        if host != "nvcr.io" or not 2 <= len(parts) <= 3:
            return []
        team = f"/team/{parts[1]}" if len(parts) == 3 else ""
        url = f"{self.session.endpoint}/v2/org/{parts[0]}{team}/repos/{urllib.parse.quote(parts[-1])}"
        try:
            found = self.session.fetch(f"look for {image}", "GET", f"{url}?resolve-labels=true", missing=True)
        except NvidiaError as exc:
            if exc.status == 403:
                return []  # The key may run functions and not list images: NVIDIA then looks itself.
            raise
        tags = [item if isinstance(item, str) else item.get("name") for item in (found or {}).get("tags") or []]
        if found is not None and (at_sign or not tags or tag in tags):
            return []
        lacks = f"there is no {image}" if found is None else f"{path} has no tag {tag} (it has {', '.join(tags)})"
        return [f"{item.node}: {lacks}. Copy it: {objects.copy_commands(item, image)}"]

    def _instance_problems(self, items: t.Sequence[Wanted]) -> list[str]:
        problems = []
        for item in items:
            try:
                objects.choose(self.settings, item, self._offered())
            except ValueError as exc:
                problems.append(str(exc))
        return problems

    def _offered(self) -> list[objects.Offer] | None:
        """Ask once which instance types there are; None where the key may not."""
        if not self._offers:
            try:
                answer = self.session.call("list the instance types", "GET", "/clusterGroups")
                self._offers.append(objects.offers(answer))
            except NvidiaError as exc:
                if exc.status != 403:
                    raise
                self._offers.append(None)
        return self._offers[0]

    def rehearse(self, step: Step) -> None:
        """Do nothing: NVIDIA has no dry run."""

    # ---- change --------------------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        actions: dict[tuple[str, str], t.Callable[[Step], None]] = {
            ("create", objects.FUNCTION): self._create_function,
            ("update", objects.FUNCTION): self._update_function,
            ("delete", objects.FUNCTION): self._delete_function,
            ("create", objects.DEPLOYMENT): self._create_deployment,
            ("update", objects.DEPLOYMENT): self._update_deployment,
            ("delete", objects.DEPLOYMENT): self._delete_deployment,
        }
        actions[step.action, step.kind](step)

    def _create_function(self, step: Step) -> None:
        """Make the function, and look whether another run made one of that name at the same moment."""
        item = _item(step)
        body = objects.with_keys(self.settings, item, objects.function_body(self.settings, item))
        answer = self.session.call(f"create the function {item.name}", "POST", "/functions", body)
        made = objects.Version.read(answer["function"])
        found = self._read_functions([item.name]).get(item.name)
        if found is None:
            raise ConflictError(f"the function {item.name} is gone again right after it was created")
        if found.current.function_id != made.function_id:
            self._delete_version(made)
            raise ConflictError(f"another run has created the function {item.name} at the same time")
        self._functions[item.name] = found

    def _update_function(self, step: Step) -> None:
        """Make a new version where one is needed, change the keys of the old one otherwise, and remove leftovers."""
        item, found = _item(step), _found(step)
        if step.want is not None and step.have is not None and self._needs_version(step.want.spec, step.have):
            self._create_version(item, found)
            if found.deployed is not found.current:
                self._delete_version(found.current)
        elif step.changes_field("keys"):
            where = _version_path(found.current)
            doing = f"change the keys of the function {item.name}"
            self.session.call(doing, "PUT", f"/secrets{where}", objects.secrets_body(self.settings, item))
            self.session.call(doing, "PUT", f"/metadata{where}", {"tags": objects.tags(self.settings, item)})
        for version in found.leftovers:
            self._delete_version(version)

    def _create_version(self, item: Wanted, found: objects.Function) -> None:
        body = objects.with_keys(self.settings, item, objects.function_body(self.settings, item))
        doing = f"create a version of the function {item.name}"
        answer = self.session.call(doing, "POST", f"/functions/{found.current.function_id}/versions", body)
        made = objects.Version.read(answer["function"])
        self._functions[item.name] = objects.Function(made, found.deployed, ())

    def _delete_function(self, step: Step) -> None:
        found = _found(step)
        versions = [found.current, *([found.deployed] if found.deployed else []), *found.leftovers]
        for version in dict.fromkeys(item.version_id for item in versions):
            self._delete_version(next(item for item in versions if item.version_id == version))
        self._functions.pop(step.name, None)

    def _delete_version(self, version: objects.Version) -> None:
        doing = f"delete a version of the function {version.name}"
        self.session.call(doing, "DELETE", f"/functions{_version_part(version)}", missing=True)

    def _create_deployment(self, step: Step) -> None:
        self._deploy(step, self._functions[step.name].current)

    def _update_deployment(self, step: Step) -> None:
        """Scale in place where that is possible; for all else take the deployment down and make another one."""
        have = step.have.facts if step.have is not None else {}
        if step.changes_field("deployed"):
            self._undeploy(have["version"])
        elif any(step.changes_field(field) for field in objects.REPLACING_FIELDS):
            current = self._functions[step.name].current
            self._undeploy(have["version"])
            self._wait_until_gone(have["version"])
            self._deploy(step, current)
            if have["version"].version_id != current.version_id:
                self._delete_version(have["version"])
        else:
            self._scale(step, have["ids"])

    def _delete_deployment(self, step: Step) -> None:
        if step.have is not None:
            self._undeploy(step.have.facts["version"])

    def _scale(self, step: Step, ids: tuple[str, str]) -> None:
        want = step.want.spec if step.want is not None else {}
        fields = {"min_instances": "minInstances", "max_instances": "maxInstances"}
        body = {fields[change.path]: want[change.path] for change in step.changes if change.path in fields}
        path = f"/deployments/{ids[0]}/gpu-specifications/{ids[1]}"
        if self.session.call(f"scale {step.name}", "PATCH", path, body, missing=True) is None:
            raise ConflictError(f"the deployment of {step.name} has gone meanwhile")

    def _undeploy(self, version: objects.Version) -> None:
        """Let requests that are under way finish, and give the GPUs back."""
        doing = f"undeploy {version.name}"
        self.session.call(doing, "DELETE", _deployment_path(version), missing=True, query="graceful=true")

    def _wait_until_gone(self, version: objects.Version) -> None:
        for _pause in self.session.pauses(f"undeploy {version.name}", UNDEPLOY_SECONDS):
            if self._read_deployment(version) is None:
                return

    def _deploy(self, step: Step, version: objects.Version) -> None:
        """Deploy a version, after an undeployment that still goes on has ended."""
        item = _item(step)
        spec = step.want.spec if step.want is not None else {}
        try:
            body = objects.deployment_body(spec, objects.choose(self.settings, item, self._offered()))
        except ValueError as exc:
            raise ProviderError(str(exc)) from exc
        try:
            self._post_deployment(version, body)
        except NvidiaError as exc:
            if exc.status != 400:
                raise
            there = self._read_deployment(version)
            if there is None:
                raise
            if there.get("functionStatus") != "INACTIVE":
                # A second deployment is refused; this one has to be changed.
                raise ConflictError(f"another run has deployed {item.name} meanwhile") from exc
            self._wait_until_gone(version)
            self._post_deployment(version, body)

    def _post_deployment(self, version: objects.Version, body: Json) -> None:
        self.session.call(f"deploy {version.name}", "POST", _deployment_path(version), body)


def _version_part(version: objects.Version) -> str:
    return f"/{version.function_id}/versions/{version.version_id}"


def _version_path(version: objects.Version) -> str:
    return f"/functions{_version_part(version)}"


def _deployment_path(version: objects.Version) -> str:
    return f"/deployments{_version_path(version)}"


def _makes_deployment(step: Step) -> bool:
    """Say whether a step needs an instance type."""
    if step.kind != objects.DEPLOYMENT or step.want is None:
        return False
    return step.action == "create" or any(step.changes_field(field) for field in objects.REPLACING_FIELDS)


def _item(step: Step) -> Wanted:
    if step.want is None:
        raise ValueError(f"{step.describe()} does not say what is wanted")
    item: Wanted = step.want.facts["wanted"]
    return item


def _found(step: Step) -> objects.Function:
    if step.have is None:
        raise ValueError(f"{step.describe()} does not say what is there")
    found: objects.Function = step.have.facts["function"]
    return found
