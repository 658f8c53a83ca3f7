# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""How an NVIDIA target is to be set up, and where its API is. No calls."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

ENDPOINT = "https://api.ngc.nvidia.com"
"""Management of functions, keys and private images. Source: NVIDIA/nvcf docs/ngc-managed/service-keys.md."""

AUTH = "bearer"
"""What endpoints at NVIDIA ask for: a key of the organisation."""

UNDEPLOY = "undeploy"
SCALE_TO_ZERO = "scale_to_zero"
"""What it means that a NIM is stopped."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_REGISTRY = re.compile(r"[a-z0-9.-]+\.[a-z]{2,}(?::[0-9]+)?(?:/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_LARGEST_CONCURRENCY = 16384


@dataclasses.dataclass(frozen=True)
class NvidiaSettings:
    """The settings of a target. Raises ValueError with everything that NVIDIA would refuse.

    ``cloud_functions`` False: only hosted models are used, and functions are not even looked for. ``max_instances``
    None: as many as should run. ``instance_types`` maps a GPU tier to the instance type to use.
    """

    org: str | None = None
    team: str | None = None
    cloud_functions: bool = True
    image_registry: str | None = None
    ngc_api_key: str | None = None
    hf_token: str | None = None
    key_delivery: str = "environment"
    stopped_means: str = UNDEPLOY
    max_instances: int | None = None
    max_request_concurrency: int = 1
    instance_types: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    hosted_check: str = "key"

    def __post_init__(self) -> None:
        problems = [*self._name_problems(), *self._size_problems()]
        if problems:
            raise ValueError("\n".join(problems))

    def _name_problems(self) -> t.Iterator[str]:
        for option, value in (("org", self.org), ("team", self.team)):
            if value is not None and not _NAME.fullmatch(value):
                yield f"{option} {value!r} is no name at NGC: letters, digits, hyphens and underscores only"
        if self.team and not self.org:
            yield "team is set and org is not; a team belongs to an organisation"
        if self.image_registry is not None and not _REGISTRY.fullmatch(self.image_registry):
            yield (
                f"image_registry {self.image_registry!r} is no place for images; "
                "give the registry and the organisation, such as nvcr.io/my-org"
            )

    def _size_problems(self) -> t.Iterator[str]:
        if self.max_instances is not None and self.max_instances < 1:
            yield f"max_instances is {self.max_instances}; it must be at least 1"
        if not 1 <= self.max_request_concurrency <= _LARGEST_CONCURRENCY:
            yield (
                f"max_request_concurrency is {self.max_request_concurrency}; NVIDIA takes 1 to {_LARGEST_CONCURRENCY}"
            )

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> NvidiaSettings:
        """Take the settings out of a module's options; what is not set keeps its default."""
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in options.items() if key in fields and value not in (None, "")}
        given["ngc_api_key"] = check_key("ngc_api_key", options.get("ngc_api_key"))
        given["hf_token"] = check_key("hf_token", options.get("hf_token"))
        for key in ("clusters", "regions"):
            given[key] = tuple(sorted(options.get(key) or ()))
        given["instance_types"] = {str(k).lower(): str(v) for k, v in (options.get("instance_types") or {}).items()}
        return cls(**given)

    @property
    def registry(self) -> str | None:
        """Where the organisation's own images lie, such as ``nvcr.io/my-org``. None where nobody has said it."""
        if self.image_registry:
            return self.image_registry
        if not self.org:
            return None
        return "/".join(["nvcr.io", self.org, *([self.team] if self.team else [])])

    @property
    def scales_to_zero(self) -> bool:
        """Whether a stopped NIM stays deployed with no instance, so that a request brings one up."""
        return self.stopped_means == SCALE_TO_ZERO


__all__ = ("AUTH", "ENDPOINT", "SCALE_TO_ZERO", "UNDEPLOY", "NvidiaSettings")
