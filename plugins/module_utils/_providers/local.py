# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""NIMs on one Docker engine, through the docker command of the host that this runs on.

Each NIM is a container with GPUs, a port and a volume of its own. Whether the container runs is the only switch.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import shutil
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.budgetguard.techops.plugins.module_utils import _deployment as d
from ansible_collections.budgetguard.techops.plugins.module_utils import _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import missing_keys
from ansible_collections.budgetguard.techops.plugins.module_utils._plan import Key, Kind, Resource, Step
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    ConflictError,
    Provider,
    ProviderError,
    Snapshot,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_containers as containers
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_gateway as gateways
from ansible_collections.budgetguard.techops.plugins.module_utils._providers import _docker_host as hosts
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_cli import DockerCli
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_containers import (
    CONTAINER,
    HOST,
    IMAGE,
    NEXT,
    VOLUME,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_gateway import GATEWAY
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._docker_settings import (
    HF_KEY,
    NGC_KEY,
    Ask,
    DockerSettings,
)

_GIB = 2**30
_PROBES = 8
_LOAD_PAUSE, _TRIES_PER_SIGNAL = 0.1, 50
_STOP_ALLOWANCE = containers.STOP_SECONDS + 60
_MANAGED = f"label={d.MANAGED_TAG}=true"

Info = t.Mapping[str, t.Any]


class Local(Provider):
    """One Docker engine with its NIMs."""

    kinds = (
        Kind(HOST, adoptable=True),
        Kind(IMAGE),
        Kind(VOLUME, per_nim=True, immutable=frozenset({"path"})),
        Kind(CONTAINER, per_nim=True),
        Kind(GATEWAY),
    )

    def __init__(self, cli: DockerCli, settings: DockerSettings, ask: Ask) -> None:
        self.cli = cli
        self.settings = settings
        self.ask = ask
        self._stored: dict[str, str] = {}
        cli.hide(settings.ngc_api_key, settings.hf_token, settings.registry_password, settings.gateway.private_key)

    @classmethod
    def connect(cls, cli: DockerCli, options: t.Mapping[str, t.Any]) -> Local:
        """Take a module's options. Raises ValueError for options that cannot be."""
        if not str(options["docker_host"]).startswith("unix:///"):
            raise ValueError(
                f"docker_host is {options['docker_host']!r}; it must be the engine's socket on this host, such as "
                "unix:///var/run/docker.sock, because GPUs and ports are looked at on this host, too"
            )
        ask = Ask.from_options(options) if options.get("deployments") is not None else Ask()
        return cls(cli, DockerSettings.from_options(options), ask)

    # ---- look ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Finish what a run has left that ended after it removed a container and before the new one had its name."""
        found = self._containers(managed_only=True)
        names = {_name(info) for info in found}
        for info in found:
            name = _deployment_of(info)
            if name and _name(info) == f"{name}{NEXT}" and name not in names:
                self._take_place(name, start=_label(info, containers.START_LABEL) == "true")

    def observe(self, names: t.Sequence[str]) -> Snapshot:
        """Read the engine, its GPUs and all its containers: a handful of calls, however many NIMs there are."""
        engine = self.cli.info()
        found = self._containers()
        ours = [info for info in found if _is_ours(info)]
        self._remember_keys(ours)
        gpus, gpu_problem = hosts.measure_gpus(self.cli.run_command)
        host = hosts.Host(
            name=str(engine.get("Name") or "this host"),
            memory_gib=round(int(engine.get("MemTotal") or 0) / _GIB),
            cpus=int(engine.get("NCPU") or 0),
            gpus=gpus,
            gpu_problem=gpu_problem,
        )
        others = [info for info in found if not _is_ours(info) and not _replaces(info)]
        host = _with_users(host, others)
        shown = [*ours, *(info for info in others if _name(info) in names)]
        resources = [
            Resource(HOST, host.name, {}, facts={"host": host}, managed=False),
            *(containers.resource(info, self.settings, host.gpu_id) for info in shown),
            *self._volumes([containers.volume_name(name) for name in names]),
            *self._images(ours),
            *self._gateways(found),
        ]
        statuses = self._statuses_of(ours, found, explain=False)
        return Snapshot({item.key: item for item in resources}, statuses, self._warnings(engine, ours))

    @staticmethod
    def _gateways(found: t.Iterable[Info]) -> list[Resource]:
        return [gateways.resource(info) for info in found if _name(info) == gateways.NAME]

    @staticmethod
    def _behind_gateway(status: d.Status, found: t.Iterable[Info]) -> d.Status:
        """Return a status with the address of the gateway, if there is one before the NIM."""
        labels = next((info["Config"]["Labels"] for info in found if gateways.is_gateway(info)), None)
        if labels is None:
            return status
        endpoint = f"{labels[gateways.ENDPOINT_LABEL]}/{_path_name(status.name)}"
        return dataclasses.replace(status, endpoint=endpoint, auth=labels[gateways.AUTH_LABEL])

    def _containers(self, managed_only: bool = False) -> list[dict[str, t.Any]]:
        """Return Docker's descriptions of all containers, or of those with our label."""
        doing = "list the containers"
        words = ("--filter", _MANAGED) if managed_only else ()
        ids = self.cli.run(doing, "ps", "--all", "--quiet", "--no-trunc", *words).split()
        return self.cli.inspect(doing, "container", ids)

    def _remember_keys(self, ours: t.Iterable[Info]) -> None:
        for info in ours:
            self._stored.update(containers.keys_of(info))
        self.cli.hide(*self._stored.values())

    def _volumes(self, names: t.Sequence[str]) -> list[Resource]:
        doing = "list the volumes"
        ours = self.cli.run(doing, "volume", "ls", "--quiet", "--filter", _MANAGED).split()
        resources = []
        for info in self.cli.inspect(doing, "volume", sorted({*ours, *names})):
            labels = info.get("Labels") or {}
            spec = {"path": (info.get("Options") or {}).get("device", "")}
            managed = labels.get(d.MANAGED_TAG) == "true"
            resources.append(Resource(VOLUME, info["Name"], spec, labels.get(d.DEPLOYMENT_TAG), managed=managed))
        return resources

    def _images(self, ours: t.Iterable[Info]) -> list[Resource]:
        """Return the images that our containers have and that the wanted ones need, with who uses each."""
        users: dict[str, set[str]] = collections.defaultdict(set)
        for info in ours:
            users[_label(info, d.IMAGE_TAG)].add(_name(info))
        for item in self.ask.wanted:
            users[self.settings.image(item.image)].update(())
        found = self.cli.inspect("list the images", "image", sorted(name for name in users if name))
        return [
            Resource(IMAGE, name, {}, facts={"pinned": _pinned(name, info)}, users=frozenset(used_by))
            for name, used_by in users.items()
            for info in found
            if _is_image(name, info)
        ]

    def _warnings(self, engine: Info, ours: t.Iterable[Info]) -> tuple[str, ...]:
        """Tell if what is about to be downloaded may not fit on Docker's disk."""
        present = {_name(info) for info in ours}
        new = [item for item in self.ask.wanted if item.name not in present]
        root = pathlib.Path(self.settings.cache_path or engine.get("DockerRootDir") or "/")
        try:
            free = shutil.disk_usage(root).free // _GIB
        except OSError:
            return ()
        needed = sum(item.disk_gib for item in new)
        if needed <= free:
            return ()
        names = ", ".join(item.name for item in new)
        return (f"{root} has {free} GiB free, and {names} may take {needed} GiB with image and model",)

    # ---- translate -----------------------------------------------------------------------------------------------

    def resources(self, wanted: t.Sequence[d.Wanted], seen: Snapshot) -> list[Resource]:
        """Return image, volume and container of each NIM. Raises PlanError for NIMs that the host has no room for."""
        host = _host(seen)
        hosts.check_fit(host, wanted, self.ask.nodes, self.ask.variants, self.ask.unchecked)
        there = {item.name: item for item in seen.resources.values() if item.kind == CONTAINER and item.managed}
        staying = {name: item for name, item in there.items() if not self._is_leaving(seen, name)}
        gpus = hosts.hand_out_gpus(
            host,
            wanted,
            {name: item.spec["gpus"] for name, item in staying.items()},
            self.settings.share_gpus,
            self.ask.unchecked,
        )
        held = {name: _port(item) for name, item in staying.items()}
        known = {name: port for name, port in held.items() if port is not None}
        fixed = self._fixed_ports()
        ports = hosts.hand_out_ports(wanted, known, host.busy_ports, self.settings.first_port, fixed)
        resources = [self._image(wanted, name) for name in sorted({self.settings.image(i.image) for i in wanted})]
        for item in wanted:
            have = there[item.name].spec if item.name in there else None
            spec = containers.spec(item, self.settings, gpus[item.name], ports[item.name], have)
            volume = containers.volume_name(item.name)
            path = str(pathlib.Path(self.settings.cache_path) / volume) if self.settings.cache_path else ""
            resources.append(Resource(VOLUME, volume, {"path": path}, item.name))
            resources.append(Resource(CONTAINER, item.name, spec, item.name))
        if self.settings.guarded:
            routes = {**_routes(staying.values()), **_routes(item for item in resources if item.kind == CONTAINER)}
            resources.append(self._gateway(routes))
        return resources

    def _gateway(self, routes: gateways.Routes) -> Resource:
        return Resource(GATEWAY, gateways.NAME, gateways.spec(self.settings, routes), facts={"routes": routes})

    def gateway_resources(self, seen: Snapshot) -> list[Resource]:
        """Return the gateway, if it is there."""
        if (GATEWAY, gateways.NAME) not in seen.resources or not self.settings.guarded:
            return []
        routes = _routes(item for item in seen.resources.values() if item.kind == CONTAINER and item.managed)
        return [self._gateway(routes)] if routes else []

    def _image(self, wanted: t.Sequence[d.Wanted], name: str) -> Resource:
        users = frozenset(item.name for item in wanted if self.settings.image(item.image) == name)
        return Resource(IMAGE, name, {}, users=users)

    def _is_leaving(self, seen: Snapshot, name: str) -> bool:
        """Say whether this call removes a NIM, so that what it holds is free."""
        status = seen.statuses.get(name)
        gone = [item for item in self.ask.selections if item.state == "absent"]
        return status is not None and any(item.matches(status) for item in gone)

    def _fixed_ports(self) -> dict[str, int]:
        """Return node to port, with the catalogue's names. Raises ValueError for a node that is not wanted here."""
        known = {"".join(filter(str.isalnum, item.node.lower())): item.node for item in self.ask.wanted}
        given = self.settings.ports.items()
        slugs = {"".join(filter(str.isalnum, name.lower())): port for name, port in given}
        return {known[slug]: port for slug, port in slugs.items() if slug in known}

    def foreseen(self, item: d.Wanted) -> t.Mapping[str, t.Any]:
        """Return where the image is pulled from: the studio's own registry, if there is one."""
        return {
            "image": self.settings.image(item.image),
            "auth": _gateway.AUTH if self.settings.gateway.login else "none",
        }

    def stop_resource(self, status: d.Status) -> Resource:
        """Return the container, stopped."""
        return Resource(CONTAINER, status.name, {"running": False}, status.name)

    # ---- before the first change ---------------------------------------------------------------------------------

    def preflight(self, wanted: t.Sequence[d.Wanted], steps: t.Sequence[Step], seen: Snapshot) -> None:
        """Look for the keys, log in to the registry if anything is to be pulled, and see that no GPU is used twice."""
        problems = _used_twice(steps, seen)
        if self.settings.registry is None:
            # With a registry of the studio's own the models may be in the cache, too: then no key is needed.
            problems += missing_keys(wanted, self._key(NGC_KEY), self._key(HF_KEY), None)
        gateway = seen.resources.get((GATEWAY, gateways.NAME))
        if wanted and gateway is not None and gateway.spec["auth"] == _gateway.AUTH and not self.settings.gateway.login:
            problems.append(_gateway.would_open("this host", f"docker rm --force {gateways.NAME}"))
        if problems:
            raise ProviderError("\n".join(problems))
        login = self.settings.login(self._key(NGC_KEY))
        if login is not None and any(step.kind == IMAGE and step.action == "create" for step in steps):
            self.cli.login(self.settings.login_host, *login)

    def _key(self, name: str) -> str | None:
        given = {NGC_KEY: self.settings.ngc_api_key, HF_KEY: self.settings.hf_token}
        return given[name] or self._stored.get(name)

    def rehearse(self, step: Step) -> None:
        """Ask the registry for an image that would be pulled."""
        if (step.action, step.kind) == ("create", IMAGE):
            self.cli.check_pullable(step.name)

    # ---- change --------------------------------------------------------------------------------------------------

    def apply(self, step: Step) -> None:
        """Carry out one step."""
        actions: dict[Key, t.Callable[[Step], None]] = {
            ("create", IMAGE): self._pull,
            ("delete", IMAGE): self._remove_image,
            ("create", VOLUME): self._create_volume,
            ("delete", VOLUME): self._remove_volume,
            ("create", CONTAINER): self._create_container,
            ("update", CONTAINER): self._update_container,
            ("delete", CONTAINER): self._remove_container,
            ("create", GATEWAY): self._create_gateway,
            ("update", GATEWAY): self._update_gateway,
            ("delete", GATEWAY): self._remove_gateway,
        }
        actions[step.action, step.kind](step)

    def _pull(self, step: Step) -> None:
        self.cli.pull(step.name)

    def _remove_image(self, step: Step) -> None:
        self._forget_image(step.name)

    def _forget_image(self, name: str) -> None:
        """Give the disk space back, unless something else uses the image."""
        try:
            self.cli.run(f"remove the image {name}", "image", "rm", name)
        except ProviderError as exc:
            if not any(mark in str(exc) for mark in ("No such image", "is being used by", "is using its referenced")):
                raise

    def _create_volume(self, step: Step) -> None:
        spec = _wanted(step)
        words = [f"--label={d.MANAGED_TAG}=true", f"--label={d.DEPLOYMENT_TAG}={step.deployment}"]
        if spec["path"]:
            _make_folder(spec["path"])
            words += ["--driver=local", "--opt=type=none", "--opt=o=bind", f"--opt=device={spec['path']}"]
        self.cli.run(f"create the volume {step.name}", "volume", "create", *words, step.name)

    def _remove_volume(self, step: Step) -> None:
        self.cli.run(f"remove the volume {step.name}", "volume", "rm", "--force", step.name)
        path = step.have.spec["path"] if step.have else ""
        # Docker leaves a folder that a volume only points to. Only one that was made for this volume goes.
        if path and pathlib.Path(path).name == step.name:
            _remove_folder(path)

    def _create_container(self, step: Step) -> None:
        spec = _wanted(step)
        start = bool(spec.get("running"))
        self._create(step.name, step.name, spec, {}, start)
        if start:
            self._start(step.name)

    def _create(self, name: str, deployment: str, spec: Info, old_keys: t.Mapping[str, str], start: bool) -> None:
        """Create a container, without starting it."""
        doing = f"create the container {name}"
        pinned = self._pinned_image(doing, spec["image"])
        self._open_cache(spec, pinned)
        names = {NGC_KEY, *(set(spec["keys"]) | set(old_keys)) & {HF_KEY}}
        keys = {key: self._given(key) or old_keys.get(key) or self._stored.get(key) for key in names}
        found = {key: value for key, value in keys.items() if value}
        words = containers.create_words(name, deployment, spec, pinned, found, start)
        self.cli.run(doing, *words, variables=found)
        self._yield_to_older(name, deployment)

    def _given(self, key: str) -> str | None:
        return self.settings.ngc_api_key if key == NGC_KEY else self.settings.hf_token

    def _pinned_image(self, doing: str, image: str) -> str:
        found = [info for info in self.cli.inspect(doing, "image", [image]) if _is_image(image, info)]
        if not found:
            raise ConflictError(f"{doing}: its image {image} was just removed")
        return _pinned(image, found[0])

    def _open_cache(self, spec: Info, image: str) -> None:
        """Give the volume to the NIM's user: a new one belongs to root, and a NIM does not run as root."""
        owner = spec["user"] if ":" in spec["user"] else f"{spec['user']}:0"
        self.cli.run(
            f"give the volume {spec['cache']} to user {spec['user']}",
            *("run", "--rm", "--pull=never", "--network=none", "--user=0:0", "--entrypoint=chown"),
            containers.cache_mount(spec["cache"]),
            *(image, owner, containers.CACHE),
        )

    def _yield_to_older(self, name: str, deployment: str) -> None:
        """Step back if another run has meanwhile given the same GPU or port to another NIM."""
        found = [info for info in self._containers(managed_only=True) if _deployment_of(info)]
        mine = next((info for info in found if _name(info) == name), None)
        if mine is None:
            raise ConflictError(f"create the container {name}: it was removed by somebody else")
        for info in found:
            is_older = (info["Created"], info["Id"]) < (mine["Created"], mine["Id"])
            if _deployment_of(info) != deployment and is_older and self._collide(info, mine):
                self.cli.run(f"remove the container {name}", "rm", "--force", name)
                raise ConflictError(f"another run has just given the GPU or port of {deployment} to {_name(info)}")

    def _collide(self, one: Info, other: Info) -> bool:
        gpus = set(containers.reserved_gpus(one)) & set(containers.reserved_gpus(other))
        return bool(gpus and not self.settings.share_gpus) or containers.address(one) == containers.address(other)

    def _update_container(self, step: Step) -> None:
        spec = _wanted(step)
        fields = {change.path.partition(".")[0] for change in step.changes}
        if not fields <= {"running", "restart"}:
            self._replace(step)
            return
        if "restart" in fields:
            doing = f"change the restart policy of {step.name}"
            self.cli.run(doing, "update", f"--restart={spec['restart']}", step.name)
        if "running" in fields and spec["running"]:
            self._start(step.name)
        elif "running" in fields:
            self._stop(step.name)

    def _replace(self, step: Step) -> None:
        """Put a new container in the place of the old one, which stays until the new one is made."""
        have = step.have
        if have is None:
            raise ValueError(f"{step.describe()} does not say what is there")
        spec, name = _wanted(step), f"{step.name}{NEXT}"
        start = bool(spec.get("running") or have.spec["running"])
        self.cli.run(f"remove the container {name}", "rm", "--force", name)
        self._create(name, step.name, spec, containers.keys_of(have.facts["info"]), start)
        self._remove_container(step)
        self._take_place(step.name, start)
        if have.spec["image"] != spec["image"]:
            self._forget_image(have.spec["image"])

    def _take_place(self, name: str, start: bool) -> None:
        self.cli.run(f"rename the container {name}{NEXT}", "rename", f"{name}{NEXT}", name)
        if start:
            self._start(name)

    # ---- the gateway ---------------------------------------------------------------------------------------------

    def _create_gateway(self, step: Step) -> None:
        doing = "create the gateway"
        self.cli.run(doing, "volume", "create", f"--label={d.MANAGED_TAG}=true", gateways.VOLUME)
        seconds = self.settings.gateway.limits.request_seconds
        self.cli.run(doing, *gateways.create_words(_wanted(step), seconds), seconds=None)
        self._write_files(step)
        self._start(gateways.NAME)
        self._wait_until_loaded(step, reload=False)

    def _update_gateway(self, step: Step) -> None:
        """Load other files while it runs; everything else needs another container."""
        changed = {change.path for change in step.changes}
        if not changed <= {"files", "running"}:
            self.cli.run("remove the gateway", "rm", "--force", gateways.NAME)
            self._create_gateway(step)
            return
        self._write_files(step)
        if "running" in changed:
            self._start(gateways.NAME)
        self._wait_until_loaded(step, reload="running" not in changed)

    def _remove_gateway(self, step: Step) -> None:
        self.cli.run("remove the gateway", "rm", "--force", step.name)
        self.cli.run("remove the gateway's files", "volume", "rm", "--force", gateways.VOLUME)

    def _write_files(self, step: Step) -> None:
        routes = step.want.facts["routes"] if step.want else {}
        content = gateways.archive(gateways.files(self.settings, routes))
        self.cli.run("write the gateway's files", "cp", "-", f"{gateways.NAME}:{gateways.FOLDER}", given=content)

    def _wait_until_loaded(self, step: Step, reload: bool) -> None:
        """Wait until the gateway runs with its new files. A signal that comes while it loads others may get lost."""
        spec = _wanted(step)
        deadline, tries = time.monotonic() + gateways.LOADED_SECONDS, 0
        while gateways.loaded_mark(spec["address"]) != spec["files"]:
            if time.monotonic() >= deadline:
                said = self.cli.last_words(gateways.NAME)
                raise ProviderError(
                    f"the gateway did not load its files within {gateways.LOADED_SECONDS} s and goes on with those "
                    f"that it had{f'; its last words: {said}' if said else ''}"
                )
            if reload and tries % _TRIES_PER_SIGNAL == 0:
                self.cli.run("tell the gateway to load its files", "kill", "--signal=SIGUSR2", gateways.NAME)
            tries += 1
            time.sleep(_LOAD_PAUSE)

    def _start(self, name: str) -> None:
        self.cli.run(f"start the container {name}", "start", name)

    def _stop(self, name: str) -> None:
        self.cli.run(f"stop the container {name}", "stop", name, seconds=_STOP_ALLOWANCE)

    def _remove_container(self, step: Step) -> None:
        if step.have is not None and step.have.spec["running"]:
            self._stop(step.name)
        self.cli.run(f"remove the container {step.name}", "rm", "--force", step.name)

    # ---- report --------------------------------------------------------------------------------------------------

    def statuses(self, names: t.Sequence[str] | None = None, explain: bool = False) -> dict[str, d.Status]:
        """Read the state of our containers and ask those that run whether they are ready."""
        everything = self._containers(managed_only=True)
        found = [info for info in everything if _is_ours(info)]
        self._remember_keys(found)
        gateway = [info for info in everything if gateways.is_gateway(info)]
        asked = [info for info in found if names is None or _name(info) in names]
        return self._statuses_of(asked, gateway, explain)

    def _statuses_of(self, nims: t.Sequence[Info], gateway: t.Sequence[Info], explain: bool) -> dict[str, d.Status]:
        """Ask those that run whether they are ready. The gateway is among ``gateway``, if there is one."""
        with ThreadPoolExecutor(max_workers=_PROBES) as pool:
            told = list(pool.map(lambda info: self._status(info, explain), nims))
        return {status.name: self._behind_gateway(status, gateway) for status in told}

    def _status(self, info: Info, explain: bool) -> d.Status:
        ready = containers.is_on(info) and containers.answers(containers.address(info))
        status = containers.status(info, self.settings.endpoint_host, ready, None)
        if explain and (status.state == "failed" or (status.state == "starting" and info.get("RestartCount"))):
            return containers.status(info, self.settings.endpoint_host, ready, self.cli.last_words(info["Id"]))
        return status


# ---- reading Docker's descriptions -------------------------------------------------------------------------------


def _name(info: Info) -> str:
    return str(info["Name"]).lstrip("/")


def _label(info: Info, label: str) -> str:
    return str((info["Config"].get("Labels") or {}).get(label, ""))


def _deployment_of(info: Info) -> str:
    return _label(info, d.DEPLOYMENT_TAG)


def _is_ours(info: Info) -> bool:
    """Say whether the container is a NIM of ours, and not one that is about to take another one's place."""
    return _label(info, d.MANAGED_TAG) == "true" and _name(info) == _deployment_of(info)


def _replaces(info: Info) -> bool:
    return _label(info, d.MANAGED_TAG) == "true" and _name(info) == f"{_deployment_of(info)}{NEXT}"


def _with_users(host: hosts.Host, others: t.Iterable[Info]) -> hosts.Host:
    """Return the host with what containers and programs that are not ours use."""
    foreign: dict[str, str] = {}
    ports = set(hosts.measure_ports())
    for info in others:
        ports |= containers.published_ports(info)
        if containers.is_on(info):
            for text in containers.reserved_gpus(info):
                ids = [gpu.uuid for gpu in host.gpus] if text == "all" else [host.gpu_id(text)]
                foreign.update(dict.fromkeys(ids, f"the container {_name(info)}"))
    return hosts.Host(host.name, host.memory_gib, host.cpus, host.gpus, host.gpu_problem, foreign, frozenset(ports))


def _is_image(name: str, info: Info) -> bool:
    tagged, _at, digest = name.partition("@")
    if digest:
        repository = tagged.rpartition(":")[0] if ":" in tagged.rpartition("/")[2] else tagged
        return f"{repository}@{digest}" in (info.get("RepoDigests") or [])
    return name in (info.get("RepoTags") or [])


def _pinned(name: str, info: Info) -> str:
    """Return the image by its digest, so that a container keeps it whatever the tag means later.

    An image that was built or loaded on the host has no digest; it is named by its id.
    """
    tagged = name.partition("@")[0]
    repository = tagged.rpartition(":")[0] if ":" in tagged.rpartition("/")[2] else tagged
    digests = info.get("RepoDigests") or []
    return next((text for text in digests if text.startswith(f"{repository}@")), str(info["Id"]))


# ---- reading plans -----------------------------------------------------------------------------------------------


def _host(seen: Snapshot) -> hosts.Host:
    found: hosts.Host = next(item.facts["host"] for item in seen.resources.values() if item.kind == HOST)
    return found


def _path_name(deployment: str) -> str:
    return deployment[len("nim-") :] if deployment.startswith("nim-") else deployment


def _routes(found: t.Iterable[Resource]) -> dict[str, str]:
    """Return name in the path to address of the containers that listen on the loopback address."""
    addresses = {_path_name(item.name): str(item.spec["address"] or "") for item in found}
    return {name: address for name, address in addresses.items() if address.startswith(f"{gateways.LOOPBACK}:")}


def _port(item: Resource) -> int | None:
    port = str(item.spec["address"] or "").rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _wanted(step: Step) -> t.Mapping[str, t.Any]:
    if step.want is None:
        raise ValueError(f"{step.describe()} does not say what is wanted")
    return step.want.spec


def _used_twice(steps: t.Sequence[Step], seen: Snapshot) -> list[str]:
    """Name the GPUs that two NIMs would use at the same time; possible where NIMs may share them."""
    after = {item.name: dict(item.spec) for item in seen.resources.values() if item.kind == CONTAINER and item.managed}
    starts = False
    for step in (step for step in steps if step.kind == CONTAINER):
        if step.want is None:
            after.pop(step.name, None)
            continue
        after.setdefault(step.name, {}).update(step.want.spec)
        starts = starts or bool(step.want.spec.get("running"))
    users: dict[str, list[str]] = collections.defaultdict(list)
    for name, spec in sorted(after.items()):
        for gpu in spec.get("gpus", ()) if spec.get("running") else ():
            users[gpu].append(name)
    crowds = sorted({tuple(names) for names in users.values() if len(names) > 1})
    return [f"{' and '.join(names)} share a GPU; stop one before you start another" for names in crowds if starts]


def _make_folder(path: str) -> None:
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ProviderError(f"make the folder {path} of cache_path: {exc.strerror}") from exc


def _remove_folder(path: str) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ProviderError(f"remove the folder {path}: {exc.strerror}; it holds a NIM's model") from exc


__all__ = ("Local",)
