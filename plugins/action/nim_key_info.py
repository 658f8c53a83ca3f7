# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check NGC key and Hugging Face token, on the controller and without a Python of its own."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

from ansible_collections.budgetguard.techops.plugins.module_utils import _catalog, _http, _key_report, _registry
from ansible_collections.budgetguard.techops.plugins.module_utils._argspec import DEPLOYMENTS, ArgumentSpec
from ansible_collections.budgetguard.techops.plugins.module_utils._keys import check_key

ARGUMENT_SPEC: ArgumentSpec = {
    "ngc_api_key": {"type": "str", "no_log": True},
    "hf_token": {"type": "str", "no_log": True},
    "deployments": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": DEPLOYMENTS["deployments"]["options"],
    },
    "images": {"type": "list", "elements": "str", "default": []},
    "nim_catalog": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 20},
    "ca_path": {"type": "path"},
    "fail_on_problems": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """The action of nim_key_info."""

    TRANSFERS_FILES = False
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Ask about the keys and return what is told of them, never a key itself, whoever repeats it."""
        result = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENT_SPEC)
        secrets = {options[name] for name, option in ARGUMENT_SPEC.items() if option.get("no_log") and options[name]}
        result.update(remove_values(_check(options), secrets))
        return result


def _check(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of the task."""
    try:
        ngc_api_key = check_key("ngc_api_key", options["ngc_api_key"])
        hf_token = check_key("hf_token", options["hf_token"])
        catalog = _catalog.load(options["nim_catalog"])
        wanted = _key_report.needs(options["deployments"], options["images"], catalog)
        client = _http.Client(options["timeout"], ca_path=options["ca_path"])
    except ValueError as exc:
        return {"failed": True, "msg": str(exc)}
    told = _key_report.report(_registry.Services(client), wanted, ngc_api_key, hf_token)
    result: dict[str, t.Any] = {"changed": False, "warnings": list(told["doubts"])}
    if told["problems"] and options["fail_on_problems"]:
        # Nothing but the problems: the rest would hide them from whoever reads the output.
        return {**result, "failed": True, "msg": "\n".join(told["problems"])}
    return {**result, **told}
