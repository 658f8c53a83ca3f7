# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How a Docker host is to be set up, and what one call asks of it."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _gateway
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    SECRET_VARIABLES,
    Selection,
    Wanted,
    resolve_all,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._exposure import endpoint_host_problem
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

NVIDIA_REGISTRY = "nvcr.io"
NVIDIA_USER = "$oauthtoken"
"""The user name of every NGC key; it is this text as it stands."""

NGC_KEY, HF_KEY = SECRET_VARIABLES

_REGISTRY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[a-z0-9._/-]+)?$")
_USER = re.compile(r"^[1-9]\d*(:\d+)?$")
_HIGHEST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class DockerSettings:
    """How NIMs are to be set up on a Docker host. Raises ValueError with everything that is wrong."""

    bind_address: str = "127.0.0.1"
    allow_public: bool = False
    endpoint_host: str | None = None
    first_port: int = 8000
    ports: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    registry: str | None = None
    registry_username: str | None = None
    registry_password: str | None = dataclasses.field(default=None, repr=False)
    ngc_api_key: str | None = dataclasses.field(default=None, repr=False)
    hf_token: str | None = dataclasses.field(default=None, repr=False)
    cache_path: str | None = None
    run_as: str = "1000"
    restart_policy: str = "unless-stopped"
    share_gpus: bool = False
    gateway: _gateway.Front = dataclasses.field(default_factory=_gateway.Front)
    gateway_image: str = _gateway.IMAGE
    gateway_port: int = 8443

    def __post_init__(self) -> None:
        problems = [*self._address_problems(), *self._port_problems(), *self._registry_problems()]
        if not _USER.match(self.run_as):
            problems.append(
                f"run_as is {self.run_as!r}; it must be the number of a user other than root, or of a user and a "
                "group such as 1000:1000. NIMs fail to load CUDA as root."
            )
        if self.cache_path is not None and (not self.cache_path.startswith("/") or self.cache_path.strip("/") == ""):
            problems.append(f"cache_path is {self.cache_path!r}; it must be an absolute path other than /")
        if problems:
            raise ValueError("\n".join(problems))

    def _address_problems(self) -> list[str]:
        problems = []
        try:
            address = ipaddress.ip_address(self.bind_address)
        except ValueError:
            problems.append(f"bind_address is {self.bind_address!r}; it must be an IP address of this host")
        else:
            if not (address.is_private or address.is_loopback) and not self.allow_public:
                problems.append(
                    f"bind_address is {self.bind_address}, which is not an address of a private network; a NIM has no "
                    "login, so name the host's address in the studio's network, or say allow_public: true"
                )
            elif address.is_unspecified and not self.allow_public:
                problems.append(
                    f"bind_address is {self.bind_address}, which opens the port on every network of the host; a NIM "
                    "has no login, so name one address, or say allow_public: true"
                )
            if address.is_unspecified and self.endpoint_host is None:
                problems.append(f"bind_address is {self.bind_address}; set endpoint_host to what workstations call it")
        problem = endpoint_host_problem(self.endpoint_host)
        return [*problems, *([problem] if problem else [])]

    def _port_problems(self) -> list[str]:
        named = {
            "first_port": self.first_port,
            "gateway_port": self.gateway_port,
            "the port after gateway_port": self.gateway_port + 1,
            **{f"ports[{node!r}]": port for node, port in self.ports.items()},
        }
        problems = [
            f"{option} is {port}; it must be between 1024 and {_HIGHEST_PORT}"
            for option, port in named.items()
            if not 1024 <= port <= _HIGHEST_PORT
        ]
        given = list(self.ports.values())
        twice = sorted({port for port in given if given.count(port) > 1})
        return problems + [f"ports: {port} is there twice" for port in twice]

    def _registry_problems(self) -> list[str]:
        problems = []
        if self.registry is not None and not _REGISTRY.match(self.registry):
            problems.append(
                f"registry is {self.registry!r}; it must be a host with or without port and path, without a scheme, "
                "for example registry.studio.example:5000"
            )
        if (self.registry_username is None) != (self.registry_password is None):
            problems.append("registry_username and registry_password go together; give both or none")
        if self.registry is None and self.registry_username is not None:
            problems.append("registry_username is for your own registry; NVIDIA's takes ngc_api_key")
        return problems

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> DockerSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in options.items() if key in fields and value not in (None, "")}
        for secret in ("ngc_api_key", "hf_token"):
            given[secret] = check_key(secret, given.get(secret))
        given["ports"] = _ports(given.get("ports") or {})
        given["gateway"] = _gateway.Front.from_options(options.get("gateway"), "docker-host")
        return cls(**given)

    @property
    def guarded(self) -> bool:
        """Whether a gateway stands before the NIMs, which then listen on the loopback address only."""
        return self.gateway.login or self.gateway.tls

    @property
    def nim_address(self) -> str:
        """The address of the host at which NIMs listen."""
        return "127.0.0.1" if self.guarded else self.bind_address

    @property
    def login_host(self) -> str:
        """The registry to log in to, without a path."""
        return (self.registry or NVIDIA_REGISTRY).partition("/")[0]

    def login(self, ngc_api_key: str | None) -> tuple[str, str] | None:
        """Return user and password for the registry; None where there is nothing to log in with."""
        if self.registry is None:
            return (NVIDIA_USER, ngc_api_key) if ngc_api_key else None
        if self.registry_username is None or self.registry_password is None:
            return None
        return (self.registry_username, self.registry_password)

    def image(self, reference: str) -> str:
        """Return where an image is pulled from: the studio's copy of NVIDIA's registry, if there is one.

        Images of other registries stay as they are.
        """
        host, _slash, path = reference.partition("/")
        if self.registry is None or host != NVIDIA_REGISTRY:
            return reference
        return f"{self.registry}/{path}"


def _ports(given: t.Mapping[str, t.Any]) -> dict[str, int]:
    """Return node to port. Raises ValueError for what is no number."""
    ports = {}
    for node, port in given.items():
        if isinstance(port, bool) or not str(port).isdigit():
            raise ValueError(f"ports[{node!r}] is {port!r}; it must be a port number")
        ports[str(node)] = int(port)
    return ports


@dataclasses.dataclass(frozen=True)
class Ask:
    """What one call asks of the host, as far as a decision of ours needs more than the NIMs themselves."""

    wanted: tuple[Wanted, ...] = ()
    selections: tuple[Selection, ...] = ()
    nodes: t.Mapping[str, _catalog.Node] = dataclasses.field(default_factory=dict)
    variants: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unchecked: frozenset[str] = frozenset()

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Ask:
        """Read the option ``deployments``. Raises ValueError with one line per mistake."""
        catalog = _catalog.load(options["nim_catalog"])
        wanted, selections = resolve_all(options["deployments"], "local", catalog)
        asked = [option for option in options["deployments"] if option["state"] in ("present", "started")]
        crowded = [item for item in wanted if item.replicas != 1]
        if crowded:
            raise ValueError(
                "\n".join(
                    f"{item.name}: replicas is {item.replicas}; on a Docker host a NIM is one container with one "
                    "address, so it must be 1"
                    for item in crowded
                )
            )
        return cls(
            wanted=tuple(wanted),
            selections=tuple(selections),
            nodes={item.name: catalog[item.node] for item in wanted},
            variants={item.name: tuple(option.get("variants") or ()) for item, option in zip(wanted, asked)},
            unchecked=frozenset(item.name for item, option in zip(wanted, asked) if option.get("skip_fit_check")),
        )
