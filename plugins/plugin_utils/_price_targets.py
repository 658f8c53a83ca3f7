# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""From the inventory to what is to be priced: targets, and the NIMs that they should have or do have."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal, InvalidOperation

from ansible.errors import AnsibleError

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _matrix, _pricing
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import (
    DeploymentsError,
    Wanted,
    resolve_all,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._azure_settings import region_name
from ansible_collections.budgetguard.techops.plugins.module_utils._providers._gcp_settings import GcpSettings
from ansible_collections.budgetguard.techops.plugins.plugin_utils._targets import PROVIDERS, describe

LOCAL = "local"

Variables = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Asked:
    """One NIM to price. ``nim`` is None, and ``why`` says so, where what it is made of cannot be told."""

    node: str
    name: str
    gpu_tier: str
    nim: _pricing.Nim | None
    why: str | None = None
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """A target of the inventory with its NIMs. ``connection`` is how it is reached, None where that is not right."""

    target: _pricing.Target
    nims: tuple[Asked, ...] = ()
    connection: t.Mapping[str, t.Any] | None = None
    error: str | None = None


def currency_problem(currency: str) -> str | None:
    """Say what is wrong with a currency; None if it can be one."""
    if len(currency) == 3 and currency.isascii() and currency.isupper():
        return None
    return f"currency is {currency!r}; it must be a code of three capitals, such as USD"


def place(name: str, task_vars: Variables, nodes: t.Any = None, found: t.Mapping[str, t.Any] | None = None) -> Place:
    """Describe a target. ``found`` is what nim_targets_info says about it; without that, the matrix counts."""
    described = describe(name, task_vars, {name: {"deployments": []}})
    provider = str(described.get("provider") or "")
    empty = _pricing.Target(name, provider, "", {})
    if described["error"] is not None:
        return Place(empty, error=str(described["error"]))
    try:
        variables = task_vars["hostvars"][name]
        options = dict(variables.get("nim_target") or {})
        catalog = _catalog.load(variables.get("nim_catalog") or {})
        wanted = _wanted(variables, name, task_vars.get("groups", {}), catalog, nodes, provider)
        hourly = _hourly(variables.get("local_hourly_usd"))
    except AnsibleError as exc:
        return Place(empty, error=f"its variables cannot be resolved: {exc}")
    except ValueError as exc:
        return Place(empty, error=str(exc))
    target = _pricing.Target(
        name,
        provider,
        _region(provider, options, found),
        options,
        gateway=bool(variables.get("nim_gateway_studio")),
        local_hourly=hourly,
    )
    if found is not None and found.get("read"):
        nims = _deployed(target, found, wanted, catalog)
    else:
        nims = [_asked(target, option, catalog) for option in wanted]
    return Place(target, tuple(nims), described.get("options") if provider in PROVIDERS else None)


def _wanted(
    variables: Variables,
    name: str,
    groups: t.Mapping[str, t.Sequence[str]],
    catalog: t.Mapping[str, _catalog.Node],
    nodes: t.Any,
    provider: str,
) -> list[dict[str, t.Any]]:
    fixed = None
    if provider == LOCAL and isinstance(variables.get("nim_target"), t.Mapping):
        fixed = variables["nim_target"].get("gpu_tier")
    wanted = _matrix.select(variables.get("nim_matrix"), name, groups, catalog, nodes, None, fixed).wanted
    return [option for option in wanted if option["state"] != "absent"]


def _hourly(value: t.Any) -> Decimal | None:
    """Read the studio's own figure. Raises ValueError."""
    if value is None or value == "":
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal(-1)
    if isinstance(value, bool) or not found.is_finite() or found < 0:
        raise ValueError(f"local_hourly_usd is {value!r}; it must be a number of US dollars, such as 0.35")
    return found


def _region(provider: str, options: Variables, found: t.Mapping[str, t.Any] | None) -> str:
    """Return the region as the price APIs call it, '' where nobody says it."""
    if provider == "gcp":
        location = str(options.get("location") or "")
        return location.rpartition("-")[0] if location.count("-") == 2 else location
    said = options.get("region") or (found or {}).get("region")
    if not said:
        said = next((item["region"] for item in (found or {}).get("deployments") or () if item.get("region")), "")
    return region_name(str(said)) if provider == "azure" else str(said)


def _asked(target: _pricing.Target, option: Variables, catalog: t.Mapping[str, _catalog.Node]) -> Asked:
    """Resolve one entry as a deployment would."""
    tier = str(option.get("gpu_tier") or "")
    try:
        (wanted,), _selections = resolve_all([{**option, "state": "present"}], target.provider, catalog)
        return _of(target, wanted)
    except DeploymentsError as exc:
        return Asked(str(option["node"]), "", tier, None, str(exc).partition("): ")[2] or str(exc))


def _of(target: _pricing.Target, wanted: Wanted) -> Asked:
    try:
        nim = nim_of(target, wanted)
    except ValueError as exc:
        return Asked(wanted.node, wanted.name, wanted.gpu_tier, None, str(exc))
    return Asked(wanted.node, wanted.name, wanted.gpu_tier, nim, warnings=wanted.warnings)


def nim_of(target: _pricing.Target, wanted: Wanted) -> _pricing.Nim:
    """Return what is priced of a NIM. Raises ValueError where its machine cannot be rented as the target says."""
    provisioning = "on-demand"
    if target.provider == "gcp" and wanted.machine is not None:
        provisioning = GcpSettings.from_options(target.options).provisioning(wanted.machine)
    return _pricing.Nim(wanted.node, wanted.gpu_tier, wanted.machine, wanted.replicas, wanted.disk_gib, provisioning)


def _deployed(
    target: _pricing.Target,
    found: t.Mapping[str, t.Any],
    options: t.Sequence[Variables],
    catalog: t.Mapping[str, _catalog.Node],
) -> list[Asked]:
    """Return the NIMs that exist. Their machines are those of the matrix, which a target does not tell."""
    by_name = {asked.name: asked for asked in (_asked(target, option, catalog) for option in options) if asked.name}
    nims = []
    for deployment in found.get("deployments") or ():
        name, node, tier = (str(deployment.get(key) or "") for key in ("name", "node", "gpu_tier"))
        asked = by_name.get(name)
        if asked is None:
            option = {"node": node, "gpu_tier": tier, "replicas": 1, "skip_fit_check": True}
            asked = dataclasses.replace(_asked(target, option, catalog), name=name)
        copies = int(deployment.get("replicas") or 0)
        if asked.nim is not None and copies:
            asked = dataclasses.replace(asked, nim=dataclasses.replace(asked.nim, replicas=copies))
        nims.append(asked)
    return nims
