# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read many targets at once, on the controller."""

from __future__ import annotations

import importlib
import typing as t
import warnings
from concurrent.futures import ThreadPoolExecutor

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import (
    AWS_CONNECTION,
    AZURE_CONNECTION,
    GCP_CONNECTION,
    ArgumentSpec,
)
from ansible_collections.budgetguard.techops.plugins.module_utils._provider import (
    AsleepError,
    MissingLibraryError,
    Provider,
    ProviderError,
)

Options = t.Mapping[str, t.Any]


Connect = t.Callable[[Options], Provider]

PROVIDERS: dict[str, tuple[ArgumentSpec, str]] = {
    "aws": (AWS_CONNECTION, "Aws"),
    "azure": (AZURE_CONNECTION, "Azure"),
    "gcp": (GCP_CONNECTION, "Gcp"),
}
"""How each provider's targets are opened: the options that count, and the class in the provider's module.

A cloud's libraries take a second to load, so they are loaded only where there is a target of it.
"""

_PROVIDERS_PACKAGE = "ansible_collections.budgetguard.techops.plugins.module_utils._providers"

TARGET_GROUP = "nim_providers"
WORKERS = 16


class ActionModule(ActionBase):
    """The action of nim_targets_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Read the targets and return what they hold."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validation, options = self.validate_argument_spec(
            {
                "targets": {"type": "list", "elements": "str"},
                "explain": {"type": "bool", "default": True},
                "fail_unread": {"type": "bool", "default": False},
            }
        )
        names = options["targets"]
        if names is None:
            names = task_vars.get("groups", {}).get(TARGET_GROUP, [])
        # Variables are templated here, in one thread; only the clouds are asked in parallel.
        opened = [self._describe(str(name), task_vars) for name in names]
        connects = _load({target["provider"] for target in opened if target["error"] is None})
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            targets = list(pool.map(lambda target: _read(target, connects, options["explain"]), opened))
        asleep = [target["target"] for target in targets if target["asleep"]]
        unread = [target for target in targets if not target["read"] and not target["asleep"]]
        result.update(changed=False, targets=targets, unread=[target["target"] for target in unread], asleep=asleep)
        problems = [f"{target['target']} cannot be read: {target['error']}" for target in unread]
        if problems and options["fail_unread"]:
            result.update(failed=True, msg="\n".join(problems))
        elif problems:
            result["warnings"] = [*result.get("warnings", []), *problems]
        return result

    def _describe(self, name: str, task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return name, provider and connection options of a target, or the reason why it has none."""
        try:
            if name not in task_vars["hostvars"]:
                return {"target": name, "error": "there is no such host in the inventory"}
            variables = task_vars["hostvars"][name]
            options = variables.get("nim_target")
            provider = variables.get("nim_provider") or _provider_of(variables.get("group_names", []))
        except AnsibleError as exc:
            return {"target": name, "error": f"its variables cannot be resolved: {exc}"}
        if provider not in PROVIDERS:
            known = ", ".join(sorted(PROVIDERS))
            return {"target": name, "error": f"nim_provider is {provider!r}; it must be one of {known}"}
        if not isinstance(options, dict):
            return {"target": name, "error": "its variable nim_target is not set; it says how the target is reached"}
        spec, _class = PROVIDERS[provider]
        validator = ArgumentSpecValidator(spec)
        checked = validator.validate({key: value for key, value in options.items() if key in spec})
        if checked.error_messages:
            return {"target": name, "error": f"nim_target: {'; '.join(checked.error_messages)}"}
        return {"target": name, "provider": provider, "options": checked.validated_parameters, "error": None}


def _load(providers: t.Iterable[str]) -> dict[str, Connect]:
    """Load the providers before any thread starts, and keep their libraries' remarks about Python to ourselves.

    Ansible takes warnings over, and in a worker process its lock may be held for ever by a thread that is not there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = {name: importlib.import_module(f"{_PROVIDERS_PACKAGE}.{name}") for name in providers}
    return {name: getattr(module, PROVIDERS[name][1]).connect for name, module in modules.items()}


def _provider_of(group_names: t.Sequence[str]) -> str | None:
    return next((name for name in group_names if name in PROVIDERS), None)


def _read(target: dict[str, t.Any], connects: t.Mapping[str, Connect], explain: bool) -> dict[str, t.Any]:
    """Ask one target. Whatever goes wrong is told as its error."""
    options = target.get("options", {})
    answer = {
        "target": target["target"],
        "provider": target.get("provider"),
        "region": options.get("region") or options.get("location"),
        "read": False,
        "asleep": False,
        "error": target["error"],
        "deployments": [],
    }
    if target["error"] is not None:
        return answer
    try:
        statuses = connects[target["provider"]](options).statuses(explain=explain)
    except MissingLibraryError as exc:
        return {**answer, "error": f"the Python library {exc.package} is not installed on the controller"}
    except AsleepError as exc:
        return {**answer, "asleep": True, "error": str(exc)}
    except (ProviderError, ValueError) as exc:
        return {**answer, "error": str(exc)}
    return {**answer, "read": True, "deployments": [status.as_dict() for _name, status in sorted(statuses.items())]}
