# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the actions that work on many targets have in common: how each is found and opened."""

from __future__ import annotations

import importlib
import typing as t
import warnings

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _matrix
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AWS_CONNECTION,
    AZURE_CONNECTION,
    GCP_CONNECTION,
    NVIDIA_CONNECTION,
    ArgumentSpec,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._deployment import HOSTED_TIER
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import Provider

Options = t.Mapping[str, t.Any]
Connect = t.Callable[[Options], Provider]

PROVIDERS: dict[str, tuple[ArgumentSpec, str]] = {
    "aws": (AWS_CONNECTION, "Aws"),
    "azure": (AZURE_CONNECTION, "Azure"),
    "gcp": (GCP_CONNECTION, "Gcp"),
    "nvidia": (NVIDIA_CONNECTION, "Nvidia"),
}
"""How each provider's targets are opened: the options that count, and the class in the provider's module.

A cloud's libraries take a second to load, so they are loaded only where there is a target of it.
"""

NVIDIA = "nvidia"
LOCAL = "local"
"""The provider whose targets are not read here: each is read over its own connection, by nim_local_info."""

_PROVIDERS_PACKAGE = "ansible_collections.budgetguard.techops.plugins.module_utils._providers"


def describe(
    name: str, task_vars: t.Mapping[str, t.Any], answers: t.Mapping[str, t.Mapping[str, t.Any]]
) -> dict[str, t.Any]:
    """Return name, provider and connection options of a target, or the reason why it has none.

    ``answers`` are those of the Docker hosts, by name.
    """
    try:
        if name not in task_vars["hostvars"]:
            return {"target": name, "error": "there is no such host in the inventory"}
        variables = task_vars["hostvars"][name]
        options = variables.get("nim_target")
        provider = variables.get("nim_provider") or _provider_of(variables.get("group_names", []))
        if provider == LOCAL:
            return {"target": name, "provider": LOCAL, "answer": answers.get(name), "error": None}
        if provider in PROVIDERS and not isinstance(options, dict):
            return {"target": name, "error": "its variable nim_target is not set; it says how the target is reached"}
        checked = _check(name, provider, options, task_vars)
    except AnsibleError as exc:
        return {"target": name, "error": f"its variables cannot be resolved: {exc}"}
    except ValueError as exc:
        return {"target": name, "error": str(exc)}
    return {"target": name, "provider": provider, "options": checked, "error": None}


def _check(name: str, provider: str | None, options: Options, task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the connection options of a target with their defaults. Raises ValueError for any that are not right."""
    if provider not in PROVIDERS:
        known = ", ".join(sorted([*PROVIDERS, LOCAL]))
        if provider is None:
            raise ValueError(f"it is in none of the groups {known}; put it into one, or set nim_provider")
        raise ValueError(f"nim_provider is {provider!r}; it must be one of {known}")
    spec, _class = PROVIDERS[provider]
    if provider == NVIDIA:
        options = {**_hosted_options(name, task_vars["hostvars"][name], task_vars.get("groups", {})), **options}
    checked = ArgumentSpecValidator(spec).validate({key: value for key, value in options.items() if key in spec})
    if checked.error_messages:
        raise ValueError(f"nim_target: {'; '.join(checked.error_messages)}")
    return dict(checked.validated_parameters)


def _hosted_options(
    name: str, variables: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]
) -> dict[str, t.Any]:
    """Return the options that tell NVIDIA's hosted models: it remembers nothing about them, but the matrix does.

    Raises ValueError if the catalogue or the matrix has problems.
    """
    overrides = variables.get("nim_catalog") or {}
    catalog = _catalog.load(overrides)
    wanted = _matrix.select(variables.get("nim_matrix"), name, groups, catalog).wanted
    hosted = [
        item["node"]
        for item in wanted
        if item["state"] != "absent"
        and item.get("gpu_tier") in (None, HOSTED_TIER)
        and catalog[item["node"]].hosted_url
    ]
    return {"nim_catalog": overrides, "hosted_nodes": hosted}


def load(described: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, Connect]:
    """Load the providers of described targets before any thread starts, and return the functions that open a target.

    The libraries' remarks about Python are kept to ourselves: Ansible takes warnings over, and in a worker process its
    lock may be held for ever by a thread that is not there.
    """
    names = {target["provider"] for target in described if target["error"] is None} & PROVIDERS.keys()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = {name: importlib.import_module(f"{_PROVIDERS_PACKAGE}.{name}") for name in names}
    return {name: getattr(module, PROVIDERS[name][1]).connect for name, module in modules.items()}


def _provider_of(group_names: t.Sequence[str]) -> str | None:
    """Return the provider whose group holds a host, if there is one. Raises ValueError if there are several."""
    found = [name for name in group_names if name in PROVIDERS or name == LOCAL]
    if len(found) > 1:
        raise ValueError(
            f"it is in the groups {' and '.join(found)}, and a target has one provider; take it out of all but one"
        )
    return found[0] if found else None
